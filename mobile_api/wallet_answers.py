"""The wallet's side of the relay (OpenID4VP 1.0 sections 5.10 and 8.2): the request object, and the one encrypted answer.

Anybody may call: a wallet has nothing but the address. Errors are OAuth's ({"error","error_description"}, ASCII), and pages
of any origin may call (wallets in browsers). The door cannot sign, so it binds no `wallet_nonce`; our requests do not ask
wallets to send one. A wallet that says no ends nothing here: an error comes from anybody who knows the address.
"""

from __future__ import annotations

from html import escape
from typing import Final
from urllib.parse import parse_qsl, quote, urlencode

from flask import Blueprint, Response, request

from mobile_api.door import Door, the_door
from mobile_api.errors import Problem
from mobile_api.forms import item_id, json_answer, random_id
from mobile_api.limits import read_body
from mobile_api.store import presentations as store
from verifier.errors import FormatError, LimitError
from verifier.formats.compact_jwe import parse_compact_jwe
from verifier.formats.encoding import base64url_encode, sha256
from verifier.formats.jose import same_thumbprint
from verifier.formats.names import AUTHORIZATION_REQUEST_TYPE
from verifier.formats.presentation_request import PresentationRequest, parse_link, parse_presentation_request
from verifier.formats.presentation_response import MAX_RESPONSE_BYTES

FORM_TYPE: Final = "application/x-www-form-urlencoded"
MAX_FIELDS: Final = 8
MAX_REQUEST_FORM: Final = 16 << 10
_SPACE: Final = 1 << 10
"""What the form may hold besides the answer."""
blueprint = Blueprint("wallet_answers", __name__)

_PAGE: Final = """<!doctype html><html lang="ja"><meta charset="utf-8"><meta name="referrer" content="no-referrer">
<meta name="viewport" content="width=device-width"><title>証明書の提出依頼</title>
<h1>証明書の提出依頼</h1><p><a href="{address}">ウォレットで開く</a></p>
<p>開かないときは、このページのアドレスをウォレットに貼り付けてください。</p>
<p lang="en"><a href="{address}">Open in a wallet</a>. If nothing opens, paste the address of this page into the wallet.</p>
</html>
"""


@blueprint.get("/vp")
def link() -> Response:
    """The https form of a request's address: a page with the link for wallets. It looks nothing up and runs no script."""
    start = f"{the_door().settings.public_url}/vp"
    client_id, request_uri = parse_link(f"{start}?{request.query_string.decode('ascii', 'replace')}")
    if not request_uri.startswith(f"{start}/"):
        raise Problem(404, "not-found", "a request of another street door")
    address = f"openid4vp://?client_id={quote(client_id, safe='')}&request_uri={quote(request_uri, safe='')}"
    response = Response(_PAGE.format(address=escape(address)), content_type="text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = "default-src 'none'"
    response.headers["Cache-Control"] = "no-store"
    return response


@blueprint.route("/vp/<identifier>", methods=["GET", "POST"])
def request_object(identifier: str) -> Response:
    """The signed request. POST (request_uri_method) is answered alike, but a wallet_nonce cannot be bound: 400."""
    door = the_door()
    if request.method == "POST" and "wallet_nonce" in _form(MAX_REQUEST_FORM):
        raise Problem(
            400, "invalid_request", "this verifier binds no wallet_nonce; fetch the request with GET"
        )
    response = Response(_live(door, identifier).body, content_type=AUTHORIZATION_REQUEST_TYPE)
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


@blueprint.post("/vp/<identifier>/response")
def answer(identifier: str) -> Response:
    """Form `response` (compact JWE to the request's key) → {} or {"redirect_uri"}; the first answer wins."""
    door = the_door()
    found = _live(door, identifier)
    form = _form(MAX_RESPONSE_BYTES + _SPACE)
    if "error" in form:
        return json_answer({}, 200)
    if set(form) != {"response"}:
        raise Problem(400, "invalid_request", "the form holds exactly one field: response")
    asked = parse_presentation_request(found.body)
    body = _encrypted(form["response"], asked)
    code = None if asked.return_uri is None else random_id(door.random(16))
    with door.store.write() as connection:
        given = store.give_answer(
            connection,
            found.presentation_id,
            body,
            base64url_encode(sha256(body)),
            None if code is None else base64url_encode(sha256(code.encode())),
            door.minute(),
        )
    if given is store.Given.GONE:
        raise Problem(404, "invalid_request", "no such request, or its time is over")
    if given is store.Given.OTHER_WAS_FASTER:
        raise Problem(400, "invalid_request", "this request has been answered already")
    door.waiters.notify()
    if asked.return_uri is None or code is None:
        return json_answer({}, 200)
    separator = "&" if "?" in asked.return_uri else "?"
    address = asked.return_uri + separator + urlencode({"response_code": code})
    return json_answer({"redirect_uri": address}, 200)


@blueprint.errorhandler(Problem)
def _problem(error: Problem) -> Response:
    code = error.code if error.code in ("invalid_request", "server_error") else "invalid_request"
    return _error(error.status, code, error.detail, error.retry_after)


@blueprint.errorhandler(FormatError)
def _format(error: FormatError) -> Response:
    return _error(413 if isinstance(error, LimitError) else 400, "invalid_request", error.detail)


@blueprint.after_request
def _any_origin(response: Response) -> Response:
    response.headers["Access-Control-Allow-Origin"] = "*"
    if request.method == "OPTIONS":
        response.headers["Access-Control-Allow-Methods"] = "GET, POST"
        response.headers["Access-Control-Allow-Headers"] = "Content-Type"
    return response


def _error(status: int, code: str, detail: str, retry_after: int | None = None) -> Response:
    # error_description has no quotes, backslashes and nothing beyond ASCII (RFC 6749 section 5.2).
    plain = "".join(char if " " <= char <= "~" and char not in '"\\' else " " for char in detail)
    response = json_answer({"error": code, "error_description": plain}, status)
    if retry_after is not None:
        response.headers["Retry-After"] = str(retry_after)
    return response


def _live(door: Door, identifier: str) -> store.StoredPresentation:
    item_id(identifier)
    door.limits.count("presentation", identifier, door.settings.rate_request, 60)
    with door.store.read() as connection:
        found = store.find_presentation(connection, identifier)
    if found is None or found.expires_minute <= door.minute():
        raise Problem(404, "invalid_request", "no such request, or its time is over")
    return found


def _form(limit: int) -> dict[str, str]:
    body = read_body(limit)
    if request.mimetype != FORM_TYPE:
        raise Problem(415, "invalid_request", f"send {FORM_TYPE}")
    if not body:
        return {}
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, strict_parsing=True, max_num_fields=MAX_FIELDS
        )
    except ValueError:
        raise Problem(400, "invalid_request", "not a form") from None
    if len(dict(pairs)) != len(pairs):
        raise Problem(400, "invalid_request", "a field is there twice")
    return dict(pairs)


def _encrypted(text: str, asked: PresentationRequest) -> bytes:
    """The answer, if it has the form of one to this request's key: whether it opens, only the desk finds out."""
    body = text.encode("utf-8", "surrogatepass")
    jwe = parse_compact_jwe(body, max_bytes=MAX_RESPONSE_BYTES)
    if jwe.kid is None or not same_thumbprint(jwe.kid, asked.kid):
        raise Problem(400, "invalid_request", "encrypted to another key than the one of the request")
    return body
