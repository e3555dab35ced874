"""The trust services over real HTTP: time-stamps, revocation lists, OCSP, revocation by the command."""

from __future__ import annotations

import base64
import hashlib
import http.client
import os
import random
import subprocess
import sys
import threading
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import ocsp

from app.counterparts.trust_services.__main__ import main
from app.counterparts.trust_services.authority import answer_ocsp, revoke
from app.counterparts.trust_services.server import build_server
from app.errors import UnavailableError
from app.sealing.errors import PkiError, SettingsInvalidError, TimestampError
from app.sealing.trust_services_client import TrustServicesClient
from app.sealing.validation_material import MaterialSource
from tests.support.sealing_world import ROOT, make_pki, world
from tests.support.watched_processes import watched
from verifier.formats.timestamp import build_query, parse_token, verify_token
from verifier.formats.x509_path import parse_crl

DIGEST = hashlib.sha256(b"stamped").digest()


@pytest.fixture
def pki(tmp_path):
    return make_pki(tmp_path / "pki")


@pytest.fixture
def address(pki):
    server = build_server(pki, profile="demo")
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield server.server_address
    server.shutdown()
    server.server_close()


def ask(address, method, path, body=None, media_type=None):
    connection = http.client.HTTPConnection(*address, timeout=5)
    headers = {} if media_type is None else {"Content-Type": media_type}
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    data = response.read()
    connection.close()
    return response, data


def client_of(address, pki, certificate="tsa"):
    return TrustServicesClient(f"http://{address[0]}:{address[1]}", pki.der(certificate))


def test_a_digest_is_stamped(address, pki):
    before = datetime.now(UTC)
    token = parse_token(client_of(address, pki).timestamp(DIGEST))
    verify_token(token, digest=DIGEST)
    assert before <= token.time <= datetime.now(UTC)


def test_another_authoritys_stamp_is_not_taken(address, pki):
    with pytest.raises(TimestampError, match="other-authority"):
        TrustServicesClient(f"http://{address[0]}:{address[1]}", world().pki.der("tsa")).timestamp(DIGEST)


def test_answers_say_mock_and_have_their_media_type(address):
    query = build_query(DIGEST, 1)
    response, _ = ask(address, "POST", "/tsa", query, "application/timestamp-query")
    assert response.getheader("Content-Type") == "application/timestamp-reply"
    assert "MOCK" in response.getheader("Akashi-Mock")
    response, _ = ask(address, "GET", "/crl/root.crl")
    assert response.getheader("Content-Type") == "application/pkix-crl"


def test_what_is_not_served_is_refused(address):
    for method, path, media_type, status in (
        ("POST", "/tsa", "text/plain", 415),
        ("POST", "/ocsp", "text/plain", 415),
        ("GET", "/tsa", None, 404),
        ("GET", "/crl/../ca/root.key.pem", None, 404),
        ("GET", "/crl/seal.crl", None, 404),
        ("POST", "/revoke", "application/json", 404),
    ):
        assert ask(address, method, path, b"" if method == "POST" else None, media_type)[0].status == status
    big = b"x" * 9000
    assert ask(address, "POST", "/tsa", big, "application/timestamp-query")[0].status == 413


def test_material_for_sealing_is_fetched_from_the_server(address, pki):
    source = MaterialSource(pki.page_chain, client_of(address, pki).fetch_crl)
    material = source.current(datetime.now(UTC))
    assert [parse_crl(der).issuer for der in material.crls] == [
        pki.certificates[stem].subject for stem in ("root", "issuing", "tsa-ca")
    ]


def test_revocation_reaches_list_and_ocsp(address, pki):
    seal, issuing = pki.certificates["page-seal-1"], pki.certificates["issuing"]
    request = ocsp.OCSPRequestBuilder().add_certificate(seal, issuing, hashes.SHA256())
    request = request.add_extension(x509.OCSPNonce(b"0123456789abcdef"), critical=False).build()
    encoded = _der(request)

    def status():
        response, body = ask(address, "POST", "/ocsp", encoded, "application/ocsp-request")
        assert response.status == 200
        answer = ocsp.load_der_ocsp_response(body)
        pki.certificates["ocsp"].public_key().verify(
            answer.signature, answer.tbs_response_bytes, _ecdsa(answer.signature_hash_algorithm)
        )
        assert answer.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == b"0123456789abcdef"
        return answer

    assert status().certificate_status is ocsp.OCSPCertStatus.GOOD
    assert (
        parse_crl(client_of(address, pki).fetch_crl("issuing")).get_revoked_certificate_by_serial_number(
            seal.serial_number
        )
        is None
    )
    serial = f"{seal.serial_number:x}"
    command = ["revoke", "--directory", str(pki.directory), "--serial", serial, "--reason", "keyCompromise"]
    assert main(command) == 0
    assert status().certificate_status is ocsp.OCSPCertStatus.REVOKED
    assert status().revocation_reason is x509.ReasonFlags.key_compromise
    entry = parse_crl(client_of(address, pki).fetch_crl("issuing")).get_revoked_certificate_by_serial_number(
        seal.serial_number
    )
    assert entry.extensions.get_extension_for_class(x509.CRLReason).value.reason.value == "keyCompromise"
    assert main(command) == 2  # the first revocation stands


