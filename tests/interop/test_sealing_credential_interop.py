"""The credential and the status list for a JOSE library that the code does not use: joserfc."""

from __future__ import annotations

import base64
import json
import zlib
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jws
from joserfc.errors import BadSignatureError
from joserfc.jwk import ECKey

from app.sealing.city_key import SoftwareKey
from app.sealing.credential import CredentialFrame, finish_credential, prepare_credential
from app.sealing.key_files import read_private_key
from app.sealing.status_list import build_bits, finish_status_list, prepare_status_list
from tests.support.sealing_world import DATA, ISS, NOW, SAMPLE, world
from verifier.formats.credential import parse_credential, peek_claims, peek_x5c
from verifier.formats.encoding import canonical_json
from verifier.formats.jose import format_jwk
from verifier.formats.x509_path import Usage, parse_certificate, verify_path


def sign(key_id, digest):
    path = world().pki.directory / "signer" / f"{key_id}.key.pem"
    return SoftwareKey(read_private_key(path)).sign_digest(digest)


def foreign_verify(token):
    """Signature by joserfc with the key of the x5c header, as any reader of JWS would take it."""
    registry = jws.JWSRegistry(algorithms=["ES256"], strict_check_header=False)
    registry.max_header_length = 16 << 10
    registry.max_payload_length = 1 << 20
    head = json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "=="))
    certificate = x509.load_der_x509_certificate(base64.b64decode(head["x5c"][0]))
    pem = certificate.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    key = ECKey.import_key(pem)
    assert key.thumbprint() == head["kid"]
    return jws.deserialize_compact(token, key, algorithms=["ES256"], registry=registry)


@pytest.fixture(scope="module")
def credential():
    holder = ec.generate_private_key(ec.SECP256R1()).public_key()
    frame = CredentialFrame(
        iss=ISS,
        vct="https://door.mihon.example/vct/income-certificate/1",
        holder_jwk=format_jwk(holder),
        status_uri=f"{ISS}/status/1",
        status_index=7,
        page_digest=bytes(32),
        certificates=(world().pki.der("credential-1"), world().pki.der("issuing")),
    )
    prepared = prepare_credential(SAMPLE, frame)
    return finish_credential(prepared, sign("credential-1", prepared.digest))


def test_joserfc_verifies_the_credential(credential):
    token = foreign_verify(credential.split("~")[0])
    assert token.headers()["typ"] == "dc+sd-jwt"
    assert json.loads(token.payload)["iss"] == ISS


def test_joserfc_refuses_a_changed_one(credential):
    head, payload, signature = credential.split("~")[0].split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    changed = (
        base64.urlsafe_b64encode(json.dumps(claims | {"fiscal_year": 2025}).encode()).rstrip(b"=").decode()
    )
    with pytest.raises(BadSignatureError):
        foreign_verify(f"{head}.{changed}.{signature}")


def test_the_verifiers_reader_gives_the_data_and_the_path_back(credential):
    parsed = parse_credential(credential.encode())
    claims = peek_claims(parsed)
    assert canonical_json(claims.certificate()) == DATA
    assert claims.page_digest == bytes(32)
    chain = [parse_certificate(der) for der in peek_x5c(parsed.jws)]
    path = verify_path(
        chain[0],
        intermediates=chain[1:],
        anchors=[world().certificate("root")],
        at=NOW,
        usage=Usage.CREDENTIAL,
        san_uri=claims.issuer,
    )
    assert len(path) == 3


def test_joserfc_verifies_the_status_list():
    prepared = prepare_status_list(
        build_bits(1 << 10, [5]),
        uri=f"{ISS}/status/1",
        issued=NOW,
        lifetime=timedelta(days=7),
        ttl=timedelta(hours=12),
        certificates=(world().pki.der("status-list-1"), world().pki.der("issuing")),
    )
    token = foreign_verify(finish_status_list(prepared, sign("status-list-1", prepared.digest)))
    body = json.loads(token.payload)["status_list"]
    assert zlib.decompress(base64.urlsafe_b64decode(body["lst"] + "=="))[0] == 1 << 5
