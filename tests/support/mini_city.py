"""A whole mini city in one process, without sockets: two residents, their bundles, and everybody who is not the city.

Sealing, log, delivery and formats are the real rooms; only the way between them is missing. Built on
`verifier_bundles` (PKI, time-stamps, keys); what is added here: a real `chain.log` on disk, a second resident,
a twin (another city with the very same names and keys of its own), a neighbour (properly certified by the same
authority, for other names), and one place where every part of a document can be replaced *before* it is logged,
so that only one thing is wrong. `now` is NOW everywhere. All of it is 模擬/MOCK.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from app.counterparts.trust_services.authority import build_crl
from app.counterparts.trust_services.tsa import DemoTsa
from app.delivery.bundle import Documents, assemble_bundle, leaf_entry_of
from app.recipients.register import issue_statement
from app.sealing.certificates import PAGE_SEAL, Profile, build_certificate, build_name
from app.sealing.city_key import SoftwareKey
from app.sealing.key_files import read_private_key
from app.sealing.page_seal import SealField, seal_page
from app.sealing.pki import DemoPki, PkiSettings, create_demo_pki
from app.sealing.validation_material import CRL_STEMS, ValidationMaterial, build_material
from chain.checkpoint_key import SoftwareSigner
from chain.log import Log, create_log
from tests.support import verifier_bundles as parts
from tests.support.verifier_bundles import DATA, DAY, ISS, NOW, ORIGIN, PUBLIC_URL, MiniCity, new_key
from verifier.formats.bundle import Bundle, build_bundle, parse_bundle
from verifier.formats.encoding import canonical_json, sha256
from verifier.formats.evidence import Evidence, Part
from verifier.formats.jose import SignDigest, es256_signer, format_jwk, thumbprint
from verifier.formats.leaf import format_validity, parse_date
from verifier.formats.page_qr import build_statement_from, format_page_qr, page_key_id, statement_to_be_signed
from verifier.formats.timestamp import build_query, parse_response
from verifier.formats.tlog_proof import TlogProof, format_tlog_proof
from verifier.trust import TrustList, load_trust_list

CITY_NUMBER = "7000020992011"
COMPANY_NUMBER = "5010401089998"
OTHER_ISS = f"{PUBLIC_URL}/992020"
RECTANGLE = (476.22, 76.54, 544.25, 144.57)


@dataclass(frozen=True)
class Resident:
    """A person, the phone's signing key, and the place in the status list."""

    data: Mapping[str, Any]
    index: int
    holder: ec.EllipticCurvePrivateKey = field(default_factory=new_key)

    @property
    def certificate(self) -> bytes:
        """certificate.json"""
        return canonical_json(dict(self.data))

    def salt(self, part: str) -> bytes:
        return sha256(f"{part} {self.index}".encode())


@dataclass(frozen=True)
class Party:
    """Somebody with a key and certificates: leaf first, then the authorities without the root."""

    key: ec.EllipticCurvePrivateKey
    chain: tuple[bytes, ...]

    @property
    def sign(self) -> SignDigest:
        return es256_signer(self.key)

    @property
    def frame(self) -> dict[str, Any]:
        """For `City.credential`: signed by this party, with its certificates in the header."""
        return {"sign": self.sign, "certificates": self.chain}


