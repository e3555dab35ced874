"""The gate's decisions on mandates (電子委任状): who gave whom what, and whether a request may walk under it now.

The gate checks both cards itself: the giver's 署名用 certificate over the record when a mandate is offered, the agent's
利用者証明用 certificate when it is used. Before every decision it reads what the registers say since the last one, so a
protection flag, a death, a move or a new name has ended a mandate before anything else is asked. Which phone speaks for
a binding is the worker's knowledge; what a phone may do without a card (accept, confirm, end) opens nothing by itself.

Nothing here tells protection from a harmless cause: somebody who may not stand in a mandate is sent to the counter, and
a mandate that cannot be used has one sentence for every cause.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Final

from sqlalchemy import Connection, Engine

from app.identity.card_evidence import OfflineCardChecker
from app.issuance.refusals import refusal
from app.registers import gate_store, mandate_store
from app.registers.gate_events import (
    GateEvent,
    events_after,
    events_of,
    read_register_progress,
    store_register_progress,
)
from app.registers.gate_store import AuthorisedRequest
from app.registers.letters import LetterBox
from app.registers.mandate_store import Mandate
from app.registers.release import RecordRelease
from mobile_api.messages import (
    MandateCode,
    MandateEntry,
    MandateRecord,
    Mandates,
    MandateWish,
    format_record,
)
from verifier.formats.encoding import base64_encode, canonical_json

JST: Final = timezone(timedelta(hours=9), "JST")
CODE_ALPHABET: Final = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
CODE_LENGTH: Final = 12
OFFER_SECONDS: Final = 14 * 86400
"""An offer that is not accepted and confirmed by then has ended."""
CODES_A_DAY: Final = 20
MAX_OPEN: Final = 20
"""Mandates of one giver that have not ended."""
MAX_LISTED: Final = 100
LETTER_ATTEMPTS: Final = 5
EVENTS_A_CALL: Final = 200
LINES_A_HISTORY: Final = 50

# What a change in the register ends: (cause, what the person holds for others as well).
_ENDING: Final = {
    "protected": (mandate_store.PROTECTION, True),
    "deceased": (mandate_store.DEATH, True),
    "move": (mandate_store.HOUSEHOLD, False),
    "name-change": (mandate_store.HOUSEHOLD, False),
}


@dataclass(frozen=True, slots=True)
class MandateSettings:
    """city: six digits. code_seconds: life of a hand-over code. letters: where letters go; None: there are none."""

    city: str
    code_seconds: int = 24 * 3600
    letters: LetterBox | None = None


class MandateDesk:
    """Mandates of one city. Thread-safe through its store."""

    def __init__(
        self,
        store: Engine,
        registers: RecordRelease,
        cards: OfflineCardChecker,
        clock: Callable[[], datetime],
        settings: MandateSettings,
    ) -> None:
        self._store = store
        self._registers = registers
        self._cards = cards
        self._clock = clock
        self._settings = settings

    # ---- giver and agent ------------------------------------------------------------------------------------------

    def code(self, *, binding: str) -> MandateCode:
        """A hand-over code for this agent, good once. Raises Refusal."""
        at = self._begin()
        self._check_standing(binding)
        code = "".join(secrets.choice(CODE_ALPHABET) for _ in range(CODE_LENGTH))
        expires = at + self._settings.code_seconds
        with self._store.begin() as connection:
            if mandate_store.count_codes(connection, binding, since=at - 86400) >= CODES_A_DAY:
                raise refusal("mandate-many")
            mandate_store.store_code(connection, code, binding, at=at, expires_at=expires)
        return MandateCode(code, datetime.fromtimestamp(expires, UTC))

    def give(
        self, *, binding: str, record: MandateRecord, statement: str, signature_cert: bytes, signature: bytes
    ) -> None:
        """Offer a mandate that the card of this binding's resident signed. Raises Refusal.

        The same record again changes nothing.
        """
        now = self._clock()
        identity = self._cards.check_signature(
            statement, signature_cert, signature, purpose="mandate", request_digest=record.digest(), now=now
        )
        if identity.attributes is None:
            raise refusal("counter")
        resident_id = self._registers.match(identity.attributes, today=now)
        at = self._begin()
        self._registers.check_standing(resident_id)
        evidence = canonical_json(
            {
                "record": format_record(record),
                "signature": base64_encode(signature),
                "signature_cert": base64_encode(signature_cert),
                "statement": statement,
            }
        ).decode("utf-8")
        with self._store.begin() as connection:
            giver = gate_store.find_binding_of(connection, resident_id)
            if giver is None or not hmac.compare_digest(giver, binding):
                raise refusal("other-card")
            known = mandate_store.find_mandate(connection, record.mandate)
            if known is not None:
                if known.giver != giver or not hmac.compare_digest(known.record_digest, record.digest()):
                    raise refusal("idempotency")
                return
            self._check_record(record, now)
            if mandate_store.count_open(connection, giver) >= MAX_OPEN:
                raise refusal("mandate-many")
            agent = mandate_store.use_code(connection, record.agent_code, record.mandate, at=at)
            if agent is None:
                raise refusal("mandate-code")
            if agent == giver:
                raise refusal("mandate-self")
            mandate_store.store_offer(connection, _offer(record, giver, agent, at), evidence)

    def accept(self, *, binding: str, mandate: str) -> None:
        """The agent takes it on. Raises Refusal."""
        at = self._begin()
        self._check_standing(binding)
        with self._store.begin() as connection:
            found = self._find(connection, mandate)
            if found.agent != binding or found.state == mandate_store.ENDED:
                raise refusal("mandate")
            mandate_store.accept(connection, found, at=at)

    def confirm(self, *, binding: str, mandate: str, letter_code: str | None) -> None:
        """The giver confirms: from a device the worker vouches for, or with the letter's code. Raises Refusal."""
        at = self._begin()
        self._check_standing(binding)
        hashed = None if letter_code is None else mandate_store.code_hash(letter_code)
        with self._store.begin() as connection:
            found = self._find(connection, mandate)
            if found.giver != binding or found.state == mandate_store.ENDED:
                raise refusal("mandate")
            if found.state == mandate_store.OFFERED:
                raise refusal("mandate-not-accepted")
            confirmed = found.state == mandate_store.CONFIRMED or mandate_store.confirm(
                connection, found, at=at, letter_hash=hashed, max_attempts=LETTER_ATTEMPTS
            )
        # Outside, so that a wrong code stays counted.
        if not confirmed:
            raise refusal("mandate-letter-code")

    def letter(self, *, binding: str, mandate: str) -> bool:
        """Send the giver the letter with the code, once. False: this city sends none. Raises Refusal."""
        at = self._begin()
        self._check_standing(binding)
        letters = self._settings.letters
        code = f"{secrets.randbelow(10**8):08d}"
        with self._store.begin() as connection:
            found = self._find(connection, mandate)
            resident_id = gate_store.find_resident_of(connection, binding)
            if found.giver != binding or found.state == mandate_store.ENDED or resident_id is None:
                raise refusal("mandate")
            if found.state == mandate_store.OFFERED:
                raise refusal("mandate-not-accepted")
            if letters is None:
                return False
            # Within the transaction: if we die after the letter, its code is void and another letter replaces it.
            if mandate_store.put_letter(connection, found, mandate_store.code_hash(code), at=at):
                name, address = self._registers.postal_address(resident_id)
                letters.post(mandate, name=name, address=address, code=code)
        return True

    def end(self, *, binding: str, mandate: str) -> None:
        """Giver or agent ends it; again changes nothing. Raises Refusal for anybody else."""
        at = self._begin()
        with self._store.begin() as connection:
            found = self._find(connection, mandate)
            if binding not in (found.giver, found.agent):
                raise refusal("mandate")
            cause = mandate_store.BY_GIVER if found.giver == binding else mandate_store.BY_AGENT
            mandate_store.end_one(connection, mandate, cause, at=at)

    def entries(self, *, binding: str) -> Mandates:
        """The mandates that this binding gave or holds, as this side may see them."""
        self._begin()
        today = self._today()
        with self._store.begin() as connection:
            found = mandate_store.find_mandates_of(connection, binding, MAX_LISTED)
        return Mandates(tuple(_entry(mandate, binding, today) for mandate in found))

    # ---- requests -------------------------------------------------------------------------------------------------

    def open_request(
        self,
        *,
        request_id: str,
        wish: MandateWish,
        statement: str,
        auth_cert: bytes,
        auth_signature: bytes,
    ) -> None:
        """Authorise one request of the agent, about the giver. Raises Refusal."""
        now = self._clock()
        auth = self._cards.check_authentication(
            statement,
            auth_cert,
            auth_signature,
            purpose="request_by_mandate",
            request_digest=wish.digest(),
            now=now,
        )
        at = self._begin()
        with self._store.begin() as connection:
            agent = gate_store.find_binding_of_card(connection, issuer=auth.issuer, serial=auth.serial)
        if agent is None:
            raise refusal("account")
        self._check_standing(agent)
        with self._store.begin() as connection:
            found = self._find(connection, wish.mandate)
            if found.agent != agent or not found.is_in_force(self._today()):
                raise refusal("mandate")
            _check_scope(found, wish)
            known = gate_store.find_request(connection, request_id)
            if known is not None:
                if known.binding != found.giver or not hmac.compare_digest(
                    known.request_digest, wish.digest()
                ):
                    raise refusal("idempotency")
                return
            if gate_store.find_same_wish(connection, found.giver, wish.digest()):
                # As with the resident's own wish: one signature opens one request.
                raise refusal("idempotency")
            gate_store.store_request(
                connection,
                AuthorisedRequest(
                    request_id, found.giver, wish.digest(), wish.document_kind, wish.fiscal_year
                ),
                at=at,
            )
            mandate_store.store_use(connection, found, request_id, at=at)

    def check_request(self, request_id: str) -> None:
        """Nothing for a request of one's own; for one under a mandate: it is in force now. Raises Refusal."""
        with self._store.begin() as connection:
            mandate = mandate_store.find_mandate_of_request(connection, request_id)
        if mandate is None:
            return
        self._begin()
        with self._store.begin() as connection:
            found = self._find(connection, mandate)
        self._check_standing(found.agent)
        if not found.is_in_force(self._today()):
            raise refusal("mandate")

    # ---- what the worker is told ------------------------------------------------------------------------------------

    def events(self, *, after: int) -> list[GateEvent]:
        """What happened to any binding after line `after`."""
        self._begin()
        with self._store.begin() as connection:
            return events_after(connection, after, EVENTS_A_CALL)

    def lines(self, *, binding: str) -> list[GateEvent]:
        """The history of one binding."""
        self._begin()
        with self._store.begin() as connection:
            return events_of(connection, binding, LINES_A_HISTORY)

    # ---- inside -----------------------------------------------------------------------------------------------------

    def _begin(self) -> int:
        """Take in what the registers and the calendar ended since; returns now (Unix seconds)."""
        at = int(self._clock().timestamp())
        with self._store.begin() as connection:
            # One transaction, so that a change is never applied a second time to a mandate that came after it.
            number = read_register_progress(connection)
            begun = number
            while changes := self._registers.changes_since(number):
                for _, resident_id, kind in changes:
                    self._end_for(connection, resident_id, kind, at)
                number = changes[-1][0]
            if number != begun:
                store_register_progress(connection, number)
            mandate_store.end_expired(
                connection, today=self._today(), offers_before=at - OFFER_SECONDS, at=at
            )
        return at

    @staticmethod
    def _end_for(connection: Connection, resident_id: str, kind: str, at: int) -> None:
        if kind not in _ENDING:
            return
        binding = gate_store.find_binding_of(connection, resident_id)
        if binding is not None:
            cause, as_agent = _ENDING[kind]
            mandate_store.end_of_binding(connection, binding, cause, as_agent=as_agent, at=at)

    def _check_standing(self, binding: str) -> None:
        with self._store.begin() as connection:
            resident_id = gate_store.find_resident_of(connection, binding)
        if resident_id is None:
            raise refusal("account")
        self._registers.check_standing(resident_id)

    def _check_record(self, record: MandateRecord, now: datetime) -> None:
        today = self._today()
        if record.city != self._settings.city:
            raise refusal("statement")
        if record.valid_until < today or record.valid_from > today + timedelta(days=366):
            raise refusal("mandate-dates")
        if abs(now - record.created) > timedelta(days=1):
            raise refusal("mandate-dates")

    @staticmethod
    def _find(connection: Connection, mandate: str) -> Mandate:
        found = mandate_store.find_mandate(connection, mandate)
        if found is None:
            raise refusal("mandate")
        return found

    def _today(self) -> date:
        return self._clock().astimezone(JST).date()


