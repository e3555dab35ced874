"""A wallet provider for tests (模擬/MOCK): an authority, a signing certificate, wallet and key attestations.

Sources: OpenID4VCI 1.0 appendices D and E, draft-ietf-oauth-attestation-based-client-auth-07, HAIP 1.0.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from verifier.formats.encoding import base64_encode, base64url_encode, canonical_json
from verifier.formats.jose import build_jws, es256_signer, format_jwk
from verifier.formats.names import (
    KEY_ATTESTATION_TYPS,
    WALLET_ATTESTATION_POP_TYP,
    WALLET_ATTESTATION_TYP,
)

CLIENT_ID = "https://wallet.mihon.example"
REDIRECT_URI = "mihon-wallet://callback"
DAY = 86400


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def sign(header: dict[str, Any], claims: dict[str, Any], key: ec.EllipticCurvePrivateKey) -> str:
    """A compact JWS with ES256."""
    return build_jws(header, canonical_json(claims), es256_signer(key)).decode("ascii")


def new_id() -> str:
    return base64url_encode(os.urandom(16))


@dataclass(frozen=True)
class WalletProvider:
    """`anchor` is what a city trusts; `certificate` signs attestations with `key`."""

    anchor: x509.Certificate
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def pem(self) -> bytes:
        """The file of trusted authorities."""
        return self.anchor.public_bytes(Encoding.PEM)

    def x5c(self) -> list[str]:
        return [base64_encode(self.certificate.public_bytes(Encoding.DER))]

    def wallet_attestation(
        self, key: ec.EllipticCurvePrivateKey, now: datetime, *, header: Any = None, **claims: Any
    ) -> str:
        """The word of the provider that this instance of its wallet holds `key`."""
        seconds = int(now.timestamp())
        body = {
            "iss": "https://provider.mihon.example",
            "sub": CLIENT_ID,
            "iat": seconds,
            "exp": seconds + DAY,
            "cnf": {"jwk": format_jwk(key.public_key())},
            "wallet_name": "模擬/MOCK wallet",
            **claims,
        }
        head = {"typ": WALLET_ATTESTATION_TYP, "x5c": self.x5c(), **(header or {})}
        return sign(head, {name: value for name, value in body.items() if value is not None}, self.key)

    def key_attestation(
        self,
        keys: Sequence[ec.EllipticCurvePrivateKey],
        now: datetime,
        *,
        header: Any = None,
        **claims: Any,
    ) -> str:
        """The word of the provider that these keys lie in a good place."""
        seconds = int(now.timestamp())
        body = {
            "iat": seconds,
            "exp": seconds + DAY,
            "attested_keys": [format_jwk(key.public_key()) for key in keys],
            "key_storage": ["iso_18045_moderate"],
            "user_authentication": ["iso_18045_moderate"],
            **claims,
        }
        head = {"typ": KEY_ATTESTATION_TYPS[0], "x5c": self.x5c(), **(header or {})}
        return sign(head, {name: value for name, value in body.items() if value is not None}, self.key)


def wallet_pop(
    key: ec.EllipticCurvePrivateKey, audience: str, now: datetime, *, header: Any = None, **claims: Any
) -> str:
    """The wallet instance's own proof beside its attestation."""
    body = {"iss": CLIENT_ID, "aud": audience, "jti": new_id(), "iat": int(now.timestamp()), **claims}
    head = {"typ": WALLET_ATTESTATION_POP_TYP, **(header or {})}
    return sign(head, {name: value for name, value in body.items() if value is not None}, key)


def make_wallet_provider(now: datetime, name: str = "模擬 MOCK wallet provider") -> WalletProvider:
    """A fresh authority and signer, good for a year around `now`."""
    anchor_key, key = new_key(), new_key()
    anchor = _certificate(f"{name} CA", anchor_key, f"{name} CA", anchor_key, now, authority=True)
    certificate = _certificate(name, key, f"{name} CA", anchor_key, now, authority=False)
    return WalletProvider(anchor, certificate, key)


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    now: datetime,
    *,
    authority: bool,
) -> x509.Certificate:
    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False
    )
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=180))
        .not_valid_after(now + timedelta(days=180))
        .add_extension(
            x509.BasicConstraints(ca=authority, path_length=0 if authority else None), critical=True
        )
        .add_extension(
            x509.KeyUsage(
                digital_signature=not authority,
                key_cert_sign=authority,
                crl_sign=authority,
                encipher_only=False,
                decipher_only=False,
                **usage,
            ),
            critical=True,
        )
        .sign(issuer_key, hashes.SHA256())
    )
