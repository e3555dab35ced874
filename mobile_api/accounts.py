"""Accounts and nonces: what a phone needs before it can send anything. An account is a random id and a device
key.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from flask import Blueprint, Response

from mobile_api.door import Door, the_door
from mobile_api.errors import Problem
from mobile_api.forms import account_id, json_answer, json_object
from mobile_api.limits import read_body, remote_address
from mobile_api.proofs import check_proof
from mobile_api.store import mailbox
from verifier.formats.encoding import base64url_encode
from verifier.formats.jose import parse_jwk, thumbprint

MAX_FORM = 4096
blueprint = Blueprint("accounts", __name__)


@blueprint.post("/v1/accounts")
def sign_up() -> Response:
    """{signing_jwk}, proof by that key → 201 {account}. The same key always gets the same account."""
    door = the_door()
    door.limits.count("sign-up", remote_address(), door.settings.rate_sign_up, 3600)
    body = read_body(MAX_FORM)
    key = parse_jwk(json_object(body, {"signing_jwk"})["signing_jwk"])
    check_proof(door.store, key, body, door.clock())
    with door.store.write() as connection:
        account = mailbox.register_account(
            connection, base64url_encode(door.random(16)), key_bytes(key), thumbprint(key), door.minute()
        )
    return json_answer({"account": account}, 201)


@blueprint.post("/v1/nonces")
def nonces() -> Response:
    """{account}, proof by its key → {nonces:[one]}. A nonce is handed out once; 503 when the stock is
    empty.
    """
    door = the_door()
    body = read_body(MAX_FORM)
    account = account_id(json_object(body, {"account"})["account"])
    authenticate(door, account, body)
    door.limits.count("nonce", account, door.settings.rate_nonce, 3600)
    with door.store.write() as connection:
        nonce = mailbox.take_nonce(connection)
    if nonce is None:
        raise Problem(503, "no-nonces", "the city has not sent nonces for a while", retry_after=10)
    return json_answer({"nonces": [nonce]}, 200)


def authenticate(door: Door, account: str, body: bytes) -> None:
    """The current call's proof must be by the account's device key. Raises Problem 401 or 429."""
    door.limits.count("account", account, door.settings.rate_account, 60)
    with door.store.read() as connection:
        stored = mailbox.find_device_key(connection, account)
    if stored is None:
        # The same answer as for a wrong key: which ids exist is nobody's business.
        raise Problem(401, "bad-proof", "unknown account or wrong key")
    check_proof(door.store, read_key(stored), body, door.clock())


def key_bytes(key: ec.EllipticCurvePublicKey) -> bytes:
    """The stored form: uncompressed point, 65 bytes (SEC 1)."""
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def read_key(stored: bytes) -> ec.EllipticCurvePublicKey:
    """Inverse of `key_bytes`."""
    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), stored)
