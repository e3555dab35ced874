"""A whole sealing room for tests: demo PKI, revocation lists, a drawn page, software keys, an in-process TSA.

Everything is real except the network: keys are made anew, the page is drawn by Typst, the time-stamps are
signed.
"""

from __future__ import annotations

import functools
import json
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import typst
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from app.counterparts.trust_services.authority import build_crl
from app.counterparts.trust_services.tsa import DemoTsa
from app.sealing.city_key import SoftwareKey
from app.sealing.key_files import read_private_key
from app.sealing.page_seal import SealedBytes, SealField, seal_page
from app.sealing.pki import DemoPki, PkiSettings, create_demo_pki
from app.sealing.validation_material import CRL_STEMS, ValidationMaterial, build_material
from verifier.formats.encoding import canonical_json
from verifier.formats.timestamp import build_query, parse_response

ROOT = Path(__file__).parents[2]
ISS = "https://door.mihon.example/992011"
ORIGIN = "door.mihon.example/992011/log/1"
# The wall clock, not a fixed day: foreign checkers (openssl, pyHanko) judge by the present.
NOW = datetime.now(UTC).replace(microsecond=0)
SAMPLE = json.loads((ROOT / "tests" / "vectors" / "good" / "certificate-sample.json").read_bytes())
DATA = canonical_json(SAMPLE)
RECTANGLE = (476.22, 76.54, 544.25, 144.57)

_TEMPLATE = """
#set document(
  title: [課税証明書 見本],
  author: "見本市 (MOCK)",
  date: datetime(year: 2026, month: 11, day: 20),
)
#set page(paper: "a4")
#set text(font: "Noto Serif JP", lang: "ja", region: "jp")
#pdf.attach(
  "certificate.json",
  read("certificate.json", encoding: none),
  relationship: "data",
  mime-type: "application/json",
  description: "data of this certificate",
)
= 課税証明書（見本 MOCK）
#table(columns: 2, table.header([項目], [内容]), [氏名], [佐藤　花子], [合計所得金額], [3,560,000])
"""


@dataclass(frozen=True)
class World:
    """What most tests need."""

    pki: DemoPki
    material: ValidationMaterial
    seal_key: SoftwareKey
    tsa: DemoTsa

    def timestamp(self, digest: bytes, *, nonce: int = 1 << 63, now: datetime = NOW) -> bytes:
        """A token of the in-process TSA."""
        return parse_response(self.tsa.answer(build_query(digest, nonce), now)).encoded

    def certificate(self, name: str) -> x509.Certificate:
        """By its name in the PKI."""
        return self.pki.certificates[name]

    def seal(self, pdf: bytes | None = None, *, field: SealField | None = None) -> SealedBytes:
        """A sealed page."""
        return seal_page(
            pdf if pdf is not None else drawn_page(),
            at=NOW,
            material=self.material,
            sign_digest=self.seal_key.sign_digest,
            timestamp=self.timestamp,
            field=field or SealField(rectangle=RECTANGLE),
        )


def make_pki(directory: Path, *, now: datetime = NOW) -> DemoPki:
    """A new PKI, valid since an hour before `now`."""
    return create_demo_pki(directory, PkiSettings(iss=ISS), now - timedelta(hours=1))


@functools.cache
def world() -> World:
    """One for a test process; nothing in it is changed by tests."""
    directory = tempfile.TemporaryDirectory(prefix="sealing-world-")
    _KEEP.append(directory)
    pki = make_pki(Path(directory.name) / "pki")
    crls = [build_crl(pki, stem, NOW - timedelta(minutes=1)) for stem in CRL_STEMS]
    tsa_key = read_private_key(pki.directory / "ca" / "tsa.key.pem")
    assert isinstance(tsa_key, ec.EllipticCurvePrivateKey)
    return World(
        pki,
        build_material(pki.page_chain, crls, at=NOW),
        SoftwareKey(read_private_key(pki.directory / "signer" / "page-seal-1.key.pem")),
        DemoTsa(pki.certificates["tsa"], tsa_key),
    )


@functools.cache
def drawn_page(extra: str = "") -> bytes:
    """A small PDF/A-3a + PDF/UA-1 page with certificate.json; `extra`: Typst source after it."""
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        (folder / "certificate.json").write_bytes(DATA)
        (folder / "page.typ").write_text(_TEMPLATE + extra, encoding="utf-8")
        return typst.compile(
            str(folder / "page.typ"),
            root=directory,
            font_paths=[str(ROOT / "app" / "rendering" / "fonts")],
            ignore_system_fonts=True,
            pdf_standards=["a-3a", "ua-1"],
            timestamp=NOW,
        )


@functools.cache
def sealed_page() -> bytes:
    """One sealed page, the same for a test process."""
    return world().seal().data


_KEEP: list[tempfile.TemporaryDirectory[str]] = []
