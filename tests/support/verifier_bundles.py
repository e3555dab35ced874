"""A mini city for tests of the verifier: a complete valid bundle, its trust list, parts to derive bad ones.

The seal, the time-stamps and the credential come from the real sealing room; the log is a tree of a few
leaves made here by RFC 9162 in the plainest way, a second opinion on the reader. Every time is derived from
NOW.
All of it is 模擬/MOCK.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typst
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from app.counterparts.trust_services.authority import build_crl
from app.counterparts.trust_services.tsa import DemoTsa
from app.sealing.city_key import SoftwareKey
from app.sealing.credential import CredentialFrame, finish_credential, prepare_credential
from app.sealing.key_files import read_private_key
from app.sealing.page_seal import SealField, seal_page
from app.sealing.pki import DemoPki, PkiSettings, create_demo_pki
from app.sealing.validation_material import CRL_STEMS, ValidationMaterial, build_material
from verifier.checks.chain import ANCHORED_TOPIC
from verifier.formats.bundle import Bundle, add_key_binding, build_bundle, parse_bundle
from verifier.formats.chain_anchor import AnchorReceipt, format_receipt_text
from verifier.formats.checkpoint import Checkpoint, format_checkpoint_text, peek_checkpoint
from verifier.formats.credential import parse_credential, select_disclosures
from verifier.formats.encoding import base64_encode, canonical_json, parse_canonical_json, sha256
from verifier.formats.evidence import Evidence, Part, build_evidence, parse_evidence, withhold
from verifier.formats.jose import SignDigest, es256_signer, format_jwk, thumbprint
from verifier.formats.key_binding import build_key_binding
from verifier.formats.leaf import format_validity, parse_date
from verifier.formats.names import BUNDLE_TYPE
from verifier.formats.package import pack
from verifier.formats.pdf_seal import parse_sealed_page
from verifier.formats.signed_note import (
    COSIGNATURE_ED25519,
    SignedNote,
    VerifierKey,
    build_signature_line,
    build_vkey,
    cosigned_bytes,
    format_note,
    format_vkey,
)
from verifier.formats.status_list import build_status_list
from verifier.formats.submission_request import (
    SubmissionRequest,
    build_submission_request,
    parse_submission_request,
    request_nonce,
)
from verifier.formats.timestamp import build_query, parse_response
from verifier.formats.tlog_proof import TlogProof, format_tlog_proof, parse_tlog_proof
from verifier.formats.trust_list import ChainTrust, TrustContent
from verifier.sources import StaticSources
from verifier.trust import TrustList, build_trust_list, load_trust_list, sign_trust_list

NOW = dt.datetime(2026, 11, 20, 3, 0, tzinfo=dt.UTC)
PUBLIC_URL = "https://door.mihon.example"
ISS = f"{PUBLIC_URL}/992011"
VCT = f"{PUBLIC_URL}/vct/income-certificate/1"
ORIGIN = "door.mihon.example/992011/log/1"
STATUS_URI = f"{ISS}/status/1"
STATUS_INDEX = 1234
CHAIN_ID = 992011
CONTRACT = bytes.fromhex("5fbdb2315678afecb367f032d93f642f64180aa3")
ROOT = Path(__file__).parents[2]
DATA: dict[str, Any] = json.loads((ROOT / "tests/vectors/good/certificate-sample.json").read_bytes())
DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class MiniCity:
    """Keys and certificates; the methods make documents. Nothing in it changes."""

    pki: DemoPki
    tsa: DemoTsa
    material: ValidationMaterial
    log_key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    witness_key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    signers: tuple[Ed25519PrivateKey, ...] = field(
        default_factory=lambda: tuple(Ed25519PrivateKey.generate() for _ in range(3))
    )
    holder: ec.EllipticCurvePrivateKey = field(default_factory=lambda: new_key())
    desk: ec.EllipticCurvePrivateKey = field(default_factory=lambda: new_key())
    desk_signing: ec.EllipticCurvePrivateKey = field(default_factory=lambda: new_key())

    @property
    def log_vkey(self) -> VerifierKey:
        return build_vkey(ORIGIN, raw_public(self.log_key))

    @property
    def witness_vkey(self) -> VerifierKey:
        return build_vkey("witness.example/1", raw_public(self.witness_key), COSIGNATURE_ED25519)

    @property
    def witness_policy(self) -> str:
        """One witness, and it must have signed."""
        return f"witness w1 {format_vkey(self.witness_vkey)}\nquorum w1\n"

    def content(self, **changes: Any) -> TrustContent:
        """What the city's trust list says."""
        chain = ChainTrust(CHAIN_ID, CONTRACT, ("http://node.mihon.example:8545",))
        content = TrustContent(
            city="992011",
            name="見本市",
            public_url=PUBLIC_URL,
            iss=ISS,
            vct=(VCT,),
            seal_cas=(self.pki.der("root"),),
            credential_cas=(self.pki.der("root"),),
            tsa_cas=(self.pki.der("tsa-ca"),),
            credential_keys=(self.public_key("credential-1"),),
            log=self.log_vkey,
            envelope_key=new_key().public_key(),
            statement_key=new_key().public_key(),
            status_lists=(STATUS_URI,),
            max_status_age=7 * 86400,
            mock=True,
            chain=chain,
        )
        return dataclasses.replace(content, **changes)

    def trust_data(
        self, *, version: int = 1, expires: dt.datetime = NOW + 365 * DAY, signers: int = 2, **changes: Any
    ) -> bytes:
        """A signed trust list, two of three."""
        keys = [raw_public(key) for key in self.signers]
        data = build_trust_list(
            self.content(**changes), version=version, expires=expires, keys=keys, threshold=2
        )
        for key in self.signers[:signers]:
            data = sign_trust_list(data, key)
        return data

    def trust(self, **changes: Any) -> TrustList:
        """The same, accepted."""
        return load_trust_list(self.trust_data(**changes))

    def public_key(self, name: str) -> ec.EllipticCurvePublicKey:
        key = self.pki.certificates[name].public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        return key

    def signer(self, name: str) -> SignDigest:
        """Signs digests with a key of the city, as the signer process would."""
        key = read_private_key(self.pki.directory / "signer" / f"{name}.key.pem")
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return es256_signer(key)

    def timestamp(self, digest: bytes, *, at: dt.datetime = NOW) -> bytes:
        return parse_response(self.tsa.answer(build_query(digest, 1 << 63), at)).encoded

    @functools.cached_property
    def page(self) -> bytes:
        """The sealed page for DATA."""
        key = SoftwareKey(read_private_key(self.pki.directory / "signer" / "page-seal-1.key.pem"))
        return seal_page(
            draw_page(canonical_json(DATA)),
            at=NOW,
            material=self.material,
            sign_digest=key.sign_digest,
            timestamp=self.timestamp,
            field=SealField(rectangle=(476.22, 76.54, 544.25, 144.57)),
        ).data

    def credential(
        self,
        data: Mapping[str, Any] = DATA,
        *,
        page: bytes | None = None,
        sign: SignDigest | None = None,
        **changes: Any,
    ) -> bytes:
        """An SD-JWT VC over `data`; `changes` are fields of the frame."""
        frame = CredentialFrame(
            iss=ISS,
            vct=VCT,
            holder_jwk=format_jwk(self.holder.public_key()),
            status_uri=STATUS_URI,
            status_index=STATUS_INDEX,
            page_digest=None if page is None else parse_sealed_page(page).page_digest,
            certificates=(self.pki.der("credential-1"), self.pki.der("issuing")),
        )
        prepared = prepare_credential(data, dataclasses.replace(frame, **changes))
        signature = (sign or self.signer("credential-1"))(prepared.digest)
        return finish_credential(prepared, signature).encode("ascii")

    def status(
        self, *, issued: dt.datetime = NOW, revoked: Sequence[int] = (), uri: str = STATUS_URI, **changes: Any
    ) -> bytes:
        """A status list token of 2,048 entries."""
        raw = bytearray(256)
        for index in revoked:
            raw[index // 8] |= 1 << index % 8
        chain = [self.pki.der("status-list-1"), self.pki.der("issuing")]
        header = {
            "kid": thumbprint(self.public_key("status-list-1")),
            "x5c": [base64_encode(der) for der in chain],
        }
        return build_status_list(
            uri=uri,
            issued=int(issued.timestamp()),
            expires=int((issued + 30 * DAY).timestamp()),
            ttl=3600,
            raw=bytes(raw),
            header=changes.get("header", header),
            sign=changes.get("sign", self.signer("status-list-1")),
        )

    def checkpoint_note(self, head: Checkpoint, *, witnessed: bool = False) -> bytes:
        """The head, signed by the log and, if asked, by the witness."""
        text = format_checkpoint_text(head)
        lines = [build_signature_line(self.log_vkey, self.log_key.sign(text.encode()))]
        if witnessed:
            moment = int(NOW.timestamp())
            signature = moment.to_bytes(8, "big") + self.witness_key.sign(cosigned_bytes(text, moment))
            lines.append(build_signature_line(self.witness_vkey, signature))
        return format_note(SignedNote(text, tuple(lines)))

    def receipt(self, head: Checkpoint, **changes: Any) -> AnchorReceipt:
        receipt = AnchorReceipt(
            CHAIN_ID, CONTRACT, head.origin, head.size, head.root, 17, sha256(b"block"), sha256(b"tx"), 3
        )
        return dataclasses.replace(receipt, **changes)

    def anchor_note(self, receipt: AnchorReceipt, key: Ed25519PrivateKey | None = None) -> bytes:
        text = format_receipt_text(receipt)
        line = build_signature_line(self.log_vkey, (key or self.log_key).sign(text.encode()))
        return format_note(SignedNote(text, (line,)))

    def issue(
        self,
        data: Mapping[str, Any] = DATA,
        *,
        with_page: bool = True,
        anchored: bool = True,
        stamped: bool = True,
        witnessed: bool = False,
        credential: bytes | None = None,
        page: bytes | None = None,
        certificate: bytes | None = None,
        status: bytes | None = None,
        validity: str | None = None,
    ) -> bytes:
        """A bundle; every part can be replaced **before** it is logged, so that only one thing is wrong."""
        page = page or (self.page if with_page else None)
        credential = credential or self.credential(data, page=page)
        certificate = certificate or canonical_json(dict(data))
        first, last = (parse_date(str(data[name])) for name in ("issued_on", "valid_until"))
        evidence = Evidence(
            str(data["document_kind"]),
            validity or format_validity(first, last),
            Part(salt=sha256(b"salt 1")),
            Part(salt=sha256(b"salt 2")),
            Part(salt=sha256(b"salt 3")),
        )
        revision = None if page is None else parse_sealed_page(page).revision
        entry = evidence.entry(data=certificate, page=revision, credential=credential.split(b"~")[0])
        entries = [sha256(bytes([n])) for n in range(4)] + [entry] + [sha256(bytes([n])) for n in range(2)]
        head = Checkpoint(ORIGIN, len(entries), merkle_root(entries))
        note = self.checkpoint_note(head, witnessed=witnessed)
        proof = TlogProof(4, tuple(merkle_path(entries, 4)), note)
        return build_bundle(
            Bundle(
                credential=credential,
                evidence=build_evidence(evidence),
                inclusion=format_tlog_proof(proof),
                status=status or self.status(),
                page=page,
                certificate=certificate,
                anchor=self.anchor_note(self.receipt(head)) if anchored else None,
                timestamp=self.timestamp(sha256(note)) if stamped else None,
            )
        )

    def request(self, **changes: Any) -> bytes:
        """A request descriptor of the desk."""
        values: dict[str, Any] = {
            "name": "株式会社見本商事",
            "purpose": "住居手当の確認",
            "items": ("all",),
            "keep_until": dt.date(2031, 3, 31),
            "keys": (self.desk.public_key(),),
            "signing_key": self.desk_signing.public_key(),
            "upload": PUBLIC_URL,
            "expires": NOW + 14 * DAY,
            "salt": bytes(16),
        }
        request = SubmissionRequest(**{**values, **changes})
        return build_submission_request(request, es256_signer(self.desk_signing))

    def bind(self, bundle: bytes, descriptor: bytes, **changes: Any) -> bytes:
        """The bundle bound to a request by the phone."""
        values: dict[str, Any] = {
            "audience": parse_submission_request(descriptor).audience(),
            "nonce": request_nonce(descriptor),
            "issued": int(NOW.timestamp()),
            "sign": es256_signer(self.holder),
            "credential": parse_bundle(bundle).credential,
        } | changes
        return add_key_binding(bundle, build_key_binding(values.pop("credential"), **values))

    def present(self, bundle: bytes, paths: Sequence[tuple[str, ...]], *, keep_page: bool = False) -> bytes:
        """A presentation: only `paths` are disclosed, data (and page) are withheld."""
        whole = parse_bundle(bundle)
        evidence = parse_evidence(whole.evidence)
        page = None if whole.page is None else parse_sealed_page(whole.page).revision
        hidden = withhold(evidence, data=whole.certificate, page=None if keep_page else page or b"")
        return build_bundle(
            dataclasses.replace(
                whole,
                credential=select_disclosures(parse_credential(whole.credential), paths).serialise(),
                certificate=None,
                page=whole.page if keep_page else None,
                evidence=build_evidence(hidden),
            )
        )

    def packed(self, content: bytes, *, content_type: str = BUNDLE_TYPE) -> bytes:
        return pack(content, [self.desk.public_key()], content_type=content_type)

    def online(self, *, status: bytes | None = None, **chain: Any) -> StaticSources:
        """Sources that confirm every bundle of `issue`; `chain` replaces single calls, None removes one."""
        calls: dict[str, Any] = {
            "eth_chainId": hex(CHAIN_ID),
            "eth_blockNumber": hex(20),
            "eth_getCode": "0x6001",
            "eth_getBlockByNumber": {"hash": "0x" + sha256(b"block").hex(), "number": hex(17)},
            "eth_getTransactionReceipt": self.transaction(),
        } | chain
        files = {STATUS_URI: status or self.status()}
        return StaticSources(files, {name: value for name, value in calls.items() if value is not None})

    def transaction(self, head: Checkpoint | None = None, **changes: Any) -> dict[str, Any]:
        """The transaction receipt of the anchoring of `issue()`, as a node tells it."""
        head = head or self._head
        data = f"0x{head.size:064x}{head.root.hex()}{3:064x}{sha256(b'previous').hex()}{0:064x}"
        entry = {
            "address": "0x" + CONTRACT.hex(),
            "topics": [ANCHORED_TOPIC, "0x" + hashlib.sha256(ORIGIN.encode()).hexdigest()],
            "data": data,
            "blockHash": "0x" + sha256(b"block").hex(),
            "transactionHash": "0x" + sha256(b"tx").hex(),
            "logIndex": hex(3),
        } | changes
        return {"status": "0x1", "logs": [entry]}

    @functools.cached_property
    def bundle(self) -> bytes:
        """The good bundle."""
        return self.issue()

    @functools.cached_property
    def _head(self) -> Checkpoint:
        return head_of(self.bundle)


def draw_page(certificate: bytes) -> bytes:
    """A small PDF/A-3a + PDF/UA-1 page with `certificate` attached; the print is not what is tested."""
    lines = (
        '#set document(title: [見本], author: "MOCK", date: datetime(year: 2026, month: 11, day: 20))',
        '#set page(paper: "a4")',
        '#set text(font: "Noto Serif JP", lang: "ja", region: "jp")',
        '#pdf.attach("certificate.json", read("certificate.json", encoding: none), relationship: "data", '
        'mime-type: "application/json", description: "data of this certificate")',
        "= 課税証明書（見本 MOCK）",
        "合計所得金額 3,560,000",
    )
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        (folder / "certificate.json").write_bytes(certificate)
        (folder / "page.typ").write_text("\n".join(lines), encoding="utf-8")
        return typst.compile(
            str(folder / "page.typ"),
            root=directory,
            font_paths=[str(ROOT / "app/rendering/fonts")],
            ignore_system_fonts=True,
            pdf_standards=["a-3a", "ua-1"],
            timestamp=NOW,
        )


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def raw_public(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


@functools.cache
def mini_city() -> MiniCity:
    """One for a test process."""
    directory = tempfile.TemporaryDirectory(prefix="mini-city-")
    _KEEP.append(directory)
    pki = create_demo_pki(Path(directory.name) / "pki", PkiSettings(iss=ISS), NOW - dt.timedelta(hours=1))
    crls = [build_crl(pki, stem, NOW - dt.timedelta(minutes=1)) for stem in CRL_STEMS]
    tsa_key = read_private_key(pki.directory / "ca" / "tsa.key.pem")
    assert isinstance(tsa_key, ec.EllipticCurvePrivateKey)
    tsa = DemoTsa(pki.certificates["tsa"], tsa_key)
    return MiniCity(pki, tsa, build_material(pki.page_chain, crls, at=NOW))


def head_of(bundle: bytes) -> Checkpoint:
    """The state of the log under which a bundle's proof stands."""
    return peek_checkpoint(parse_tlog_proof(parse_bundle(bundle).inclusion).checkpoint)


def changed(bundle: bytes, **members: Any) -> bytes:
    """The bundle with other members; a callable gets the old bytes."""
    whole = parse_bundle(bundle)
    values = {
        name: value(getattr(whole, name)) if isinstance(value, Callable) else value  # type: ignore[arg-type]
        for name, value in members.items()
    }
    return build_bundle(dataclasses.replace(whole, **values))


def with_data(**changes: Any) -> dict[str, Any]:
    """DATA with other members."""
    return {**parse_canonical_json(canonical_json(DATA)), **changes}


def merkle_root(entries: Sequence[bytes]) -> bytes:
    """RFC 9162 section 2.1.1, word for word."""
    if len(entries) == 1:
        return hashlib.sha256(b"\x00" + entries[0]).digest()
    split = _split(len(entries))
    return hashlib.sha256(b"\x01" + merkle_root(entries[:split]) + merkle_root(entries[split:])).digest()


def merkle_path(entries: Sequence[bytes], index: int) -> list[bytes]:
    """RFC 9162 section 2.1.3.1, word for word."""
    if len(entries) == 1:
        return []
    split = _split(len(entries))
    if index < split:
        return [*merkle_path(entries[:split], index), merkle_root(entries[split:])]
    return [*merkle_path(entries[split:], index - split), merkle_root(entries[:split])]


def _split(size: int) -> int:
    return 1 << (size - 1).bit_length() - 1


_KEEP: list[tempfile.TemporaryDirectory[str]] = []
