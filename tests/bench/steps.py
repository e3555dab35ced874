"""The steps of one certificate, each callable alone: real code, software keys, a time-stamp made in this process."""

from __future__ import annotations

import os
import random
import secrets
from datetime import date, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from app.claims.certificate_data import DEMO_AUTHORITY, build_certificate_data
from app.claims.figures import compute_figures
from app.claims.record_json import parse_record
from app.delivery.bundle import Documents, assemble_bundle, build_leaf_evidence, leaf_entry_of, pack_for_phone
from app.rendering.font_set import FontSet
from app.rendering.layout import SEAL_RECT_PT
from app.rendering.page_text import check_page_text
from app.rendering.renderer import CertificateRenderer
from app.sealing.city_key import SoftwareKey
from app.sealing.credential import CredentialFrame, finish_credential, prepare_credential
from app.sealing.key_files import read_private_key
from app.sealing.page_seal import SealField, seal_page
from app.sealing.status_list import build_bits, finish_status_list, prepare_status_list
from app.storage.certificates import Reservation
from tests.bench.log_bench import LogBench
from tests.support.sealing_world import NOW, world
from tests.support.verifier_bundles import NOW as CITY_NOW
from tests.support.verifier_bundles import mini_city
from verifier.formats.bundle import parse_bundle
from verifier.formats.encoding import canonical_json, sha256
from verifier.formats.jose import agreement, format_jwk, thumbprint
from verifier.formats.leaf import format_validity
from verifier.formats.package import open_package
from verifier.formats.page_qr import build_statement_from, format_page_qr, page_key_id, statement_to_be_signed
from verifier.policy import OFFLINE
from verifier.report import Verdict
from verifier.sources import OfflineSources
from verifier.verify import examine

PUBLIC_URL = "https://door.mihon.example"
RECORD = {
    "fiscal_year": 2026,
    "person": {
        "name": "佐藤　花子",
        "family_name": "佐藤",
        "given_name": "花子",
        "birthdate": "1985-03-15",
        "address_jan1": "見本県見本市中央区本町一丁目2番3号",
    },
    "income": {"salary_revenue": 5_000_000},
    "deductions": {"social_insurance": 750_000},
}


class Steps:
    """One of everything; each method does one step for a fresh certificate."""

    def __init__(self, directory: Path) -> None:
        self._world = world()
        self._renderer = CertificateRenderer(FontSet.load())
        self._key = ec.generate_private_key(ec.SECP256R1()).public_key()
        self._phone = ec.generate_private_key(ec.SECP256R1())
        self._log = LogBench(directory / "log")
        self._now = NOW
        self._credential_key = SoftwareKey(
            read_private_key(self._world.pki.directory / "signer" / "credential-1.key.pem")
        )
        self._data = self.claims(0)
        self._page = self.draw(0)
        self._sealed = self.seal(0)
        self._credential = self.credential(0)
        self._bundle = self.bundle(0)
        self._package = self.pack(0)
        self._invalid = random.Random(8).sample(range(1 << 20), (1 << 20) // 100)
        self._city = mini_city()
        self._valid = self._city.issue()

    def claims(self, _n: int) -> dict:  # type: ignore[type-arg]
        record = parse_record(RECORD)
        return build_certificate_data(
            record,
            compute_figures(record),
            secrets.token_bytes(16),
            date(2026, 11, 20),
            "住居手当",
            DEMO_AUTHORITY,
        )

    def draw(self, _n: int) -> bytes:
        statement = build_statement_from(self._data, bytes(16), page_key_id(self._key))
        signature = self._credential_key.sign_digest(sha256(statement_to_be_signed(statement)))
        code = format_page_qr(PUBLIC_URL, statement, signature)
        return self._renderer.draw_page(self._data, data_bytes=canonical_json(self._data), qr_text=code)

    def compare_text(self, _n: int) -> None:
        assert not check_page_text(self._page, self._data)

    def seal(self, _n: int):  # type: ignore[no-untyped-def]
        return seal_page(
            self._page,
            at=self._now,
            material=self._world.material,
            sign_digest=self._world.seal_key.sign_digest,
            timestamp=self._world.timestamp,
            field=SealField(SEAL_RECT_PT),
        )

    def credential(self, _n: int) -> str:
        frame = CredentialFrame(
            f"{PUBLIC_URL}/992011",
            f"{PUBLIC_URL}/vct/income-certificate/1",
            format_jwk(self._phone.public_key()),
            f"{PUBLIC_URL}/992011/status/1",
            5,
            self._sealed.page_digest,
            (self._world.pki.der("credential-1"), self._world.pki.der("issuing")),
        )
        prepared = prepare_credential(self._data, frame)
        return finish_credential(prepared, self._credential_key.sign_digest(prepared.digest))

    def bundle(self, _n: int) -> bytes:
        documents = Documents(self._sealed.data, canonical_json(self._data), self._credential)
        reservation = Reservation(
            bytes(16),
            "bench",
            int(self._now.timestamp()),
            "2027-02-20",
            1,
            5,
            *(os.urandom(32) for _ in range(3)),
        )
        validity = format_validity(date(2026, 11, 20), date(2027, 2, 20))
        evidence = build_leaf_evidence(reservation, document_kind="income_certificate", validity=validity)
        leaf_entry_of(documents, evidence)
        return assemble_bundle(documents, evidence, inclusion=self._log.proof_text, status=b"status")

    def verify(self, _n: int) -> None:
        report = examine(
            self._valid, trust=self._city.trust(), policy=OFFLINE, now=CITY_NOW, sources=OfflineSources()
        )
        assert report.verdict is Verdict.VALID, report

    def pack(self, _n: int) -> bytes:
        return pack_for_phone(self._bundle, self._phone.public_key())

    def open(self, _n: int) -> None:
        opened = open_package(self._package, thumbprint(self._phone.public_key()), agreement(self._phone))
        parse_bundle(opened.plaintext)

    def status_list(self, _n: int) -> None:
        """A list of 2^20 entries, 1 % of them invalid: bits, compression, signature."""
        prepared = prepare_status_list(
            build_bits(1 << 20, self._invalid),
            uri=f"{PUBLIC_URL}/992011/status/1",
            issued=self._now,
            lifetime=timedelta(days=7),
            ttl=timedelta(hours=1),
            certificates=(self._world.pki.der("status-list-1"), self._world.pki.der("issuing")),
        )
        finish_status_list(prepared, self._credential_key.sign_digest(prepared.digest))

    def whole(self, n: int) -> None:
        self._data = self.claims(n)
        self._page = self.draw(n)
        self.compare_text(n)
        self._sealed = self.seal(n)
        self._credential = self.credential(n)
        self._bundle = self.bundle(n)
        self._log.append([os.urandom(32)])
        self._package = self.pack(n)
