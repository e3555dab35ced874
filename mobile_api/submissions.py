"""Submission requests of employers and what residents upload for them: ciphertext both, linked to nobody.

Creating, listing and fetching need a proof by the desk key that made the request; uploading needs the
upload token, which only who has read the QR code can derive. No account appears here: the door does not
learn who submits to whom.
"""

from __future__ import annotations

import hmac
from datetime import UTC, datetime
from typing import Final

from flask import Blueprint, Response, request

from mobile_api.accounts import key_bytes, read_key
from mobile_api.door import Door, the_door
from mobile_api.errors import Problem
from mobile_api.forms import (
    bytes_answer,
    hash_text,
    iso_minute,
    item_id,
    json_answer,
    json_object,
    new_request_id,
    random_id,
    request_id,
)
from mobile_api.limits import read_body, remote_address
from mobile_api.proofs import check_proof
from mobile_api.store import requests as store
from verifier.errors import FormatError
from verifier.formats.encoding import base64_decode, base64url_decode, base64url_encode, sha256
from verifier.formats.jose import parse_jwk
from verifier.formats.names import PACKAGE_TYPE
from verifier.formats.package import parse_package

UPLOAD_HEADER: Final = "Akashi-Upload"
WITHDRAW_HEADER: Final = "Akashi-Withdraw"
WITHDRAW_SECRET_HEADER: Final = "Akashi-Withdraw-Secret"  # noqa: S105
MAX_DESCRIPTOR: Final = 32 << 10
MAX_FORM: Final = 64 << 10
MAX_LIST: Final = 2000
blueprint = Blueprint("submissions", __name__)


@blueprint.post("/v1/requests")
def create() -> Response:
    """{ciphertext, desk_jwk, upload_token_hash, expires, mail_hash?}, proof by desk_jwk → 201 {id,
    expires}.
    """
    door = the_door()
    door.limits.count("request-create", remote_address(), door.settings.rate_request, 60)
    body = read_body(MAX_FORM)
    form = json_object(body, {"ciphertext", "desk_jwk", "upload_token_hash", "expires"}, {"mail_hash"})
    key = parse_jwk(form["desk_jwk"])
    check_proof(door.store, key, body, door.clock())
    if not isinstance(form["ciphertext"], str):
        raise Problem(400, "bad-form", "ciphertext is base64")
    ciphertext = base64_decode(form["ciphertext"])
    if not 28 < len(ciphertext) <= MAX_DESCRIPTOR:
        raise Problem(413, "descriptor-too-large", f"at most {MAX_DESCRIPTOR} bytes")
    expires = _expiry(door, form["expires"])
    stored = store.StoredRequest(
        new_request_id(door.random(10)),
        key_bytes(key),
        ciphertext,
        hash_text(form["upload_token_hash"]),
        hash_text(form["mail_hash"]) if "mail_hash" in form else None,
        expires,
    )
    with door.store.write() as connection:
        identifier = store.add_request(
            connection, stored, base64url_encode(sha256(ciphertext)), door.minute()
        )
    if identifier is None:
        raise Problem(409, "other-desk", "another desk has stored these bytes")
    return json_answer({"expires": iso_minute(expires), "id": identifier}, 201)


@blueprint.get("/v1/requests/<identifier>")
def descriptor(identifier: str) -> Response:
    """The encrypted descriptor. Its key stands in the fragment of the QR code, which no server sees."""
    door = the_door()
    return bytes_answer(find_request(door, identifier).body, "application/octet-stream")


@blueprint.post("/v1/requests/<identifier>/submissions")
def submit(identifier: str) -> Response:
    """A package to the employer's keys; headers Akashi-Upload, optionally Akashi-Withdraw → 201 {receipt,
    …}.
    """
    door = the_door()
    found = find_request(door, identifier)
    check_upload_token(found)
    body = read_body(door.settings.max_submission)
    check_submission(body, door.settings.max_submission)
    withdraw_hash = request.headers.get(WITHDRAW_HEADER)
    minute = door.minute()
    with door.store.write() as connection:
        receipt = store.add_submission(
            connection,
            found.request_id,
            random_id(door.random(16)),
            body,
            base64url_encode(sha256(body)),
            None if withdraw_hash is None else hash_text(withdraw_hash),
            minute,
            door.settings.max_submissions,
        )
    if receipt is None:
        raise Problem(409, "request-full", "no more submissions fit under this request")
    return json_answer({"expires": iso_minute(found.expires_minute), "receipt": receipt}, 201)