class City:
    """The city, its log, and two residents. Documents are made once and kept."""

    def __init__(self) -> None:
        self.base: MiniCity = parts.mini_city()
        self.pki: DemoPki = self.base.pki
        directory = _folder("mini-city-log-")
        create_log(directory / "log", ORIGIN)
        signer = SoftwareSigner(self.base.log_key)
        self.log = Log(directory / "log", self.base.log_vkey, signer, padding=4)
        self.statement_key = _key(self.pki, "signer/statement-1.key.pem")
        number, name = "2QK4-9MZT-2HXW", {**DATA["subject"], "name": "佐藤　太郎", "family_name": "佐藤"}
        income = {**DATA["income"], "total": 1980000, "gross_total": 1980000}
        other = parts.with_data(certificate_number=number, subject=name, income=income)
        self.hanako = Resident(DATA, parts.STATUS_INDEX, self.base.holder)
        self.taro = Resident(other, parts.STATUS_INDEX + 7)

    # -- parties

    @functools.cached_property
    def twin(self) -> MiniCity:
        """Another city's whole installation, made by somebody else with the very same names."""
        return _make_city(PkiSettings(iss=ISS))

    def party(self, name: str, pki: DemoPki | None = None) -> Party:
        """The holder of a key of a PKI (`page-seal-1`, `credential-1`, `status-list-1`, `tsa`, `issuing`)."""
        pki = pki or self.pki
        folder = "ca" if name in ("tsa", "issuing", "root", "tsa-ca") else "signer"
        above = {"tsa": ("tsa-ca",), "issuing": (), "root": (), "tsa-ca": ()}.get(name, ("issuing",))
        chain = (name, *above)
        return Party(_key(pki, f"{folder}/{name}.key.pem"), tuple(pki.der(item) for item in chain))

    def certified(
        self,
        profile: Profile = PAGE_SEAL,
        *,
        name: str = "見本市 e-seal",
        organisation: str = "見本市",
        number: str | None = CITY_NUMBER,
        issuer: str = "issuing",
        start: dt.datetime = NOW - dt.timedelta(hours=1),
        years: int = 5,
    ) -> Party:
        """A fresh key with a certificate that the city's own authorities have properly issued to somebody."""
        key = new_key()
        certificate = build_certificate(
            subject=build_name(name, organisation, number),
            key=key.public_key(),
            profile=profile,
            issuer=self.pki.issuer(issuer),
            not_before=start,
            years=years,
            services_url="http://trust.mihon.example",
        )
        return Party(key, (certificate.public_bytes(Encoding.DER), self.pki.der(issuer)))

    @functools.cached_property
    def company(self) -> Party:
        """A company's e-seal from the same certification service: genuine, and not the city's."""
        return self.certified(
            name="株式会社見本商事 e-seal", organisation="株式会社見本商事", number=COMPANY_NUMBER
        )

    # -- documents

    def stamp(self, *, by: Party | None = None, at: dt.datetime = NOW) -> Callable[[bytes], bytes]:
        """A time-stamping authority: SHA-256 digest → token."""
        party = by or self.party("tsa")
        tsa = DemoTsa(x509.load_der_x509_certificate(party.chain[0]), party.key)
        return lambda digest: parse_response(tsa.answer(build_query(digest, 1 << 63), at)).encoded

    def material(
        self, seal: Party | None = None, *, pki: DemoPki | None = None, crls: Sequence[bytes] | None = None
    ) -> ValidationMaterial:
        """Chain and revocation lists for a page, without the room's own check that they fit together."""
        pki = pki or self.pki
        chain = list(pki.page_chain)
        if seal is not None:
            chain[:2] = [*seal.chain, pki.der("issuing")][:2]
        if crls is None:
            crls = [build_crl(pki, stem, NOW - dt.timedelta(minutes=1)) for stem in CRL_STEMS]
        return ValidationMaterial(tuple(chain), tuple(crls))

    def seal(
        self,
        certificate: bytes,
        *,
        by: Party | None = None,
        material: ValidationMaterial | None = None,
        stamp: Callable[[bytes], bytes] | None = None,
        at: dt.datetime = NOW,
    ) -> bytes:
        """A drawn page for `certificate` (certificate.json), sealed and time-stamped."""
        party = by or self.party("page-seal-1")
        return seal_page(
            drawn(certificate),
            at=at,
            material=material or self.material(by),
            sign_digest=SoftwareKey(party.key).sign_digest,
            timestamp=stamp or self.stamp(at=at),
            field=SealField(rectangle=RECTANGLE),
        ).data

    def page(self, resident: Resident) -> bytes:
        """The genuine sealed page."""
        return self._pages(resident.index)

    @functools.cache  # noqa: B019 - one city for a test process
    def _pages(self, index: int) -> bytes:
        return self.seal((self.hanako if index == self.hanako.index else self.taro).certificate)

    def credential(self, resident: Resident, *, page: bytes | None, **changes: Any) -> bytes:
        """The credential of a resident; `changes`: fields of the frame, `sign`, or `data`."""
        values = {
            "holder_jwk": format_jwk(resident.holder.public_key()),
            "status_index": resident.index,
            "data": resident.data,
        } | changes
        return self.base.credential(values.pop("data"), page=page, **values)

    # -- the log and the bundle

    def evidence(self, resident: Resident, data: Mapping[str, Any] | None = None) -> Evidence:
        """The evidence that opens every part of the leaf."""
        data = data or resident.data
        first, last = (parse_date(str(data[name])) for name in ("issued_on", "valid_until"))
        salts = {name: Part(salt=resident.salt(name)) for name in ("data", "page", "credential")}
        return Evidence(str(data["document_kind"]), format_validity(first, last), **salts)

    def enter(self, *entries: bytes) -> list[TlogProof]:
        """Entries into the log, and their proofs under the newest checkpoint."""
        return [self.log.prove(index) for index in self.log.append(list(entries))]

    def issue(
        self,
        resident: Resident | None = None,
        *,
        data: Mapping[str, Any] | None = None,
        page: bytes | None = None,
        with_page: bool = True,
        certificate: bytes | None = None,
        credential: bytes | None = None,
        status: bytes | None = None,
        anchored: bool = True,
        stamp: Callable[[bytes], bytes] | None = None,
    ) -> bytes:
        """A bundle that the log has taken; every part can be replaced **before** that."""
        resident = resident or self.hanako
        documents = self.documents(resident, data=data, page=page, with_page=with_page)
        if certificate is not None:
            documents = dataclasses.replace(documents, data=certificate)
        if credential is not None:
            documents = dataclasses.replace(documents, credential=credential.decode("ascii"))
        evidence = self.evidence(resident, data)
        proof = self.enter(_entry(documents, evidence))[0]
        return self.finish(documents, evidence, proof, status=status, anchored=anchored, stamp=stamp)

    def documents(
        self,
        resident: Resident,
        *,
        data: Mapping[str, Any] | None = None,
        page: bytes | None = None,
        with_page: bool = True,
    ) -> Documents:
        """Page, certificate.json and credential that belong together; page b"" = a copy without one."""
        certificate = resident.certificate if data is None else canonical_json(dict(data))
        if page is None and with_page:
            page = self.page(resident) if data is None else self.seal(certificate)
        credential = self.credential(resident, page=page, data=data or resident.data)
        return Documents(page or b"", certificate, credential.decode("ascii"))

    def finish(
        self,
        documents: Documents,
        evidence: Evidence,
        proof: TlogProof,
        *,
        status: bytes | None = None,
        anchored: bool = True,
        stamp: Callable[[bytes], bytes] | None = None,
    ) -> bytes:
        """What delivery assembles, and the receipt that the phone adds."""
        status = status or self.base.status()
        text = format_tlog_proof(proof)
        token = (stamp or self.stamp())(sha256(proof.checkpoint))
        if documents.page:
            bundle = parse_bundle(
                assemble_bundle(documents, evidence, inclusion=text.decode(), status=status, timestamp=token)
            )
        else:
            bundle = Bundle(
                documents.credential.encode("ascii"),
                parts.build_evidence(evidence),
                text,
                status,
                certificate=documents.data,
                timestamp=token,
            )
        note = self.base.anchor_note(self.base.receipt(parts.peek_checkpoint(proof.checkpoint)))
        return build_bundle(dataclasses.replace(bundle, anchor=note if anchored else None))

    @functools.cached_property
    def _genuine(self) -> tuple[bytes, bytes]:
        # One batch: both stand under the same checkpoint.
        people = (self.hanako, self.taro)
        documents = [self.documents(person) for person in people]
        evidence = [self.evidence(person) for person in people]
        proofs = self.enter(*(_entry(*pair) for pair in zip(documents, evidence, strict=True)))
        one, two = (self.finish(*row) for row in zip(documents, evidence, proofs, strict=True))
        return one, two

    @property
    def bundle(self) -> bytes:
        """Hanako's anchored bundle."""
        return self._genuine[0]

    @property
    def other_bundle(self) -> bytes:
        """Taro's, under the same checkpoint."""
        return self._genuine[1]

    # -- trust, requests, submissions

    def trust_data(self, **changes: Any) -> bytes:
        """The signed trust list (2 of 3)."""
        values = {"statement_key": self.statement_key.public_key()} | changes
        return self.base.trust_data(**values)

    @functools.cached_property
    def trust_list(self) -> bytes:
        """The genuine list, version 1."""
        return self.trust_data()

    @functools.cached_property
    def trust(self) -> TrustList:
        return load_trust_list(self.trust_list)

    @functools.cached_property
    def request(self) -> bytes:
        """The desk's request descriptor."""
        return self.base.request()

    def submit(self, bundle: bytes | None = None, **changes: Any) -> bytes:
        """The bundle bound to the desk's request by Hanako's phone."""
        return self.base.bind(bundle or self.bundle, changes.pop("request", self.request), **changes)

    @functools.cached_property
    def submission(self) -> bytes:
        return self.submit()

    @functools.cached_property
    def package(self) -> bytes:
        """The submission encrypted to the desk."""
        return self.base.packed(self.submission)

    def statement(self, *, key: ec.EllipticCurvePrivateKey | None = None, **changes: Any) -> bytes:
        """A recipient statement about the desk, logged like a real one."""
        key = key or self.statement_key
        values = {
            "city": "992011",
            "name": "株式会社見本商事",
            "corporate_number": None,
            "keys": (thumbprint(self.base.desk.public_key()),),
            "signing_key": thumbprint(self.base.desk_signing.public_key()),
            "upload": PUBLIC_URL,
            "now": NOW,
        } | changes
        return issue_statement(
            **values,
            kid=thumbprint(key.public_key()),
            sign=es256_signer(key),
            append=lambda entry: self.log.append([entry]),
        )

    def page_code(
        self,
        *,
        key: ec.EllipticCurvePrivateKey | None = None,
        data: Mapping[str, Any] = DATA,
        key_id: bytes = b"",
    ) -> str:
        """The text of the code on the printed page."""
        genuine = self.party("credential-1").key
        key_id = key_id or page_key_id(genuine.public_key())
        statement = build_statement_from(data, bytes(16), key_id)
        signature = es256_signer(key or genuine)(sha256(statement_to_be_signed(statement)))
        return format_page_qr(PUBLIC_URL, statement, signature)


