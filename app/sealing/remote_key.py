"""A city key at a remote signing service that speaks the CSC API: authorise a hash, then sign it.

Source: Cloud Signature Consortium API v1.0.4 / v2, `credentials/authorize` and `signatures/signHash`. One SAD
(signature activation data) for one hash: the service binds them (SCAL2), so that a stolen SAD signs nothing
else. HTTP is behind
`CscTransport`: the issue's demo has no such service, the tests a double.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

from cryptography.hazmat.primitives.asymmetric import ec

from app.errors import UnavailableError
from app.sealing.city_key import PublicKey, raw_signature
from app.sealing.errors import KeyUnusableError
from verifier.errors import FormatError
from verifier.formats.encoding import base64_decode, base64_encode

SHA256_OID: Final = "2.16.840.1.101.3.4.2.1"
ECDSA_SHA256_OID: Final = "1.2.840.10045.4.3.2"


class CscTransport(Protocol):
    """Sends one JSON request to the service, authenticated, and returns the JSON answer."""

    def post(self, method: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """`method`: path below the API's base. Raises: UnavailableError, KeyUnusableError (an error
        object)."""
        ...


class RemoteKey:
    """The credential `credential_id` of a CSC service, whose P-256 public key is known beforehand."""

    is_software = False

    def __init__(
        self, transport: CscTransport, credential_id: str, public_key: ec.EllipticCurvePublicKey
    ) -> None:
        self._transport = transport
        self._credential_id = credential_id
        self._public_key = public_key

    def public_key(self) -> PublicKey:
        return self._public_key

    def sign_digest(self, digest: bytes) -> bytes:
        wanted = [base64_encode(digest)]
        authorised = self._transport.post(
            "credentials/authorize",
            {"credentialID": self._credential_id, "numSignatures": 1, "hash": wanted},
        )
        signed = self._transport.post(
            "signatures/signHash",
            {
                "credentialID": self._credential_id,
                "SAD": _text(authorised.get("SAD")),
                "hash": wanted,
                "hashAlgo": SHA256_OID,
                "signAlgo": ECDSA_SHA256_OID,
            },
        )
        signatures = signed.get("signatures")
        if not isinstance(signatures, list) or len(signatures) != 1:
            raise UnavailableError("remote-signing-failed", "not one signature")
        try:
            return raw_signature(base64_decode(_text(signatures[0])))
        except FormatError as error:
            raise UnavailableError("remote-signing-failed", "not a signature") from error

    def agree(self, peer: ec.EllipticCurvePublicKey) -> bytes:
        raise KeyUnusableError("wrong-kind-of-key", "a remote signing service does not agree")

    def sign_message(self, message: bytes) -> bytes:
        raise KeyUnusableError("wrong-kind-of-key", "not an Ed25519 key")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise UnavailableError("remote-signing-failed", "the service's answer has not its form")
    return value