@blueprint.delete("/v1/requests/<identifier>/submissions/<receipt>")
def withdraw(identifier: str, receipt: str) -> Response:
    """Header Akashi-Withdraw-Secret: 204 while nobody has fetched it, 409 afterwards, 404 for a wrong
    secret.
    """
    door = the_door()
    found = find_request(door, identifier)
    try:
        secret = base64url_decode(request.headers.get(WITHDRAW_SECRET_HEADER, ""))
    except FormatError:
        secret = b""
    if len(secret) != 32:
        raise Problem(404, "no-submission", "no such submission, or not this secret")
    digest = base64url_encode(sha256(secret))
    with door.store.write() as connection:
        if store.withdraw_submission(connection, found.request_id, item_id(receipt), digest):
            return Response(status=204)
        fetched = store.was_fetched(connection, found.request_id, receipt, digest)
    if fetched:
        raise Problem(409, "already-fetched", "the recipient has fetched it already")
    raise Problem(404, "no-submission", "no such submission, or not this secret")


@blueprint.get("/v1/requests/<identifier>/submissions")
def list_submissions(identifier: str) -> Response:
    """Proof by the desk key → {submissions:[{receipt, received, size, fetched}]}."""
    door = the_door()
    found = find_request(door, identifier)
    check_proof(door.store, read_key(found.desk_key), b"", door.clock())
    with door.store.read() as connection:
        entries = store.list_submissions(connection, found.request_id, MAX_LIST)
    lines = [
        {
            "fetched": e.fetched,
            "received": iso_minute(e.received_minute),
            "receipt": e.receipt,
            "size": e.size,
        }
        for e in entries
    ]
    return json_answer({"submissions": lines}, 200)


@blueprint.get("/v1/requests/<identifier>/submissions/<receipt>")
def fetch_submission(identifier: str, receipt: str) -> Response:
    """Proof by the desk key → the package; from now on it cannot be withdrawn."""
    door = the_door()
    found = find_request(door, identifier)
    check_proof(door.store, read_key(found.desk_key), b"", door.clock())
    with door.store.write() as connection:
        body = store.fetch_submission(connection, found.request_id, item_id(receipt), door.minute())
    if body is None:
        raise Problem(404, "no-submission", "no such submission, or withdrawn, or its time is over")
    return bytes_answer(body, PACKAGE_TYPE)


def find_request(door: Door, identifier: str) -> store.StoredRequest:
    """The live request of this id. Raises Problem 404 or 429."""
    request_id(identifier)
    door.limits.count("request", identifier, door.settings.rate_request, 60)
    with door.store.read() as connection:
        found = store.find_request(connection, identifier, door.minute())
    if found is None:
        raise Problem(404, "no-request", "no such request, or its time is over")
    return found


def check_upload_token(found: store.StoredRequest) -> bytes:
    """The token of header Akashi-Upload, if it is this request's. Raises Problem 403."""
    try:
        token = base64url_decode(request.headers.get(UPLOAD_HEADER, ""))
    except FormatError:
        token = b""
    if not hmac.compare_digest(base64url_encode(sha256(token)).encode(), found.upload_token_hash.encode()):
        raise Problem(403, "wrong-upload-token", "the upload token is not this request's")
    return token


def check_submission(body: bytes, limit: int) -> None:
    """A submission is a package and nothing else. Raises FormatError, Problem 400."""
    if parse_package(body, max_bytes=limit).typ != PACKAGE_TYPE:
        raise Problem(400, "not-a-package", "a submission is a package")


def _expiry(door: Door, value: object) -> int:
    try:
        if not isinstance(value, str):
            raise ValueError
        instant = datetime.strptime(value, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise Problem(400, "bad-form", "expires is like 2026-11-20T01:02:03Z") from None
    minute, now = int(instant.timestamp()) // 60 * 60, door.minute()
    if not now < minute <= now + door.settings.max_request_life:
        raise Problem(400, "bad-expiry", "the end lies in the past or too far ahead")
    return minute