@functools.cache
def city() -> City:
    """One for a test process; nothing that tests can see of it changes (its log only grows)."""
    return City()


@functools.cache
def drawn(certificate: bytes) -> bytes:
    """The page before sealing."""
    return parts.draw_page(certificate)


def _entry(documents: Documents, evidence: Evidence) -> bytes:
    if documents.page:
        return leaf_entry_of(documents, evidence)
    signed = documents.credential.split("~", 1)[0].encode("ascii")
    return evidence.entry(data=documents.data, page=None, credential=signed)


def _make_city(settings: PkiSettings) -> MiniCity:
    pki = create_demo_pki(_folder("mini-city-twin-") / "pki", settings, NOW - dt.timedelta(hours=1))
    crls = [build_crl(pki, stem, NOW - dt.timedelta(minutes=1)) for stem in CRL_STEMS]
    tsa = DemoTsa(pki.certificates["tsa"], _key(pki, "ca/tsa.key.pem"))
    return MiniCity(pki, tsa, build_material(pki.page_chain, crls, at=NOW))


def _key(pki: DemoPki, name: str) -> ec.EllipticCurvePrivateKey:
    key = read_private_key(pki.directory / name)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def _folder(prefix: str) -> Path:
    directory = tempfile.TemporaryDirectory(prefix=prefix)
    _KEEP.append(directory)
    return Path(directory.name)


_KEEP: list[tempfile.TemporaryDirectory[str]] = []

__all__ = ["DAY", "NOW", "City", "Party", "Resident", "city"]
