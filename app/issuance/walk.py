"""The corridor: one request walks through every door of the house, and whoever reads this file has read the product.

    reserve     fix id, salts, status index                                     (stored before anything is sealed)
    make        record ─▶ figures ─▶ data ─▶ page ─▶ seal ─▶ credential         (stored before the log is asked)
    enter_log   the salted commitment goes into the city's log                  (the log answers the same for ever)
    release     bundle ─▶ the verifier must accept it ─▶ encrypt to the phone   (announced, re-check, hand over)

Each step claims rows under a lease, works without a transaction, and stores its result in one compare-and-set. If we
die anywhere, the lease runs out and the same step is done again; only one result is ever stored, and only stored
results leave. docs/issuance-cycle.md goes through every line with "and if we die here?".
This module draws, seals, logs and encrypts nothing itself.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import Connection, Engine

from app.delivery.bundle import Documents, assemble_bundle, build_leaf_evidence, leaf_entry_of, pack_for_phone
from app.errors import ConflictError, Refusal, UnavailableError
from app.issuance.corridor import JST, Corridor, StatusToken, WalkSettings, legal_day, need, validity
from app.issuance.gatekeeper import Gatekeeper, check_subject
from app.issuance.log_door import LogDoor
from app.issuance.maker import Maker
from app.issuance.refusals import refusal
from app.issuance.states import STAGE_OF, State
from app.registers.gate_client import GateClient
from app.storage import accounts as account_store
from app.storage import certificates as certificate_store
from app.storage import requests as request_store
from app.storage.accounts import ACTIVE, STOPPED
from app.storage.announcements import is_announced
from app.storage.outbox import queue_answer, queue_item
from app.storage.requests import Request
from mobile_api.messages import PackageReady, Progress, Refused
from verifier.formats.encoding import parse_canonical_json
from verifier.formats.jose import parse_jwk

__all__ = ["Walk", "WalkSettings"]


class Walk(Corridor):
    """Walks requests. Several may run against one store: the compare-and-set decides."""

    def __init__(
        self,
        store: Engine,
        settings: WalkSettings,
        *,
        gate: GateClient,
        maker: Maker,
        log_door: LogDoor,
        gatekeeper: Gatekeeper,
        status_token: StatusToken,
        clock: Callable[[], datetime],
    ) -> None:
        super().__init__(store, settings, clock=clock)
        self._gate = gate
        self._maker = maker
        self._log_door = log_door
        self._gatekeeper = gatekeeper
        self._status_token = status_token

    def run_once(self) -> int:
        """One round through all doors; returns how many rows moved."""
        return sum(step() for step in (self.reserve, self.make, self.enter_log, self.release))

    # ---- reserve ------------------------------------------------------------------------------------------------

    def reserve(self) -> int:
        """accepted ─▶ reserved: id, salts and status index are fixed and committed."""
        with self._store.begin() as connection:
            rows = self._claim(connection, State.ACCEPTED)
            for row in rows:
                today = self._clock().astimezone(JST).date()
                certificate_store.reserve(
                    connection,
                    row.request_id,
                    issued_at=self._now(),
                    valid_until=(today + timedelta(days=self._settings.validity_days)).isoformat(),
                )
                request_store.move(connection, row, State.RESERVED, at=self._now(), step="reserve")
        return len(rows)

    # ---- make ---------------------------------------------------------------------------------------------------

    def make(self) -> int:
        """reserved ─▶ sealed: the documents exist, sealed, and are stored with the entry that commits to them."""
        return self._each(State.RESERVED, self._make_one)

    def _make_one(self, row: Request) -> None:
        started = time.perf_counter()
        with self._store.begin() as connection:
            reservation = need(certificate_store.find_reservation(connection, row.request_id))
            intake = need(certificate_store.find_artifacts(connection, row.request_id))
            account = need(account_store.find_account(connection, row.account))
        issued_on = legal_day(reservation.issued_at)
        released = self._gate.record(request_id=row.request_id)
        documents = self._maker.make(
            released,
            reservation,
            issued_on=issued_on,
            purpose=intake.purpose,
            phone_signing_jwk=account.signing_jwk,
        )
        evidence = build_leaf_evidence(
            reservation,
            document_kind=row.document_kind,
            validity=validity(reservation.issued_at, reservation.valid_until),
        )
        entry = leaf_entry_of(documents, evidence)
        with self._store.begin() as connection:
            certificate_store.store_sealed(
                connection,
                row.request_id,
                page=documents.page,
                data=documents.data,
                credential=documents.credential,
                entry=entry,
            )
            request_store.note_position(connection, row.request_id, released.position)
            self._move(connection, row, State.SEALED, step="make", started=started)

    # ---- enter the log ------------------------------------------------------------------------------------------

    def enter_log(self) -> int:
        """sealed ─▶ logged: all claimed rows in one call; the log knows an entry that it already has."""
        started = time.perf_counter()
        with self._store.begin() as connection:
            rows = self._claim(connection, State.SEALED)
            entries = [certificate_store.find_entry(connection, row.request_id) for row in rows]
        if not rows:
            return 0
        try:
            places = self._log_door.append(entries)
        except UnavailableError as error:
            self._wait(rows, error)
            return 0
        with self._store.begin() as connection:
            for row, place in zip(rows, places, strict=True):
                certificate_store.store_proof(
                    connection, row.request_id, proof=place.proof, log_index=place.index
                )
                self._move(connection, row, State.LOGGED, step="log", started=started)
        return len(rows)

    # ---- release ------------------------------------------------------------------------------------------------

    def release(self) -> int:
        """logged ─▶ released: nothing leaves that the verifier has not accepted, and only to the one phone."""
        return self._each(State.LOGGED, self._release_one)

    def _release_one(self, row: Request) -> None:
        started = time.perf_counter()
        with self._store.begin() as connection:
            reservation = need(certificate_store.find_reservation(connection, row.request_id))
            kept = need(certificate_store.find_artifacts(connection, row.request_id))
            account = need(account_store.find_account(connection, row.account))
            announced = is_announced(connection, row.account, at=self._now())
        if not announced:
            # A new device's first package opens after the others were told, and not before (it only ever becomes true).
            raise UnavailableError("announcement", "the resident's other devices are not told yet")
        if kept.page is None or kept.data is None or kept.credential is None or kept.proof is None:
            raise ConflictError("documents-missing", row.request_id)
        documents = Documents(kept.page, kept.data, kept.credential)
        evidence = build_leaf_evidence(
            reservation,
            document_kind=row.document_kind,
            validity=validity(reservation.issued_at, reservation.valid_until),
        )
        bundle = assemble_bundle(
            documents, evidence, inclusion=kept.proof, status=self._status_token(reservation.status_list)
        )
        phone_key = parse_jwk(parse_canonical_json(account.encryption_jwk.encode("ascii")))
        self._gatekeeper.check(
            bundle,
            data=kept.data,
            holder=parse_jwk(parse_canonical_json(account.signing_jwk.encode("ascii"))),
        )
        package = pack_for_phone(bundle, phone_key)
        package_id = reservation.certificate_id.hex()
        # Protection, death, corrected figures, card: asked again as late as possible, inside the transaction that hands
        # over. It holds the row from before the question on, so that whoever follows a later correction waits and finds
        # the request released.
        with self._store.begin() as connection:
            request_store.lock_request(connection, row.request_id)
            subject = self._gate.recheck(request_id=row.request_id, position=row.register_position)
            check_subject(kept.data, subject)
            holder = account_store.find_account(connection, row.account)
            if holder is None or holder.state == STOPPED or holder.encryption_jwk != account.encryption_jwk:
                raise refusal("stopped")
            if holder.state != ACTIVE:
                raise refusal("counter")
            queue_item(
                connection,
                kind="package",
                account=row.account,
                item_id=package_id,
                body=package,
                at=self._now(),
            )
            certificate_store.store_release(
                connection,
                row.request_id,
                package_id=package_id,
                package_hash=hashlib.sha256(package).hexdigest(),
                at=self._now(),
            )
            self._move(connection, row, State.RELEASED, step="release", started=started)
            queue_answer(
                connection,
                account=row.account,
                item_id=f"package-{row.request_id}",
                in_reply_to=row.message_id,
                body=PackageReady(row.request_id, package_id, hashlib.sha256(package).digest()),
                at=self._now(),
            )

    # ---- what the phone hears -----------------------------------------------------------------------------------

    def _tell_stage(self, connection: Connection, row: Request, after: State) -> None:
        stage = STAGE_OF.get(after)
        if stage is not None and after is not State.RELEASED:
            queue_answer(
                connection,
                account=row.account,
                item_id=f"{stage}-{row.request_id}",
                in_reply_to=row.message_id,
                body=Progress(row.request_id, stage),
                at=self._now(),
            )

    def _tell_end(self, connection: Connection, row: Request, no: Refusal) -> None:
        queue_answer(
            connection,
            account=row.account,
            item_id=f"refused-{row.request_id}",
            in_reply_to=row.message_id,
            body=Refused(no.code, no.ja, no.en, no.retry),
            at=self._now(),
        )
