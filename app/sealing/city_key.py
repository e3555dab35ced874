"""One key of the city behind one interface: in software, in a PKCS#11 module, or at a remote signing service.

A key does only what its kind can: P-256 keys sign digests (ECDSA) or agree (ECDH), the log's key signs notes
(Ed25519). What it may be used for is decided before it is asked (`signer_rules`); no implementation gives its
private part away.
`Pkcs11Key` is in `pkcs11_key`, `RemoteKey` in `remote_key`.
"""

from __future__ import annotations

from typing import Protocol

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature

from app.sealing.errors import KeyUnusableError
from app.sealing.key_files import PrivateKey

PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey


class CityKey(Protocol):
    """What the signer needs of a key. Implementations are safe to call from several threads."""

    @property
    def is_software(self) -> bool:
        """Whether the private part lies in this process's memory."""
        ...

    def public_key(self) -> PublicKey:
        """The public part. Raises: KeyUnusableError, UnavailableError."""
        ...

    def sign_digest(self, digest: bytes) -> bytes:
        """ECDSA on P-256 over a SHA-256 digest: r ‖ s, 64 bytes. Raises: KeyUnusableError,
        UnavailableError."""
        ...

    def agree(self, peer: ec.EllipticCurvePublicKey) -> bytes:
        """ECDH on P-256: the shared x coordinate, 32 bytes. Raises: KeyUnusableError, UnavailableError."""
        ...

    def sign_message(self, message: bytes) -> bytes:
        """Ed25519 over a message: 64 bytes. Raises: KeyUnusableError, UnavailableError."""
        ...


class SoftwareKey:
    """A key in memory, from a file: the demo's."""

    def __init__(self, key: PrivateKey) -> None:
        self._key = key

    is_software = True

    def public_key(self) -> PublicKey:
        return self._key.public_key()

    def sign_digest(self, digest: bytes) -> bytes:
        # RFC 6979: the same digest gives the same signature, so that a repetition after a crash gives the
        # same page.
        algorithm = ec.ECDSA(Prehashed(hashes.SHA256()), deterministic_signing=True)
        return raw_signature(self._p256().sign(digest, algorithm))

    def agree(self, peer: ec.EllipticCurvePublicKey) -> bytes:
        return self._p256().exchange(ec.ECDH(), peer)

    def sign_message(self, message: bytes) -> bytes:
        if not isinstance(self._key, ed25519.Ed25519PrivateKey):
            raise KeyUnusableError("wrong-kind-of-key", "not an Ed25519 key")
        return self._key.sign(message)

    def _p256(self) -> ec.EllipticCurvePrivateKey:
        if not isinstance(self._key, ec.EllipticCurvePrivateKey):
            raise KeyUnusableError("wrong-kind-of-key", "not a P-256 key")
        return self._key


def raw_signature(encoded: bytes) -> bytes:
    """ECDSA-Sig-Value in DER as r ‖ s, 64 bytes. Raises: KeyUnusableError."""
    try:
        r, s = decode_dss_signature(encoded)
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")
    except (ValueError, OverflowError) as error:
        raise KeyUnusableError("bad-signature-form", "not an ECDSA signature on P-256") from error
