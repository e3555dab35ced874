"""The employer's side of the street door: store a request, list and fetch what residents have submitted.

Every call but the upload carries a proof by the desk's signing key (header Akashi-Proof: a JWS over method,
path, time, a single-use id and the body's hash). The door sees ciphertext and sizes, never who asks or who
submits. Every failure to get an answer is a SourceError.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from cryptography.hazmat.primitives.asymmetric import ec

from verifier.errors import FormatError, SourceError
from verifier.formats.encoding import (
    JSON,
    base64_encode,
    base64url_decode,
    base64url_encode,
    canonical_json,
    parse_json,
    sha256,
)
from verifier.formats.jose import build_jws, es256_signer, format_jwk, thumbprint
from verifier.formats.package import MAX_PACKAGE_BYTES
from verifier.formats.submission_request import (
    encrypt_descriptor,
    format_instant,
    parse_submission_request,
    request_secret,
    upload_token,
    upload_token_hash,
)
from verifier.http import TIMEOUT, Answer, call

PROOF_HEADER: Final = "Akashi-Proof"
PROOF_TYP: Final = "akashi-proof+jwt"
MAIL_LABEL: Final = b"akashi/request/v1/mail\x00"
MAX_ANSWER_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Submission:
    """One entry of the inbox: receipt, minute of arrival (ISO text), size in bytes, fetched before."""

    receipt: str
    received: str
    size: int
    fetched: bool


def post_request(base: str, descriptor: bytes, key: ec.EllipticCurvePrivateKey, now: dt.datetime) -> str:
    """Store the encrypted descriptor at the door; answers the id of ten characters. Raises: SourceError."""
    request = parse_submission_request(descriptor)
    secret = request_secret(descriptor)
    form: dict[str, JSON] = {
        "ciphertext": base64_encode(encrypt_descriptor(descriptor)),
        "desk_jwk": format_jwk(key.public_key()),
        "upload_token_hash": base64url_encode(upload_token_hash(secret)),
        "expires": format_instant(request.expires),
    }
    if request.mail is not None:
        form["mail_hash"] = mail_hash(secret, request.mail)
    answer = read_object(call_door(base, "POST", "/v1/requests", key, now, canonical_json(form)))
    identifier = answer.get("id")
    if not isinstance(identifier, str):
        raise SourceError("bad-answer", "the door gave no id")
    return identifier


def list_submissions(
    base: str, identifier: str, key: ec.EllipticCurvePrivateKey, now: dt.datetime
) -> tuple[Submission, ...]:
    """What has arrived for a request. Raises: SourceError."""
    path = f"/v1/requests/{quote(identifier, safe='')}/submissions"
    answer = read_object(call_door(base, "GET", path, key, now))
    entries = answer.get("submissions")
    if not isinstance(entries, list):
        raise SourceError("bad-answer", "the door gave no list")
    return tuple(_submission(entry) for entry in entries)


def fetch_submission(
    base: str, identifier: str, receipt: str, key: ec.EllipticCurvePrivateKey, now: dt.datetime
) -> bytes:
    """One package; from now on the resident cannot withdraw it. Raises: SourceError."""
    path = f"/v1/requests/{quote(identifier, safe='')}/submissions/{quote(receipt, safe='')}"
    return call_door(base, "GET", path, key, now, max_bytes=MAX_PACKAGE_BYTES).body


def mail_hash(secret: bytes, address: str) -> str:
    """What the door keeps of a mail address: keyed with the upload token, which it does not keep."""
    token = base64url_decode(upload_token(secret))
    return base64url_encode(hmac.new(token, MAIL_LABEL + address.encode("ascii"), hashlib.sha256).digest())


def build_proof(
    key: ec.EllipticCurvePrivateKey, *, method: str, path: str, body: bytes, now: dt.datetime
) -> str:
    """The header value for one call; `path` without query."""
    claims = {
        "body": base64url_encode(sha256(body)),
        "htm": method,
        "htu": path,
        "iat": int(now.timestamp()),
        "jti": base64url_encode(os.urandom(16)),
    }
    header = {"kid": thumbprint(key.public_key()), "typ": PROOF_TYP}
    return build_jws(header, canonical_json(claims), es256_signer(key)).decode("ascii")


def call_door(
    base: str,
    method: str,
    path: str,
    key: ec.EllipticCurvePrivateKey,
    now: dt.datetime,
    body: bytes = b"",
    *,
    query: str = "",
    content_type: str = "application/json",
    headers: Mapping[str, str] | None = None,
    timeout: float = TIMEOUT,
    max_bytes: int = MAX_ANSWER_BYTES,
) -> Answer:
    """One call with the desk's proof; `query` with its question mark. Raises: SourceError unless 200, 201 or 204."""
    sent = {PROOF_HEADER: build_proof(key, method=method, path=path, body=body, now=now), **(headers or {})}
    if body:
        sent["Content-Type"] = content_type
    address = base.rstrip("/") + path + query
    answer = call(method, address, body=body or None, headers=sent, timeout=timeout, max_bytes=max_bytes)
    if answer.status not in (200, 201, 204):
        raise SourceError(f"http-{answer.status}", _problem(answer))
    return answer


def _problem(answer: Answer) -> str:
    try:
        value = parse_json(answer.body)
    except FormatError:
        return "the door refused"
    detail = value.get("detail") if isinstance(value, dict) else None
    return str(detail)[:200] if detail else "the door refused"


def read_object(answer: Answer) -> Mapping[str, JSON]:
    """The JSON object of an answer. Raises: SourceError("bad-answer")."""
    try:
        value = parse_json(answer.body)
    except FormatError as error:
        raise SourceError("bad-answer", "the door's answer is not JSON") from error
    if not isinstance(value, dict):
        raise SourceError("bad-answer", "the door's answer is not an object")
    return value


def _submission(entry: JSON) -> Submission:
    if not isinstance(entry, dict):
        raise SourceError("bad-answer", "an entry is not an object")
    receipt, received, size = entry.get("receipt"), entry.get("received"), entry.get("size")
    plain = (
        isinstance(receipt, str) and receipt.isascii() and receipt.replace("-", "").replace("_", "").isalnum()
    )
    if not plain or not isinstance(received, str) or not isinstance(size, int):
        raise SourceError("bad-answer", "an entry of another shape")
    return Submission(str(receipt), received, size, entry.get("fetched") is True)
