"""The signer as its own process: started, asked over its socket by several threads, killed and started
again."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from app.errors import UnavailableError
from app.frames import read_frame, write_frame
from app.sealing.errors import SignerError
from app.sealing.signer_client import SignerClient, SignRequest
from tests.support.sealing_world import ROOT
from tests.support.signer_desk import checkpoint_note, open_desk
from tests.support.watched_processes import watched
from verifier.formats.jose import parse_jwk, verify_es256

MESSAGE = b"what is signed"
DIGEST = hashlib.sha256(MESSAGE).digest()


@pytest.fixture
def desk(tmp_path):
    with watched(tmp_path):
        yield open_desk(tmp_path)


@pytest.fixture
def started(desk):
    process = start(desk)
    yield desk
    stop(process)


def start(desk, profile="demo"):
    environment = {**os.environ, "AKASHI_PROFILE": profile}
    command = [sys.executable, "-m", "app.sealing.signer", "--settings", str(desk.settings_file)]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(desk.settings.socket))
                return process
            except OSError:
                time.sleep(0.05)
    stop(process)
    raise AssertionError("the signer did not start")


def stop(process, *, hard=False):
    (process.kill if hard else process.terminate)()
    process.wait(10)
    process.stderr.close()


def client_of(desk, channel="worker"):
    token_file = desk.pki.directory / "signer" / f"{channel}.token"
    return SignerClient.from_token_file(desk.settings.socket, token_file, channel=channel)


def sign(desk, client, digest=DIGEST):
    authorisation = desk.authorisation(digest)
    return client.sign(
        "page_seal", digest, request_id="request-1", serial="serial-1", authorisation=authorisation
    )


def test_one_signature_over_the_socket(started):
    client = client_of(started)
    info = client.public("page_seal")
    verify_es256(parse_jwk(dict(info.jwk)), sign(started, client), MESSAGE)
    assert info.certificates == (started.pki.der("page-seal-1"), started.pki.der("issuing"))
    assert started.settings.socket.stat().st_mode & 0o777 == 0o600
    assert started.settings.socket.parent.stat().st_mode & 0o777 == 0o700


def test_one_client_serves_many_threads(started):
    client = client_of(started)
    digests = [hashlib.sha256(bytes([number])).digest() for number in range(24)]
    with ThreadPoolExecutor(6) as pool:
        signatures = list(pool.map(lambda digest: sign(started, client, digest), digests))
    key = parse_jwk(dict(client.public("page_seal").jwk))
    for number, signature in enumerate(signatures):
        verify_es256(key, signature, bytes([number]))


def test_a_batch_mixes_signatures_and_refusals(started):
    good = SignRequest("page_seal", DIGEST, "request-1", "serial-1", started.authorisation(DIGEST))
    used = SignRequest("page_seal", DIGEST, "request-1", "serial-1", good.authorisation)
    first, second = client_of(started).sign_batch([good, used])
    assert isinstance(first, bytes)
    assert isinstance(second, SignerError)
    assert second.code == "authorisation-used"


def test_agreement_and_checkpoints_over_the_socket(started):
    mine = ec.generate_private_key(ec.SECP256R1())
    worker, log = client_of(started), client_of(started, "log")
    peer = parse_jwk(dict(worker.public("envelope").jwk))
    assert worker.agree(mine.public_key()) == mine.exchange(ec.ECDH(), peer)
    assert len(log.sign_checkpoint(checkpoint_note(1))) == 64
    with pytest.raises(SignerError, match="wrong-channel"):
        worker.sign_checkpoint(checkpoint_note(2))
    with pytest.raises(SignerError, match="wrong-channel"):
        sign(started, log)


def test_a_killed_signer_comes_back_and_forgets_nothing(desk):
    """kill -9 in the middle of work: the client reconnects, used authorisations stay used, the floor
    stays."""
    process = start(desk)
    client, log = client_of(desk), client_of(desk, "log")
    authorisation = desk.authorisation(DIGEST)
    client.sign("page_seal", DIGEST, request_id="request-1", serial="serial-1", authorisation=authorisation)
    log.sign_checkpoint(checkpoint_note(9))
    stop(process, hard=True)
    with pytest.raises(UnavailableError):
        sign(desk, client)
    process = start(desk)
    try:
        with pytest.raises(SignerError, match="authorisation-used"):
            client.sign(
                "page_seal", DIGEST, request_id="request-1", serial="serial-1", authorisation=authorisation
            )
        with pytest.raises(SignerError, match="not-monotone"):
            log.sign_checkpoint(checkpoint_note(8))
        assert len(sign(desk, client)) == 64
    finally:
        stop(process)


@pytest.mark.parametrize(
    "raw", [b"\xff\xff\xff\xff", b"\x00\x00\x00\x05nojso", b"\x00\x00\x00\x02[]", b"\x00"]
)
def test_a_peer_that_breaks_the_framing_is_disconnected_and_others_are_served(started, raw):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(str(started.settings.socket))
        connection.sendall(raw)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(10) == b""
    assert len(sign(started, client_of(started))) == 64


def test_a_plain_socket_program_can_speak_the_protocol(started):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(started.settings.socket))
        write_frame(connection, started.request(started.sign_item(DIGEST)))
        answer = read_frame(connection)
    assert answer["v"] == 1
    assert answer["items"][0]["ok"] is True


@pytest.mark.parametrize("profile", ["", "production", "other"])
def test_the_signer_does_not_start_in_another_profile(desk, profile):
    environment = {**os.environ, "AKASHI_PROFILE": profile}
    command = [sys.executable, "-m", "app.sealing.signer", "--settings", str(desk.settings_file)]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=20, check=False)
    assert result.returncode == 2
    assert b"signer:" in result.stderr
