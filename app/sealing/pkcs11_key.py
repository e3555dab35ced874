"""A city key in a PKCS#11 module (an HSM; SoftHSM2 in tests).

One session for each module and token, one lock around it: python-pkcs11 is not safe to use from several
threads, and a child process must not go on using its parent's session. The module is therefore opened at the
first use, in the process that uses it, and again after a fork. ECDSA is the raw mechanism over a ready
digest, which every module has; Ed25519 (checkpoints) is CKM_EDDSA of PKCS#11 3.0, which SoftHSM2 has too.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pkcs11
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from pkcs11.exceptions import PKCS11Error

from app.errors import UnavailableError
from app.sealing.city_key import PublicKey
from app.sealing.errors import KeyUnusableError
from verifier.errors import FormatError
from verifier.formats import der

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Pkcs11Settings:
    """Where the token is: path of the module, label of the token, its PIN (never shown)."""

    module: Path
    token: str
    pin: str = field(repr=False)


class Pkcs11Session:
    """The one session with a token, opened lazily; after a fork the child opens its own."""

    def __init__(self, settings: Pkcs11Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._session: Any = None
        self._owner = 0

    def use(self, work: Callable[[Any], T]) -> T:
        """Run `work(session)` alone. A session that broke is opened anew, once. Raises: UnavailableError."""
        if self._owner not in (0, os.getpid()):
            # The parent's lock may be held by a thread that this process does not have.
            self._lock = threading.Lock()
            self._session = None
        with self._lock:
            for last_try in (False, True):
                try:
                    if self._session is None:
                        self._session = self._open()
                    return work(self._session)
                except (pkcs11.NoSuchKey, pkcs11.MultipleObjectsReturned) as error:
                    raise KeyUnusableError("no-such-key", type(error).__name__) from error
                except PKCS11Error as error:
                    self._session = None
                    if last_try:
                        raise UnavailableError("hsm-unavailable", type(error).__name__) from error
        raise AssertionError("unreachable")

    def _open(self) -> Any:
        if self._owner not in (0, os.getpid()):
            pkcs11.lib(str(self._settings.module)).reinitialize()
        self._owner = os.getpid()
        token = pkcs11.lib(str(self._settings.module)).get_token(token_label=self._settings.token)
        try:
            return token.open(user_pin=self._settings.pin)
        except pkcs11.UserAlreadyLoggedIn:
            # Login belongs to the token, not to the session: another session of this process has done it.
            return token.open()


class Pkcs11Key:
    """The key pair with `label` on the token of `session`: P-256, or Ed25519."""

    is_software = False

    def __init__(self, session: Pkcs11Session, label: str) -> None:
        self._session = session
        self._label = label

    def public_key(self) -> PublicKey:
        kind, encoded = self._session.use(self._read_point)
        try:
            # CKA_EC_POINT is the point wrapped in an OCTET STRING.
            point = der.DerReader(encoded)
            octets = point.take(der.OCTET_STRING).content
            point.end()
            if kind == pkcs11.KeyType.EC_EDWARDS:
                return ed25519.Ed25519PublicKey.from_public_bytes(octets)
            return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), octets)
        except (FormatError, ValueError) as error:
            raise KeyUnusableError("wrong-kind-of-key", "neither a P-256 nor an Ed25519 key") from error

    def sign_digest(self, digest: bytes) -> bytes:
        def work(session: Any) -> bytes:
            key = self._private(session, pkcs11.KeyType.EC)
            return bytes(key.sign(digest, mechanism=pkcs11.Mechanism.ECDSA))

        signature = self._session.use(work)
        if len(signature) != 64:
            raise KeyUnusableError("bad-signature-form", "not an ECDSA signature on P-256")
        return signature

    def agree(self, peer: ec.EllipticCurvePublicKey) -> bytes:
        numbers = peer.public_numbers()
        point = b"\x04" + numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")

        def work(session: Any) -> bytes:
            key = self._private(session, pkcs11.KeyType.EC)
            # The shared value is meant to leave: it is an intermediate of one envelope, not a key of the
            # city.
            shared = key.derive_key(
                pkcs11.KeyType.GENERIC_SECRET,
                256,
                mechanism_param=(pkcs11.KDF.NULL, None, point),
                template={pkcs11.Attribute.SENSITIVE: False, pkcs11.Attribute.EXTRACTABLE: True},
                store=False,
            )
            try:
                return bytes(shared[pkcs11.Attribute.VALUE])
            finally:
                shared.destroy()

        return self._session.use(work)

    def sign_message(self, message: bytes) -> bytes:
        def work(session: Any) -> bytes:
            key = self._private(session, pkcs11.KeyType.EC_EDWARDS)
            return bytes(key.sign(message, mechanism=pkcs11.Mechanism.EDDSA))

        signature = self._session.use(work)
        if len(signature) != 64:
            raise KeyUnusableError("bad-signature-form", "not an Ed25519 signature")
        return signature

    def _private(self, session: Any, kind: pkcs11.KeyType) -> Any:
        key = session.get_key(label=self._label, object_class=pkcs11.ObjectClass.PRIVATE_KEY)
        # A module asked for another key's mechanism answers what it likes: that would read as an outage.
        if key.key_type != kind:
            raise KeyUnusableError("wrong-kind-of-key", f"not an {kind.name} key")
        return key

    def _read_point(self, session: Any) -> tuple[pkcs11.KeyType, bytes]:
        key = session.get_key(label=self._label, object_class=pkcs11.ObjectClass.PUBLIC_KEY)
        return key.key_type, bytes(key[pkcs11.Attribute.EC_POINT])
