"""City keys in a real PKCS#11 module (SoftHSM2): raw ECDSA, key agreement, threads, a forked child, the
signer on top."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from app.errors import UnavailableError
from app.sealing.errors import KeyUnusableError, SettingsInvalidError
from app.sealing.pki import CITY_KEYS
from app.sealing.signer_settings import load_signer_settings
from tests.support.sealing_world import ROOT
from tests.support.signer_desk import checkpoint_note, note_item, open_desk
from verifier.formats.encoding import base64_decode, base64url_decode
from verifier.formats.jose import parse_jwk, verify_es256

pkcs11 = pytest.importorskip("pkcs11", reason="python-pkcs11 is not installed")
from app.sealing.pkcs11_key import Pkcs11Key, Pkcs11Session, Pkcs11Settings  # noqa: E402

MODULE = next(
    (path for path in map(Path, ("/usr/lib/softhsm/libsofthsm2.so",)) if path.exists()),
    None,
)
pytestmark = pytest.mark.skipif(
    MODULE is None or shutil.which("softhsm2-util") is None, reason="SoftHSM2 is not installed"
)

MESSAGE = b"what is signed"
DIGEST = hashlib.sha256(MESSAGE).digest()
PIN = "493817"
ED25519_OID = bytes.fromhex("06032b6570")  # 1.3.101.112 in DER, RFC 8410 section 3


@pytest.fixture(scope="module")
def token(tmp_path_factory):
    """A token with every key of a city. The module reads its configuration once a process: one token for this file."""
    directory = tmp_path_factory.mktemp("softhsm")
    (directory / "tokens").mkdir(mode=0o700)
    configuration = directory / "softhsm2.conf"
    configuration.write_text(f"directories.tokendir = {directory / 'tokens'}\nlog.level = ERROR\n")
    os.environ["SOFTHSM2_CONF"] = str(configuration)
    command = ["softhsm2-util", "--init-token", "--free", "--label", "city", "--so-pin", "so-493817"]
    subprocess.run([*command, "--pin", PIN], check=True, capture_output=True)
    with pkcs11.lib(str(MODULE)).get_token(token_label="city").open(user_pin=PIN, rw=True) as session:
        parameters = pkcs11.util.ec.encode_named_curve_parameters("secp256r1")
        for label in CITY_KEYS.keys() - {"checkpoint-1"}:
            domain = session.create_domain_parameters(
                pkcs11.KeyType.EC, {pkcs11.Attribute.EC_PARAMS: parameters}, local=True
            )
            fixed = {pkcs11.Attribute.SENSITIVE: True, pkcs11.Attribute.EXTRACTABLE: False}
            domain.generate_keypair(
                store=True,
                label=label,
                capabilities=pkcs11.MechanismFlag.SIGN | pkcs11.MechanismFlag.DERIVE,
                private_template=fixed,
            )
        domain = session.create_domain_parameters(
            pkcs11.KeyType.EC_EDWARDS, {pkcs11.Attribute.EC_PARAMS: ED25519_OID}, local=True
        )
        domain.generate_keypair(
            mechanism=pkcs11.Mechanism.EC_EDWARDS_KEY_PAIR_GEN,
            store=True,
            label="checkpoint-1",
            private_template=fixed,
        )
    return Pkcs11Settings(MODULE, "city", PIN)


@pytest.fixture
def seal(token):
    return Pkcs11Key(Pkcs11Session(token), "page-seal-1")


def test_a_digest_is_signed_by_the_module(seal):
    verify_es256(seal.public_key(), seal.sign_digest(DIGEST), MESSAGE)
    assert seal.is_software is False


def test_keys_agree_in_the_module(token):
    key = Pkcs11Key(Pkcs11Session(token), "envelope-1")
    mine = ec.generate_private_key(ec.SECP256R1())
    assert key.agree(mine.public_key()) == mine.exchange(ec.ECDH(), key.public_key())


def test_a_checkpoint_is_signed_by_the_module(token):
    key = Pkcs11Key(Pkcs11Session(token), "checkpoint-1")
    public = key.public_key()
    assert isinstance(public, ed25519.Ed25519PublicKey)
    public.verify(key.sign_message(MESSAGE), MESSAGE)
    with pytest.raises(KeyUnusableError, match="wrong-kind-of-key"):
        key.sign_digest(DIGEST)
    with pytest.raises(KeyUnusableError, match="wrong-kind-of-key"):
        key.agree(ec.generate_private_key(ec.SECP256R1()).public_key())


def test_many_threads_share_one_session(seal):
    public = seal.public_key()
    with ThreadPoolExecutor(8) as pool:
        signatures = list(pool.map(lambda _: seal.sign_digest(DIGEST), range(80)))
    for signature in signatures:
        verify_es256(public, signature, MESSAGE)


def test_a_key_that_is_not_there_is_named(token):
    with pytest.raises(KeyUnusableError, match="no-such-key"):
        Pkcs11Key(Pkcs11Session(token), "nobody").sign_digest(DIGEST)
    with pytest.raises(KeyUnusableError, match="wrong-kind-of-key"):
        Pkcs11Key(Pkcs11Session(token), "page-seal-1").sign_message(b"")


def test_a_token_that_is_not_there_is_an_outage(token):
    absent = Pkcs11Session(Pkcs11Settings(MODULE, "elsewhere", PIN))
    with pytest.raises(UnavailableError, match="hsm-unavailable"):
        Pkcs11Key(absent, "page-seal-1").sign_digest(DIGEST)


def test_the_pin_is_not_shown(token):
    assert PIN not in repr(token)


def test_a_forked_child_opens_a_session_of_its_own(token):
    """In a fresh interpreter: a fork of the test process itself would carry the tests' threads along."""
    program = f"""
import os, sys
from pathlib import Path
from app.sealing.pkcs11_key import Pkcs11Key, Pkcs11Session, Pkcs11Settings
from verifier.formats.encoding import base64_decode, base64url_decode
from verifier.formats.jose import parse_jwk, verify_es256
session = Pkcs11Session(Pkcs11Settings(Path({str(MODULE)!r}), "city", {PIN!r}))
key = Pkcs11Key(session, "page-seal-1")
public = key.public_key()
message, digest = {MESSAGE!r}, {DIGEST!r}
verify_es256(public, key.sign_digest(digest), message)
child = os.fork()
if child == 0:
    before = session._session
    verify_es256(public, key.sign_digest(digest), message)
    os._exit(0 if session._session is not before else 3)
_, status = os.waitpid(child, 0)
verify_es256(public, key.sign_digest(digest), message)
sys.exit(os.waitstatus_to_exitcode(status))
"""
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, timeout=30, check=False
    )
    assert (result.returncode, result.stderr) == (0, b"")


