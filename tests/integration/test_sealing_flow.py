"""One certificate through the whole room: drawn page, gate, signer process, trust services, credential; then
verified."""

from __future__ import annotations

import json
import os
import threading
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from app.counterparts.trust_services.server import build_server
from app.registers.authorisation import build_authorisation
from app.rendering.font_set import FontSet
from app.rendering.layout import SEAL_RECT_PT
from app.rendering.renderer import CertificateRenderer
from app.sealing.credential import CredentialFrame, finish_credential, prepare_credential
from app.sealing.page_seal import SealField, finish_page_seal, prepare_page_seal
from app.sealing.signer import build_signer
from app.sealing.signer_client import SignerClient
from app.sealing.trust_services_client import TrustServicesClient
from app.sealing.validation_material import MaterialSource
from tests.support.sealing_world import DATA, ISS, ROOT, SAMPLE, world
from tests.support.signer_desk import open_desk
from verifier.formats.credential import parse_credential, peek_claims
from verifier.formats.encoding import canonical_json
from verifier.formats.jose import format_jwk
from verifier.formats.pdf_seal import parse_sealed_page, verify_sealed_page
from verifier.formats.x509_path import Usage, parse_certificate, parse_crl, verify_path, verify_revocation

QR = ROOT / "tests" / "vectors" / "good" / "page-qr" / "plain.json"


@pytest.fixture
def desk(tmp_path):
    """A signer and the trust services, both serving."""
    desk = open_desk(tmp_path)
    servers = [
        build_signer(desk.settings, clock=lambda: datetime.now(UTC)),
        build_server(desk.pki, profile="demo"),
    ]
    for server in servers:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    desk.trust_address = "http://{}:{}".format(*servers[1].server_address[:2])
    yield desk
    for server in servers:
        server.shutdown()
        server.server_close()


def drawn():

    text = json.loads(QR.read_bytes())["text"]
    return CertificateRenderer(FontSet.load()).draw_page(SAMPLE, data_bytes=DATA, qr_text=text)


def test_a_certificate_is_sealed_and_verified(desk):
    now = datetime.now(UTC).replace(microsecond=0)
    signer = SignerClient.from_token_file(
        desk.settings.socket, desk.pki.directory / "signer" / "worker.token"
    )
    trust = TrustServicesClient(desk.trust_address, desk.pki.der("tsa"))
    material = MaterialSource(desk.pki.page_chain, trust.fetch_crl).current(now)

    def authorised_signature(purpose, digest, serial):
        authorisation = build_authorisation(
            desk.gate_key,
            purpose=purpose,
            digest=digest,
            request_id="0123456789abcdef",
            serial=serial,
            now=now,
            random=os.urandom(16),
        )
        return signer.sign(
            purpose, digest, request_id="0123456789abcdef", serial=serial, authorisation=authorisation
        )

    prepared = prepare_page_seal(drawn(), at=now, material=material, field=SealField(SEAL_RECT_PT))
    signature = authorised_signature("page_seal", prepared.digest_to_sign, "certificate-1")
    sealed = finish_page_seal(prepared, signature, trust.timestamp(prepared.timestamp_digest(signature)))

    holder = ec.generate_private_key(ec.SECP256R1()).public_key()
    frame = CredentialFrame(
        iss=ISS,
        vct="https://door.mihon.example/vct/income-certificate/1",
        holder_jwk=format_jwk(holder),
        status_uri=f"{ISS}/status/1",
        status_index=99,
        page_digest=sealed.page_digest,
        certificates=signer.public("credential").certificates,
    )
    half = prepare_credential(SAMPLE, frame)
    credential = finish_credential(half, authorised_signature("credential", half.digest, "copy-1"))

    page = parse_sealed_page(sealed.data)
    seal = verify_sealed_page(page)
    certificates = [parse_certificate(der) for der in page.certificates]
    lists = [parse_crl(der) for der in page.crls]
    anchors = {name: [desk.pki.certificates[name]] for name in ("root", "tsa-ca")}
    path = verify_path(
        seal.signer,
        intermediates=certificates,
        anchors=anchors["root"],
        at=seal.sealed_at,
        usage=Usage.PAGE_SEAL,
    )
    verify_revocation(path, lists, at=seal.sealed_at)
    tsa_path = verify_path(
        seal.authority, intermediates=[], anchors=anchors["tsa-ca"], at=seal.sealed_at, usage=Usage.TIME_STAMP
    )
    verify_revocation(tsa_path, lists, at=seal.sealed_at)
    claims = peek_claims(parse_credential(credential.encode()))
    assert claims.page_digest == page.page_digest
    assert canonical_json(claims.certificate()) == page.attachment == DATA
    assert now <= seal.sealed_at


@pytest.mark.parametrize("profile", ["3a", "ua1"])
def test_the_rendering_rooms_page_stays_pdf_a_and_pdf_ua_when_sealed(profile):
    """The real form of the certificate, with the seal's field over its picture."""
    page_validation = pytest.importorskip("page", reason="page-validation is not installed")
    sealed = world().seal(drawn(), field=SealField(SEAL_RECT_PT))
    report = page_validation.validate_pdf_bytes(sealed.data, profile=profile)
    assert report.is_compliant, [(f.rule_id, f.message) for f in report.failures]
