"""The register gate: stands between the base systems and the city's other processes, and gives out one
record for one request that a resident's card has signed, or for which the resident logged in.

It checks the card's signature itself, so that neither the street door nor the worker can ask for a person
of their choice; it keeps who is who behind opaque bindings; and it is the one that authorises seals,
because it is the process that saw the evidence and is not the one that asks for the seal. A login is shown
by what the login provider signed (`login_gate`). Whether a card
was revoked is asked by the worker (this zone has no way out); everything a certificate and a signature can
show by themselves is checked here again.

It draws nothing, seals nothing and opens no network connection.
"""

from __future__ import annotations

import hmac
import logging
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Engine

from app.errors import Refusal
from app.identity.card_evidence import OfflineCardChecker
from app.issuance.refusals import refusal
from app.registers import counter_store, gate_store
from app.registers.authorisation import build_authorisation
from app.registers.counter import CounterDesk, CounterSettings
from app.registers.gate_store import AuthorisedRequest
from app.registers.login_gate import LoginEvidence, LoginGate
from app.registers.mandates import MandateDesk, MandateSettings
from app.registers.release import RecordRelease, Released
from app.sealing.authorisation import Authorisation
from mobile_api.messages import NO_REQUEST, CertificateRequest, WalletWish
from verifier.errors import FormatError
from verifier.formats.encoding import parse_json, sha256
from verifier.formats.jose import parse_jws
from verifier.formats.names import ISSUER_METADATA_TYP

log = logging.getLogger("akashi.gate")

STANDING_PREFIX: Final = "standing:"
"""Requests of the city itself: `standing:status`, `standing:answer`, `standing:recipient`, `standing:login`."""
METADATA_REQUEST: Final = "standing:wallet-metadata"
METADATA_AN_HOUR: Final = 20

# How many different digests may be authorised for one request and purpose. One is the rule; a repetition after a crash
# may differ by its time-stamped revocation list, and the page code uses the credential's purpose too.
DIGESTS_A_REQUEST: Final = {"page_seal": 4, "credential": 8}
# A copy's draft is stored before its digest comes here, so a repetition never differs: one serial, one digest, a copy.
# What the city signs for itself is bounded by rate instead: authorisations an hour.
STANDING_AN_HOUR: Final = {"statement": 200_000, "status_list": 4_000, "login": 20_000}


@dataclass(frozen=True, slots=True)
class SealWish:
    """One digest (32 bytes) somebody wants to have signed."""

    purpose: str
    digest: bytes
    request_id: str
    serial: str


