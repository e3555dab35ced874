"""The gate's part of the counter: locking the adding of devices and taking that back, and codes for demonstration phones.

Locking needs a device only; taking it back needs two members of staff and a reason, written down before it takes effect
and told to every device. A printed code registers one resident whom the register marks as a demonstration (`dummy`), on
one phone, without a card, in the demo profile only (模擬/MOCK): for a real person that way was given up for the card.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Engine

from app.errors import CityError, Refusal
from app.issuance.refusals import refusal
from app.registers import counter_store, gate_store
from app.registers.gate_events import note_event
from app.registers.release import RecordRelease
from verifier.formats.encoding import base64url_encode

CODE_BYTES: Final = 16
MAX_REASON: Final = 200
_STAFF: Final = re.compile(r"[A-Za-z0-9._-]{1,32}")

NO_REAL_RESIDENT: Final = Refusal(
    "card-route",
    "窓口のQRコードで登録できるのは、見本の住民だけです。実在の方の本人確認はマイナンバーカードの電子証明書(公的個人認証法)で行います。"
    "2020年の実験のQRコードによる登録は、これに置き換えられました。",
    "The counter's QR code registers demonstration residents only. Real persons are identified by the certificates of "
    "their My Number Card (Act on Public Personal Authentication), which took the place of the QR registration of 2020.",
)


@dataclass(frozen=True, slots=True)
class CounterSettings:
    """profile: demo or production; who forgets it gets the strict case. code_seconds: life of a printed code."""

    profile: str = "production"
    code_seconds: int = 900


class CounterDesk:
    """What counter and devices may do here. Thread-safe through its store."""

    def __init__(
        self,
        store: Engine,
        registers: RecordRelease,
        clock: Callable[[], datetime],
        settings: CounterSettings,
    ) -> None:
        self._store = store
        self._registers = registers
        self._clock = clock
        self._settings = settings

    # ---- for the worker ---------------------------------------------------------------------------------------------

    def lock_devices(self, *, binding: str) -> None:
        """From now on no card adds a device to this binding; again changes nothing. Raises Refusal."""
        at = self._at()
        with self._store.begin() as connection:
            if gate_store.find_resident_of(connection, binding) is None:
                raise refusal("account")
            if counter_store.lock(connection, binding, at=at):
                note_event(connection, binding=binding, what="devices-locked", mandate="", at=at)

    def is_locked(self, *, binding: str) -> bool:
        """Whether adding devices to this binding is locked to the counter."""
        with self._store.begin() as connection:
            return counter_store.is_locked(connection, binding)

    def register_by_code(self, *, code: str, used_by: str) -> str:
        """The binding of the demonstration resident of a printed code, used up for `used_by`. Raises Refusal.

        `used_by` names the phone (43 characters): the same phone may ask again after a crash, no other may.
        """
        self._require_demo()
        at = self._at()
        with self._store.begin() as connection:
            resident_id = counter_store.use_code(connection, code, used_by=used_by, at=at)
            if resident_id is None:
                raise refusal("counter-code")
            # Asked again: the mark may have been taken away since the code was printed.
            if self._registers.find_dummy(resident_id) is None:
                raise NO_REAL_RESIDENT
            binding = gate_store.bind_resident(connection, resident_id=resident_id, at=at)
            if counter_store.is_locked(connection, binding):
                raise refusal("counter")
            gate_store.note_access(
                connection, binding=binding, request_id="", what="registered-by-code", at=at
            )
        return binding

    # ---- for the counter's staff ------------------------------------------------------------------------------------

    def print_code(self, *, resident_id: str, staff: str) -> tuple[str, int]:
        """(code, when it ends in Unix seconds) for one demonstration resident. Raises Refusal, CityError."""
        self._require_demo()
        if not self._registers.is_known(resident_id):
            raise CityError("no-such-resident", resident_id[:32])
        if self._registers.find_dummy(resident_id) is None:
            raise NO_REAL_RESIDENT
        code, at = base64url_encode(secrets.token_bytes(CODE_BYTES)), self._at()
        expires = at + self._settings.code_seconds
        with self._store.begin() as connection:
            counter_store.note_act(
                connection,
                what="qr",
                resident_id=resident_id,
                staff=_staff(staff),
                second="",
                reason="",
                at=at,
            )
            counter_store.store_code(connection, code, resident_id, at=at, expires_at=expires)
        return code, expires

    def unlock_devices(self, *, resident_id: str, staff: str, second: str, reason: str) -> bool:
        """Two members of staff take a lock back; False if there was none. Raises CityError."""
        if hmac.compare_digest(_staff(staff).encode(), _staff(second).encode()):
            raise CityError("one-person", "unlocking needs two different members of staff")
        if not reason.strip() or len(reason) > MAX_REASON or not reason.isprintable():
            raise CityError("no-reason", f"a reason of at most {MAX_REASON} characters")
        at = self._at()
        with self._store.begin() as connection:
            binding = gate_store.find_binding_of(connection, resident_id)
            if binding is None:
                raise CityError("no-device", "nobody registered a device for this resident")
            counter_store.note_act(
                connection,
                what="unlock-devices",
                resident_id=resident_id,
                staff=staff,
                second=second,
                reason=reason,
                at=at,
            )
            if not counter_store.unlock(connection, binding):
                return False
            note_event(connection, binding=binding, what="devices-unlocked", mandate="", at=at)
        return True

    def _require_demo(self) -> None:
        if self._settings.profile != "demo":
            raise NO_REAL_RESIDENT

    def _at(self) -> int:
        return int(self._clock().timestamp())


def _staff(name: str) -> str:
    if _STAFF.fullmatch(name) is None:
        raise CityError("bad-staff", "a member of staff: 1 to 32 of letters, digits, dot, dash, underscore")
    return name
