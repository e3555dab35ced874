"""A key at a remote signing service, against a double that keeps the CSC rules: one SAD for one hash,
once."""

from __future__ import annotations

import base64
import hashlib
import secrets

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from app.errors import UnavailableError
from app.sealing.errors import KeyUnusableError
from app.sealing.remote_key import RemoteKey
from verifier.formats.jose import verify_es256

MESSAGE = b"what is signed"
DIGEST = hashlib.sha256(MESSAGE).digest()


class CscDouble:
    """`credentials/authorize` and `signatures/signHash` as the CSC API writes them."""

    def __init__(self):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.authorised = {}
        self.answers = {}

    def post(self, method, body):
        if method in self.answers:
            return self.answers[method]
        assert body["credentialID"] == "seal"
        if method == "credentials/authorize":
            assert body["numSignatures"] == len(body["hash"]) == 1
            sad = secrets.token_urlsafe(16)
            self.authorised[sad] = body["hash"]
            return {"SAD": sad, "expiresIn": 60}
        assert method == "signatures/signHash"
        if self.authorised.pop(body["SAD"], None) != body["hash"]:
            raise KeyUnusableError("invalid_request", "SAD")
        assert (body["hashAlgo"], body["signAlgo"]) == ("2.16.840.1.101.3.4.2.1", "1.2.840.10045.4.3.2")
        digest = base64.b64decode(body["hash"][0])
        signature = self.key.sign(digest, ec.ECDSA(Prehashed(hashes.SHA256())))
        return {"signatures": [base64.b64encode(signature).decode()]}


@pytest.fixture
def service():
    return CscDouble()


def test_a_digest_is_authorised_and_signed(service):
    key = RemoteKey(service, "seal", service.key.public_key())
    verify_es256(service.key.public_key(), key.sign_digest(DIGEST), MESSAGE)
    assert key.public_key() == service.key.public_key()
    assert service.authorised == {}
    assert key.is_software is False


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("credentials/authorize", {}),
        ("credentials/authorize", {"SAD": 7}),
        ("signatures/signHash", {}),
        ("signatures/signHash", {"signatures": []}),
        ("signatures/signHash", {"signatures": ["?"]}),
        ("signatures/signHash", {"signatures": ["AAAA", "AAAA"]}),
    ],
)
def test_an_answer_out_of_form_is_an_outage(service, method, answer):
    service.answers[method] = answer
    with pytest.raises(UnavailableError):
        RemoteKey(service, "seal", service.key.public_key()).sign_digest(DIGEST)


def test_what_is_no_signature_is_refused(service):
    service.answers["signatures/signHash"] = {"signatures": [base64.b64encode(b"nothing").decode()]}
    with pytest.raises(KeyUnusableError, match="bad-signature-form"):
        RemoteKey(service, "seal", service.key.public_key()).sign_digest(DIGEST)


def test_it_only_signs_digests(service):
    key = RemoteKey(service, "seal", service.key.public_key())
    with pytest.raises(KeyUnusableError):
        key.agree(service.key.public_key())
    with pytest.raises(KeyUnusableError):
        key.sign_message(b"")
