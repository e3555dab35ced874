"""Our time-stamps for openssl, and openssl's queries for us; revocation lists and OCSP answers likewise."""

from __future__ import annotations

import shutil
import subprocess
import threading

import pytest

from app.counterparts.trust_services.authority import build_crl, revoke
from app.counterparts.trust_services.server import build_server
from tests.support.sealing_world import NOW, make_pki, world

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")


def openssl(*arguments, expect=0):
    result = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, timeout=30, check=False)
    assert result.returncode == expect, result.stderr.decode()
    return (result.stdout + result.stderr).decode()


@pytest.fixture
def data(tmp_path):
    (tmp_path / "data").write_bytes(b"stamped")
    return tmp_path / "data"


@pytest.mark.parametrize("options", [[], ["-no_nonce"], ["-tspolicy", "2.999.992011.1"]])
def test_openssl_asks_and_accepts_our_answer(data, tmp_path, options):
    query, reply = tmp_path / "query", tmp_path / "reply"
    openssl("ts", "-query", "-data", data, "-sha256", "-cert", *options, "-out", query)
    reply.write_bytes(world().tsa.answer(query.read_bytes(), NOW))
    anchor = world().pki.directory / "certificates" / "tsa-ca.pem"
    assert "Verification: OK" in openssl(
        "ts", "-verify", "-in", reply, "-queryfile", query, "-CAfile", anchor
    )
    other = tmp_path / "other"
    other.write_bytes(b"something else")
    openssl("ts", "-verify", "-in", reply, "-data", other, "-CAfile", anchor, expect=1)
    root = world().pki.directory / "certificates" / "root.pem"
    openssl("ts", "-verify", "-in", reply, "-queryfile", query, "-CAfile", root, expect=1)


def test_an_answer_without_certificate_is_accepted_with_it_at_hand(data, tmp_path):
    query, reply = tmp_path / "query", tmp_path / "reply"
    openssl("ts", "-query", "-data", data, "-sha256", "-out", query)
    reply.write_bytes(world().tsa.answer(query.read_bytes(), NOW))
    folder = world().pki.directory / "certificates"
    common = ["-in", reply, "-queryfile", query, "-CAfile", folder / "tsa-ca.pem"]
    openssl("ts", "-verify", *common, "-untrusted", folder / "tsa.pem")


def test_openssl_reads_a_rejection(data, tmp_path):
    query, reply = tmp_path / "query", tmp_path / "reply"
    openssl("ts", "-query", "-data", data, "-sha512", "-out", query)
    reply.write_bytes(world().tsa.answer(query.read_bytes(), NOW))
    told = openssl("ts", "-reply", "-in", reply, "-text")
    assert "Status: Rejected." in told
    assert "unrecognized or unsupported algorithm identifier" in told


def test_openssl_verifies_our_lists(tmp_path):
    pki = make_pki(tmp_path / "pki")
    folder = pki.directory / "certificates"
    for stem, issuer in (("root", "root"), ("issuing", "issuing"), ("tsa-ca", "tsa-ca")):
        (tmp_path / f"{stem}.crl").write_bytes(build_crl(pki, stem, NOW))
        told = openssl(
            "crl",
            "-inform",
            "DER",
            "-in",
            tmp_path / f"{stem}.crl",
            "-noout",
            "-CAfile",
            folder / f"{issuer}.pem",
        )
        assert "verify OK" in told
    revoke(pki, pki.certificates["page-seal-1"].serial_number, "keyCompromise", NOW)
    for stem in ("root", "issuing"):
        (tmp_path / f"{stem}.crl").write_bytes(build_crl(pki, stem, NOW))
        openssl(
            "crl", "-inform", "DER", "-in", tmp_path / f"{stem}.crl", "-out", tmp_path / f"{stem}.crl.pem"
        )
    common = ["-crl_check_all", "-CAfile", folder / "root.pem", "-untrusted", folder / "issuing.pem"]
    for stem in ("root", "issuing"):
        common += ["-CRLfile", tmp_path / f"{stem}.crl.pem"]
    openssl("verify", *common, folder / "credential-1.pem")
    assert "certificate revoked" in openssl("verify", *common, folder / "page-seal-1.pem", expect=2)


def test_openssl_asks_our_ocsp_responder(tmp_path):
    pki = make_pki(tmp_path / "pki")
    server = build_server(pki, profile="demo")
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        host, port = server.server_address[:2]
        folder = pki.directory / "certificates"
        command = ["ocsp", "-issuer", folder / "issuing.pem", "-cert", folder / "page-seal-1.pem"]
        command += ["-url", f"http://{host}:{port}/ocsp", "-CAfile", folder / "root.pem"]
        command += ["-verify_other", folder / "issuing.pem"]
        told = openssl(*command)
        assert "Response verify OK" in told
        assert "page-seal-1.pem: good" in told
        revoke(pki, pki.certificates["page-seal-1"].serial_number, "superseded", NOW)
        assert "page-seal-1.pem: revoked" in openssl(*command)
    finally:
        server.shutdown()
        server.server_close()
