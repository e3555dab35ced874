"""What a forger would try, for the story and for tests: a flipped byte, and a seal by keys of the forger's own.

The forger owns everything a stranger can own: the published formats, this very code, and a mock PKI with the city's
name on it. What the forger lacks is the city's keys.
"""

from __future__ import annotations

import dataclasses
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from app.counterparts.trust_services.authority import build_crl
from app.counterparts.trust_services.tsa import DemoTsa
from app.sealing.city_key import SoftwareKey
from app.sealing.key_files import read_private_key
from app.sealing.page_seal import seal_page
from app.sealing.pki import DemoPki, PkiSettings, create_demo_pki
from app.sealing.validation_material import CRL_STEMS, build_material
from verifier.formats.bundle import build_bundle, parse_bundle
from verifier.formats.timestamp import build_query, parse_response


def flip_byte(data: bytes, position: int) -> bytes:
    """The same bytes with one bit of one byte changed."""
    changed = bytearray(data)
    changed[position] ^= 0x01
    return bytes(changed)


def make_other_city(directory: Path, issuer: str, *, now: datetime) -> DemoPki:
    """A PKI that says it is the same city, made by somebody else."""
    return create_demo_pki(directory, PkiSettings(iss=issuer), now)


def reseal_bundle(bundle: bytes, drawn_page: bytes, pki: DemoPki, *, at: datetime) -> bytes:
    """The bundle with its page replaced by `drawn_page`, sealed and time-stamped with the keys of `pki`."""
    tsa = DemoTsa(pki.certificates["tsa"], _p256(pki, "ca/tsa.key.pem"))
    material = build_material(pki.page_chain, [build_crl(pki, stem, at) for stem in CRL_STEMS], at=at)
    sealed = seal_page(
        drawn_page,
        at=at,
        material=material,
        sign_digest=SoftwareKey(_p256(pki, "signer/page-seal-1.key.pem")).sign_digest,
        timestamp=lambda digest: parse_response(tsa.answer(build_query(digest, 1 << 63), at)).encoded,
    )
    return build_bundle(dataclasses.replace(parse_bundle(bundle), page=sealed.data))


def _p256(pki: DemoPki, name: str) -> ec.EllipticCurvePrivateKey:
    key = read_private_key(pki.directory / name)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError("not a P-256 key")
    return key