def test_a_damaged_request_is_answered_whatever_is_wrong_with_it(pki):
    """Bits turned, bytes lost and added: some reach a hash or a name that the library does not know."""
    seal, issuing = pki.certificates["page-seal-1"], pki.certificates["issuing"]
    builder = ocsp.OCSPRequestBuilder().add_certificate(seal, issuing, hashes.SHA1())
    builder = builder.add_extension(x509.OCSPNonce(b"n" * 16), critical=False)
    names = x509.SubjectAlternativeName([x509.DNSName("a.example"), x509.RegisteredID(x509.OID_COMMON_NAME)])
    good = _der(builder.add_extension(names, critical=False).build())
    order, seen, now = random.Random(6), set(), datetime.now(UTC)
    for _ in range(3000):
        damaged = bytearray(good)
        at = order.randrange(len(damaged))
        damaged[at : at + order.randrange(2)] = order.choice(
            [b"", b"\x30", bytes([damaged[at] ^ 1 << order.randrange(8)])]
        )
        seen.add(ocsp.load_der_ocsp_response(answer_ocsp(pki, bytes(damaged), now)).response_status)
    assert {ocsp.OCSPResponseStatus.SUCCESSFUL, ocsp.OCSPResponseStatus.MALFORMED_REQUEST} <= seen


def test_ocsp_by_get_and_for_strangers(address, pki):
    issuing = pki.certificates["issuing"]
    known = ocsp.OCSPRequestBuilder().add_certificate(
        pki.certificates["credential-1"], issuing, hashes.SHA1()
    )
    text = base64.b64encode(_der(known.build())).decode().replace("/", "%2F").replace("+", "%2B")
    _, body = ask(address, "GET", f"/ocsp/{text}")
    assert ocsp.load_der_ocsp_response(body).certificate_status is ocsp.OCSPCertStatus.GOOD
    foreign = world().pki.certificates
    stranger = ocsp.OCSPRequestBuilder().add_certificate(
        foreign["page-seal-1"], foreign["issuing"], hashes.SHA256()
    )
    for request, expected in (
        (_der(stranger.build()), ocsp.OCSPResponseStatus.UNAUTHORIZED),
        (b"", ocsp.OCSPResponseStatus.MALFORMED_REQUEST),
        (b"\x30\x00", ocsp.OCSPResponseStatus.MALFORMED_REQUEST),
        (os.urandom(64), ocsp.OCSPResponseStatus.MALFORMED_REQUEST),
    ):
        _, body = ask(address, "POST", "/ocsp", request, "application/ocsp-request")
        assert ocsp.load_der_ocsp_response(body).response_status is expected
    assert ask(address, "GET", "/ocsp/%%%")[0].status == 200


def test_only_final_revocation_of_known_certificates(pki):
    now = datetime.now(UTC)
    serial = pki.certificates["page-seal-1"].serial_number
    for number, reason, code in (
        (serial + 1, "superseded", "no-such-certificate"),
        (serial, "because", "bad-reason"),
        (serial, "certificateHold", "bad-reason"),
        (serial, "removeFromCRL", "bad-reason"),
    ):
        with pytest.raises(PkiError) as caught:
            revoke(pki, number, reason, now)
        assert caught.value.code == code


def test_an_absent_server_is_an_outage(pki):
    client = TrustServicesClient("http://127.0.0.1:9", pki.der("tsa"), timeout=1)
    with pytest.raises(UnavailableError):
        client.timestamp(DIGEST)
    with pytest.raises(UnavailableError):
        client.fetch_crl("root")


@pytest.mark.parametrize("profile", [None, "production", "other"])
def test_the_mock_starts_only_in_the_demo_profile(pki, profile):
    with pytest.raises(SettingsInvalidError):
        build_server(pki, profile=profile)


def test_the_command_serves_and_stops(pki):
    command = [sys.executable, "-m", "app.counterparts.trust_services", "serve", "--port", "0"]
    command += ["--directory", str(pki.directory)]
    environment = {**os.environ, "AKASHI_PROFILE": "demo"}
    with (
        watched(pki.directory),
        subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process,
    ):
        line = process.stdout.readline()
        assert "MOCK/模擬" in line
        host, port = line.split("http://")[1].split(" ")[0].split(":")
        assert ask((host, int(port)), "GET", "/healthz")[1].startswith(b"ok")
        process.terminate()
        assert process.wait(10) == 0
    production = {**os.environ, "AKASHI_PROFILE": "production"}
    refused = subprocess.run(command, cwd=ROOT, env=production, capture_output=True, timeout=20, check=False)
    assert refused.returncode == 2
    assert b"mock-in-production" in refused.stderr


def _der(request):
    from cryptography.hazmat.primitives.serialization import Encoding

    return request.public_bytes(Encoding.DER)


def _ecdsa(algorithm):
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.ECDSA(algorithm)
