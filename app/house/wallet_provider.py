"""A wallet provider's mock authority: vouches for wallets and their keys in the demo. 模擬/MOCK, never in production.

authorities.pem   the authority's certificate, for city and street door
provider.pem      the provider's certificate under it (header x5c of its attestations, without the authority)
provider.key.pem  its key (P-256, 0600): test wallets sign their attestations with it
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from app.sealing.certificates import AUTHORITY, SIGNING, Issuer, Profile, build_certificate, build_name

YEARS: Final = 5
ORGANISATION: Final = "見本ウォレット"
_SERVICES: Final = "http://wallet-provider.mihon.example"
_AUTHORITY: Final = Profile(AUTHORITY, path_length=0)
_PROVIDER: Final = Profile(SIGNING)


def make_wallet_provider(directory: Path, *, now: datetime) -> ec.EllipticCurvePrivateKey:
    """Make authority and provider in a new directory; the provider's key. Raises FileExistsError if it is there."""
    directory.mkdir(parents=True, mode=0o700)
    authority_key = ec.generate_private_key(ec.SECP256R1())
    provider_key = ec.generate_private_key(ec.SECP256R1())
    authority = build_certificate(
        subject=build_name("Wallet Provider CA", ORGANISATION),
        key=authority_key.public_key(),
        profile=_AUTHORITY,
        issuer=authority_key,
        not_before=now,
        years=YEARS,
        services_url=_SERVICES,
    )
    provider = build_certificate(
        subject=build_name("Wallet Provider", ORGANISATION),
        key=provider_key.public_key(),
        profile=_PROVIDER,
        issuer=Issuer(authority, authority_key, "wallet-provider"),
        not_before=now,
        years=YEARS,
        services_url=_SERVICES,
    )
    (directory / "provider.pem").write_bytes(provider.public_bytes(Encoding.PEM))
    (directory / "authorities.pem").write_bytes(authority.public_bytes(Encoding.PEM))
    return provider_key