@pytest.fixture
def desk(token, tmp_path):
    """A signer whose six keys are all the module's, under the production profile, which refuses software keys."""
    desk = open_desk(tmp_path)
    pin_file = desk.pki.directory / "signer" / "hsm.pin"
    pin_file.write_text(PIN)
    pin_file.chmod(0o600)
    content = json.loads(desk.settings_file.read_bytes())
    place = {
        "kind": "pkcs11",
        "module": str(MODULE),
        "token": "city",
        "pin_file": "hsm.pin",
        "certificates": [],
    }
    content["keys"] = [
        {"key_id": name, "purpose": purpose, "label": name, **place} for name, purpose in CITY_KEYS.items()
    ]
    desk.settings_file.write_text(json.dumps(content))
    desk.settings = load_signer_settings(desk.settings_file, profile="production")
    return desk


def test_the_signer_seals_and_signs_checkpoints_with_the_modules_keys(desk):
    service = desk.service()
    answer, public = service.handle(
        desk.request(desk.sign_item(DIGEST), {"op": "public", "key_id": "page-seal-1"})
    )["items"]
    verify_es256(parse_jwk(public["jwk"]), base64_decode(answer["signature"]), MESSAGE)
    note = checkpoint_note(7)
    signed, public = service.handle(
        desk.request(note_item(note), {"op": "public", "key_id": "checkpoint-1"}, channel="log")
    )["items"]
    key = ed25519.Ed25519PublicKey.from_public_bytes(base64url_decode(public["jwk"]["x"]))
    key.verify(base64_decode(signed["signature"]), note.encode())


def test_one_software_key_among_them_is_refused_in_production(desk):
    content = json.loads(desk.settings_file.read_bytes())
    entry = {"key_id": "checkpoint-1", "purpose": "checkpoint", "kind": "software"}
    content["keys"][-1] = {**entry, "file": "checkpoint-1.key.pem", "certificates": []}
    desk.settings_file.write_text(json.dumps(content))
    with pytest.raises(SettingsInvalidError, match="checkpoint-1 is a software key"):
        load_signer_settings(desk.settings_file, profile="production")