class RegisterGate:
    """The gate's decisions; those on mandates and the counter's are `mandates` and `counter`. Thread-safe through its
    store.
    """

    def __init__(
        self,
        store: Engine,
        registers: RecordRelease,
        cards: OfflineCardChecker,
        key: Ed25519PrivateKey,
        clock: Callable[[], datetime],
        logins: LoginGate | None = None,
        *,
        mandates: MandateSettings | None = None,
        counter: CounterSettings | None = None,
    ) -> None:
        self._logins = logins
        self._store = store
        self._registers = registers
        self._cards = cards
        self._key = key
        self._clock = clock
        self.mandates = MandateDesk(store, registers, cards, clock, mandates or MandateSettings(cards.city))
        self.counter = CounterDesk(store, registers, clock, counter or CounterSettings())

    def register(
        self,
        *,
        statement: str,
        signature_cert: bytes,
        signature: bytes,
        auth_cert: bytes,
        auth_signature: bytes,
    ) -> str:
        """Bind a card to exactly one resident; returns the opaque binding. Raises Refusal."""
        now = self._clock()
        identity = self._cards.check_signature(
            statement, signature_cert, signature, purpose="register", request_digest=NO_REQUEST, now=now
        )
        auth = self._cards.check_authentication(
            statement, auth_cert, auth_signature, purpose="register", request_digest=NO_REQUEST, now=now
        )
        if identity.attributes is None:
            raise refusal("counter")
        resident_id = self._registers.match(identity.attributes, today=now)
        at = int(now.timestamp())
        with self._store.begin() as connection:
            known = gate_store.find_binding_of_card(connection, issuer=auth.issuer, serial=auth.serial)
            if known is not None and gate_store.find_resident_of(connection, known) != resident_id:
                # The authentication certificate is already another person's: never re-bound by itself.
                raise refusal("counter")
            present = gate_store.find_binding_of(connection, resident_id)
            if present is not None and counter_store.is_locked(connection, present):
                # The resident locked the adding of devices: a card alone, even theirs, adds none.
                raise refusal("counter")
            binding = gate_store.bind_card(
                connection, resident_id=resident_id, issuer=auth.issuer, serial=auth.serial, at=at
            )
            gate_store.note_access(connection, binding=binding, request_id="", what="registered", at=at)
        return binding

    def open_request(
        self,
        *,
        request_id: str,
        wish: CertificateRequest,
        statement: str,
        auth_cert: bytes,
        auth_signature: bytes,
    ) -> None:
        """Authorise one request for which the bound card signed exactly this wish. Raises Refusal."""
        now = self._clock()
        auth = self._cards.check_authentication(
            statement, auth_cert, auth_signature, purpose="request", request_digest=wish.digest(), now=now
        )
        with self._store.begin() as connection:
            binding = gate_store.find_binding_of_card(connection, issuer=auth.issuer, serial=auth.serial)
            if binding is None:
                raise refusal("account")
            known = gate_store.find_request(connection, request_id)
            if known is not None:
                if known.binding != binding or not hmac.compare_digest(known.request_digest, wish.digest()):
                    raise refusal("idempotency")
                return
            if gate_store.find_same_wish(connection, binding, wish.digest()):
                # The card signed a wish and no request id: one signature opens one request.
                raise refusal("idempotency")
            request = AuthorisedRequest(
                request_id, binding, wish.digest(), wish.document_kind, wish.fiscal_year
            )
            gate_store.store_request(connection, request, at=int(now.timestamp()))

    def open_offer(
        self,
        *,
        request_id: str,
        wish: WalletWish,
        statement: str,
        auth_cert: bytes,
        auth_signature: bytes,
    ) -> str:
        """Authorise copies for a wallet, for which the bound card signed exactly this wish; returns the binding.

        Raises Refusal.
        """
        now = self._clock()
        auth = self._cards.check_authentication(
            statement, auth_cert, auth_signature, purpose="request", request_digest=wish.digest(), now=now
        )
        with self._store.begin() as connection:
            binding = gate_store.find_binding_of_card(connection, issuer=auth.issuer, serial=auth.serial)
            if binding is None:
                raise refusal("account")
            _authorise_offer(connection, request_id, binding, wish, at=int(now.timestamp()))
        return binding

    def open_login_offer(
        self, *, request_id: str, wish: WalletWish, evidence: LoginEvidence
    ) -> tuple[str, bool]:
        """Authorise copies for a wallet, for which somebody logged in at the pinned login provider.

        (the binding, whether this login was never seen before). The same evidence for the same request again gives the
        same. Raises Refusal.
        """
        if self._logins is None:
            raise _not_authorised("no-login-provider")
        now = self._clock()
        at = int(now.timestamp())
        seen = self._logins.check(evidence, request_id, wish.digest(), now=now)
        self._logins.use_up(self._store, seen, request_id, at=at)
        resident_id = self._logins.match(seen, now=now)
        with self._store.begin() as connection:
            binding, is_new = self._logins.bind(connection, seen, resident_id, at=at)
            if is_new and counter_store.is_locked(connection, binding):
                # A first login is a new way in, as a new phone is: whoever locked adding wants to be asked in person.
                raise refusal("counter")
            _authorise_offer(connection, request_id, binding, wish, at=at)
            gate_store.note_access(connection, binding=binding, request_id=request_id, what="login", at=at)
        return binding, is_new

    def authorise_metadata(self, *, signing_input: bytes, serial: str) -> Authorisation:
        """Authorise the signature of public wallet metadata by the credential key: the gate reads what is signed.

        A digest alone would let its asker have any credential signed. `signing_input`: header and payload of the JWS,
        ASCII. Raises Refusal.
        """
        now = self._clock()
        at = int(now.timestamp())
        if not _is_metadata(signing_input):
            raise _not_authorised("not-metadata")
        with self._store.begin() as connection:
            recent = gate_store.count_recent(
                connection, purpose="credential", since=at - 3600, request_id=METADATA_REQUEST
            )
            if recent >= METADATA_AN_HOUR:
                raise _not_authorised("rate")
            wish = SealWish("credential", sha256(signing_input), METADATA_REQUEST, serial)
            return self._authorise_one(connection, wish, now)

    def record(self, *, request_id: str) -> Released:
        """The one record of an authorised request, if nothing speaks against it. Raises Refusal."""
        self.mandates.check_request(request_id)
        request, resident_id = self._resident(request_id)
        released = self._registers.release(resident_id, request.document_kind, request.fiscal_year)
        at = int(self._clock().timestamp())
        with self._store.begin() as connection:
            gate_store.note_access(
                connection, binding=request.binding, request_id=request_id, what="record", at=at
            )
        return released

    def recheck(self, *, request_id: str, position: int | None) -> bytes:
        """Protection, death, the mandate and corrected figures once more, at hand-over; returns whom it is about
        (`subject_digest`).

        `position`: of the record the documents were made from (`Released.position`); None for documents of
        before that was kept. Raises Refusal.
        """
        self.mandates.check_request(request_id)
        request, resident_id = self._resident(request_id)
        released = self._registers.release(resident_id, request.document_kind, request.fiscal_year)
        if position is not None and self._registers.is_corrected(
            resident_id, request.fiscal_year, since=position
        ):
            raise refusal("corrected")
        return released.subject_digest

    def authorise(self, wishes: Sequence[SealWish]) -> list[Authorisation]:
        """One single-use authorisation a wish, noted before it leaves. Raises Refusal for the first that
        may not be.
        """
        now = self._clock()
        at = int(now.timestamp())
        made: list[Authorisation] = []
        with self._store.begin() as connection:
            for wish in wishes:
                if wish.request_id.startswith(STANDING_PREFIX):
                    limit = STANDING_AN_HOUR.get(wish.purpose, 0)
                    recent = gate_store.count_recent(connection, purpose=wish.purpose, since=at - 3600)
                    if recent >= limit:
                        raise _not_authorised("rate")
                    made.append(self._authorise_one(connection, wish, now))
                    continue
                is_copy = self._check_request_wish(connection, wish)
                noted = gate_store.COPY_PURPOSE if is_copy else wish.purpose
                made.append(self._authorise_one(connection, wish, now, noted=noted))
        return made

    def _authorise_one(
        self, connection: Any, wish: SealWish, now: datetime, *, noted: str = ""
    ) -> Authorisation:
        authorisation = build_authorisation(
            self._key,
            purpose=wish.purpose,
            digest=wish.digest,
            request_id=wish.request_id,
            serial=wish.serial,
            now=now,
            random=secrets.token_bytes(16),
        )
        gate_store.note_authorisation(
            connection,
            jti=authorisation.jti,
            request_id=wish.request_id,
            serial=wish.serial,
            purpose=noted or wish.purpose,
            digest=wish.digest.hex(),
            at=int(now.timestamp()),
        )
        return authorisation

    def changes(self, *, after: int) -> list[tuple[int, str, str]]:
        """(number, binding, event) of residents since `after`: protection, death, corrected figures …; the
        binding is empty for somebody without one.
        """
        found: list[tuple[int, str, str]] = []
        for number, resident_id, event in self._registers.changes_since(after):
            with self._store.begin() as connection:
                binding = gate_store.find_binding_of(connection, resident_id)
            found.append((number, binding or "", event))
        return found

    def requests_of(self, *, binding: str, fiscal_year: int) -> list[str]:
        """The authorised requests of one resident for one fiscal year, oldest first."""
        with self._store.begin() as connection:
            return gate_store.find_requests_of(connection, binding, fiscal_year)

    def tally(self) -> int:
        """How many documents had a seal authorised: phone certificates and copies."""
        with self._store.begin() as connection:
            return gate_store.count_sealable(connection)

    def _check_request_wish(self, connection: Any, wish: SealWish) -> bool:
        """Whether it is for a wallet's copy. Raises Refusal if it may not be."""
        limit = DIGESTS_A_REQUEST.get(wish.purpose)
        if limit is None:
            raise _not_authorised("purpose")
        request = gate_store.find_request(connection, wish.request_id)
        if request is None:
            raise _not_authorised("unknown-request")
        if request.copies:
            self._check_copy_wish(connection, wish, request.copies)
            return True
        serial = gate_store.find_serial(connection, request_id=wish.request_id)
        if serial is not None and not hmac.compare_digest(serial, wish.serial):
            raise _not_authorised("second-serial")
        others = gate_store.count_digests(
            connection, request_id=wish.request_id, purpose=wish.purpose, without=wish.digest.hex()
        )
        if others >= limit:
            raise _not_authorised("too-many")
        return False

    def _check_copy_wish(self, connection: Any, wish: SealWish, copies: int) -> None:
        if wish.purpose != "credential":
            raise _not_authorised("no-page")
        gate_store.lock_request(connection, wish.request_id)
        known = gate_store.find_digests(connection, request_id=wish.request_id)
        if wish.serial in known:
            if not hmac.compare_digest(known[wish.serial], wish.digest.hex()):
                raise _not_authorised("second-digest")
        elif len(known) >= copies or wish.digest.hex() in known.values():
            raise _not_authorised("too-many")

    def _resident(self, request_id: str) -> tuple[AuthorisedRequest, str]:
        with self._store.begin() as connection:
            request = gate_store.find_request(connection, request_id)
            resident_id = (
                None if request is None else gate_store.find_resident_of(connection, request.binding)
            )
        if request is None or resident_id is None:
            raise _not_authorised("unknown-request")
        return request, resident_id


