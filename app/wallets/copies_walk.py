"""The corridor of copies for a wallet: the same doors as a phone's certificate (`app.issuance.walk`), without a page.

    reserve     each key gets an id, salts and a status entry          (stored before anything is made)
    make        record ─▶ data ─▶ drafts ─▶ signatures                 (drafts stored before a signature is asked for)
    enter_log   the leaves of all sets in hand, shuffled, in one call
    release     each copy ─▶ the verifier must accept it ─▶ re-check ─▶ ready for the wallet

If we die anywhere, the lease runs out and the step is done again: from the same reservations, the same drafts and so the
same digests. One set a grant; the wallet asks for it (`credentials`), nothing is put anywhere.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import Connection, Engine

from app.city_keys import CityKeys
from app.delivery.bundle import assemble_copy_bundle, build_leaf_evidence, copy_entry_of
from app.errors import ConflictError, GateError, Refusal, UnavailableError
from app.issuance.corridor import JST, Corridor, StatusToken, WalkSettings, legal_day, need, validity
from app.issuance.gatekeeper import Gatekeeper, check_subject
from app.issuance.log_door import LogDoor
from app.issuance.refusals import refusal
from app.issuance.states import State
from app.registers.gate_client import GateClient
from app.storage import accounts as account_store
from app.storage import certificates as certificate_store
from app.storage import copies as copy_store
from app.storage import copy_drafts as draft_store
from app.storage import grants as grant_store
from app.storage import requests as request_store
from app.storage.accounts import ACTIVE, STOPPED
from app.storage.copies import Copy, LoggedCopy, SealedCopy
from app.storage.copy_drafts import CopyDraft
from app.storage.grants import Grant
from app.storage.requests import Request
from app.wallets.copy_maker import CopyMaker, draft_digest, finish_draft
from app.wallets.grants import NO_ACCOUNT, end_grant
from app.wallets.notices import tell_resident
from mobile_api.messages import Notice
from verifier.formats.encoding import parse_canonical_json
from verifier.formats.evidence import Evidence
from verifier.formats.jose import parse_jwk


class CopiesWalk(Corridor):
    """Walks requests of wallets. Several may run against one store: the compare-and-set decides."""

    name = request_store.WALLET

    def __init__(
        self,
        store: Engine,
        settings: WalkSettings,
        *,
        gate: GateClient,
        maker: CopyMaker,
        keys: CityKeys,
        log_door: LogDoor,
        gatekeeper: Gatekeeper,
        status_token: StatusToken,
        clock: Callable[[], datetime],
    ) -> None:
        super().__init__(store, settings, clock=clock)
        self._gate = gate
        self._maker = maker
        self._keys = keys
        self._log_door = log_door
        self._gatekeeper = gatekeeper
        self._status_token = status_token

    def run_once(self) -> int:
        """One round through all doors; returns how many rows moved."""
        return sum(step() for step in (self.reserve, self.make, self.enter_log, self.release))

    # ---- reserve ------------------------------------------------------------------------------------------------

    def reserve(self) -> int:
        """accepted ─▶ reserved: id, salts and status entry of every copy are fixed and committed."""
        return self._each(State.ACCEPTED, self._reserve_one)

    def _reserve_one(self, row: Request) -> None:
        started = time.perf_counter()
        last_day = self._clock().astimezone(JST).date() + timedelta(days=self._settings.validity_days)
        with self._store.begin() as connection:
            grant = self._living_grant(connection, row)
            keys = parse_canonical_json(need(grant.holder_jwks).encode("ascii"))
            copy_store.reserve_copies(
                connection,
                row.request_id,
                keys,
                issued_at=self._now(),
                valid_until=last_day.isoformat(),
            )
            self._move(connection, row, State.RESERVED, step="reserve", started=started)

    # ---- make ---------------------------------------------------------------------------------------------------

    def make(self) -> int:
        """reserved ─▶ sealed: the credentials exist, signed, stored with the entries that commit to them."""
        return self._each(State.RESERVED, self._make_one)

    def _make_one(self, row: Request) -> None:
        started = time.perf_counter()
        with self._store.begin() as connection:
            self._living_grant(connection, row)
            reserved = [copy.reservation for copy in copy_store.find_copies(connection, row.request_id)]
            drafts = draft_store.find_drafts(connection, row.request_id)
        if not drafts:
            drafts = self._draft(row)
        digests = {one.copy_id.hex(): draft_digest(drafts[one.copy_id]) for one in reserved}
        signatures = self._keys.sign_copies(row.request_id, digests)
        sealed = []
        for reservation, signature in zip(reserved, signatures, strict=True):
            draft = drafts[reservation.copy_id]
            credential = finish_draft(draft, signature)
            entry = copy_entry_of(draft.data, credential, _evidence(row, reservation))
            sealed.append(SealedCopy(reservation.copy_id, credential, entry))
        with self._store.begin() as connection:
            copy_store.store_copies_sealed(connection, row.request_id, sealed)
            self._move(connection, row, State.SEALED, step="make", started=started)

    def _draft(self, row: Request) -> dict[bytes, CopyDraft]:
        with self._store.begin() as connection:
            reserved = tuple(copy.reservation for copy in copy_store.find_copies(connection, row.request_id))
            intake = need(certificate_store.find_artifacts(connection, row.request_id))
        if not reserved:
            raise ConflictError("copies-missing", row.request_id)
        released = self._gate.record(request_id=row.request_id)
        made = self._maker.draft(
            released, reserved, issued_on=legal_day(reserved[0].issued_at), purpose=intake.purpose
        )
        with self._store.begin() as connection:
            # Only whoever still holds the row may fix what will be signed: of two makers one set of drafts is kept.
            request_store.require_held(connection, row)
            draft_store.store_drafts(connection, row.request_id, made)
            request_store.note_position(connection, row.request_id, released.position)
        return {draft.copy_id: draft for draft in made}

    # ---- enter the log ------------------------------------------------------------------------------------------

    def enter_log(self) -> int:
        """sealed ─▶ logged: the copies of all claimed rows, shuffled, in one call."""
        started = time.perf_counter()
        with self._store.begin() as connection:
            rows = self._claim(connection, State.SEALED)
            copies = [copy for row in rows for copy in copy_store.find_copies(connection, row.request_id)]
        if not rows:
            return 0
        # Which leaves belong together is nobody's business: neither their order nor their call says it.
        secrets.SystemRandom().shuffle(copies)
        try:
            places = self._log_door.append([need(copy.entry) for copy in copies])
        except UnavailableError as error:
            self._wait(rows, error)
            return 0
        logged: dict[str, list[LoggedCopy]] = {row.request_id: [] for row in rows}
        for copy, place in zip(copies, places, strict=True):
            made = LoggedCopy(copy.reservation.copy_id, place.index, place.proof)
            logged[copy.reservation.request_id].append(made)
        with self._store.begin() as connection:
            for row in rows:
                copy_store.store_copies_logged(connection, row.request_id, logged[row.request_id])
                self._move(connection, row, State.LOGGED, step="log", started=started)
        return len(rows)

    # ---- release ------------------------------------------------------------------------------------------------

    def release(self) -> int:
        """logged ─▶ released: nothing is ready for a wallet that the verifier has not accepted."""
        return self._each(State.LOGGED, self._release_one)

    def _release_one(self, row: Request) -> None:
        started = time.perf_counter()
        with self._store.begin() as connection:
            copies = copy_store.find_copies(connection, row.request_id)
            drafts = draft_store.find_drafts(connection, row.request_id)
        if not copies:
            raise ConflictError("copies-missing", row.request_id)
        for copy in copies:
            self._check_copy(row, copy, need(drafts.get(copy.reservation.copy_id)).data)
        # Protection, death, corrected figures, phone: asked again as late as possible, inside the transaction that
        # makes the set ready. It holds the row from before the question on.
        with self._store.begin() as connection:
            request_store.lock_request(connection, row.request_id)
            grant = self._living_grant(connection, row)
            subject = self._gate.recheck(request_id=row.request_id, position=row.register_position)
            for draft in drafts.values():
                check_subject(draft.data, subject)
            check_account(connection, grant)
            copy_store.store_copies_released(connection, row.request_id, at=self._now())
            certificate_store.drop_artifacts(connection, row.request_id)
            draft_store.drop_drafts(connection, row.request_id)
            self._move(connection, row, State.RELEASED, step="release", started=started)

    def _check_copy(self, row: Request, copy: Copy, data: bytes) -> None:
        kept = copy.reservation
        if copy.credential is None or copy.proof is None:
            raise ConflictError("documents-missing", row.request_id)
        bundle = assemble_copy_bundle(
            data,
            copy.credential,
            _evidence(row, kept),
            inclusion=copy.proof,
            status=self._status_token(kept.status_list),
        )
        holder = parse_jwk(parse_canonical_json(kept.holder_jwk.encode("ascii")))
        self._gatekeeper.check_copy(bundle, data=data, holder=holder)

    # ---- what is the same in every step -------------------------------------------------------------------------

    def _living_grant(self, connection: Connection, row: Request) -> Grant:
        grant = need(grant_store.find_by_request(connection, row.request_id))
        if grant.ended_at is not None:
            raise refusal("offer-over")
        if (grant.fiscal_year, grant.document_kind) != (row.fiscal_year, row.document_kind):
            raise GateError("other-grant", "the request is not the one of its grant")
        return grant

    def _tell_end(self, connection: Connection, row: Request, no: Refusal) -> None:
        grant = grant_store.find_by_request(connection, row.request_id)
        if grant is None:
            return
        end_grant(connection, grant, at=self._now())
        tell_resident(
            connection,
            grant.binding,
            Notice(no.code, no.ja, no.en),
            item=f"refused-{row.request_id}",
            at=self._now(),
        )


def _evidence(row: Request, reservation: copy_store.CopyReservation) -> Evidence:
    return build_leaf_evidence(
        reservation,
        document_kind=row.document_kind,
        validity=validity(reservation.issued_at, reservation.valid_until),
    )


def check_account(connection: Connection, grant: Grant) -> None:
    """The phone that asked must still be in use. A login has none. Raises Refusal."""
    if grant.account.startswith(NO_ACCOUNT):
        return
    account = account_store.find_account(connection, grant.account)
    if account is None or account.state == STOPPED:
        raise refusal("stopped")
    if account.state != ACTIVE:
        raise refusal("counter")