def _check_scope(mandate: Mandate, wish: MandateWish) -> None:
    fits: Sequence[bool] = (
        wish.document_kind == mandate.document_kind,
        wish.fiscal_year in mandate.years,
        wish.purpose == mandate.purpose,
    )
    if not all(fits):
        raise refusal("mandate-scope")


def _offer(record: MandateRecord, giver: str, agent: str, at: int) -> Mandate:
    return Mandate(
        mandate=record.mandate,
        giver=giver,
        agent=agent,
        document_kind=record.document_kind,
        fiscal_years=",".join(str(year) for year in record.fiscal_years),
        purpose=record.purpose,
        valid_from=record.valid_from.isoformat(),
        valid_until=record.valid_until.isoformat(),
        record_digest=record.digest(),
        state=mandate_store.OFFERED,
        cause=None,
        offered_at=at,
    )


def _entry(mandate: Mandate, binding: str, today: date) -> MandateEntry:
    role = "giver" if mandate.giver == binding else "agent"
    state, cause = mandate.state, None
    if state == mandate_store.ENDED:
        own = {"giver": mandate_store.BY_GIVER, "agent": mandate_store.BY_AGENT}[role]
        # One's own deed and the dates are named; anything else only "ended", as in the history.
        cause = mandate.cause if mandate.cause in (own, mandate_store.EXPIRED) else "ended"
    elif mandate.is_in_force(today):
        state = "in-force"
    return MandateEntry(
        mandate.mandate,
        role,
        mandate.document_kind,
        mandate.years,
        mandate.purpose,
        date.fromisoformat(mandate.valid_from),
        date.fromisoformat(mandate.valid_until),
        state,
        cause,
    )