def _authorise_offer(connection: Any, request_id: str, binding: str, wish: WalletWish, *, at: int) -> None:
    """Store that so many copies may be made for this request; the same again is fine. Raises Refusal.

    The card signed a wish and no request id: one signature opens one request, or its holder could be given set after set.
    """
    known = gate_store.find_request(connection, request_id)
    if known is not None:
        same = hmac.compare_digest(known.request_digest, wish.digest())
        if known.binding != binding or known.copies != wish.copies or not same:
            raise refusal("idempotency")
        return
    if gate_store.find_same_wish(connection, binding, wish.digest()):
        raise refusal("idempotency")
    request = AuthorisedRequest(
        request_id, binding, wish.digest(), wish.document_kind, wish.fiscal_year, wish.copies
    )
    gate_store.store_request(connection, request, at=at)


def _is_metadata(signing_input: bytes) -> bool:
    """Whether these bytes are the metadata of a credential issuer and nothing that a verifier takes for a credential."""
    try:
        jws = parse_jws(signing_input + b"." + b"A" * 86, typ=ISSUER_METADATA_TYP, max_bytes=256 << 10)
        claims = parse_json(jws.payload)
    except FormatError:
        return False
    return (
        isinstance(claims, dict)
        and isinstance(claims.get("credential_issuer"), str)
        and claims.get("sub") == claims["credential_issuer"]
        and not {"vct", "cnf", "_sd", "status", "iss"} & set(claims)
    )


def _not_authorised(why: str) -> Refusal:
    log.warning("not authorised: %s", why)
    technical = refusal("technical")
    return Refusal(f"not-authorised-{why}", technical.ja, technical.en)
