"""Exchanges: what the street door asks the city on behalf of a wallet of somebody else, and the city's one answer.

The door runs the protocols (OpenID4VCI 1.0, OAuth); the credential is made inside the city. A question is sealed to the
city's envelope key, an answer to a key that the door made for this one exchange and keeps in memory only, so that its
store holds ciphertext both ways (docs/formats/wallet-exchange.md). What a wallet encrypted to the city travels on as it
is. Strict codecs, every limit a constant; this module opens no key and speaks to nobody.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from verifier.errors import FormatError, LimitError
from verifier.formats.encoding import (
    JSON,
    base64_decode,
    base64_encode,
    base64url_decode,
    canonical_json,
    parse_canonical_json,
)
from verifier.formats.jose import format_jwk, parse_jwk, parse_thumbprint
from verifier.formats.names import EXCHANGE_ANSWER_TYPE, EXCHANGE_QUESTION_TYPE, EXCHANGE_TYPE
from verifier.formats.package import KeyAgreement, open_package, pack

VERSION: Final = 1
PROFILES: Final = ("p1", "p2")
"""p1: pre-authorized code, DPoP optional. p2: authorization code with PAR, DPoP, attestations, encrypted answers."""
MAX_QUESTION_BYTES: Final = 96 << 10
MAX_ANSWER_BYTES: Final = 1 << 20
MAX_PROOFS: Final = 20
MAX_PROOF: Final = 8 << 10
MAX_JWE: Final = 64 << 10
MAX_QUERY: Final = 8 << 10
MAX_LOCATION: Final = 4 << 10
MAX_DESCRIPTION: Final = 200
EVENTS: Final = ("credential_accepted", "credential_failure", "credential_deleted")
RESPONSE_TYPES: Final = ("application/json", "application/jwt")

_ID: Final = re.compile(r"[A-Za-z0-9_-]{22}")
_CONFIGURATION: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_ERROR: Final = re.compile(r"[a-z_]{3,48}")
_HANDLE: Final = re.compile(r"[A-Za-z0-9_-]{16,64}")
# RFC 6749 section 5.2: printable ASCII without quotation mark and backslash.
_DESCRIPTION: Final = re.compile(r"[\x20-\x21\x23-\x5b\x5d-\x7e]*")
_PRINTABLE: Final = re.compile(r"[\x21-\x7e]*")
# https to a named host, or a provider of this machine (demo): no user name that would look like a host, no backslash that
# browsers read as a slash.
_LOCATION: Final = re.compile(
    r"(?:https://[A-Za-z0-9.-]+(?::[0-9]{1,5})?|http://127\.0\.0\.1:[0-9]{1,5})[/?][^\\#]*"
)


@dataclass(frozen=True, slots=True)
class ResponseKey:
    """The wallet's key for its encrypted answer: P-256 key, its kid (None: none given), content encryption."""

    key: ec.EllipticCurvePublicKey
    kid: str | None
    enc: str


@dataclass(frozen=True, slots=True)
class CredentialQuestion:
    """A credential request in the clear. proofs: the key proofs (compact JWS) as they came, checked by nobody yet."""

    configuration: str
    proofs: tuple[str, ...]
    response: ResponseKey | None = None


@dataclass(frozen=True, slots=True)
class SealedCredentialQuestion:
    """A credential request that the wallet encrypted to the city (OpenID4VCI 1.0 section 10): compact JWE."""

    jwe: str


@dataclass(frozen=True, slots=True)
class DeferredQuestion:
    """Is it ready? `transaction` is the city's word in `Pending`."""

    transaction: str
    response: ResponseKey | None = None


@dataclass(frozen=True, slots=True)
class SealedDeferredQuestion:
    """A deferred request that the wallet encrypted to the city: compact JWE."""

    jwe: str


@dataclass(frozen=True, slots=True)
class NotificationQuestion:
    """What the wallet says it did with the credentials (OpenID4VCI 1.0 section 11); `event` one of EVENTS."""

    notification: str
    event: str


@dataclass(frozen=True, slots=True)
class LoginStart:
    """A wallet's browser has come to log in; `session` is the door's random id of this authorization."""

    session: str
    configuration: str


@dataclass(frozen=True, slots=True)
class LoginFinish:
    """The browser is back from the login provider with this query string (of /login/callback)."""

    session: str
    query: str


QuestionBody = (
    CredentialQuestion
    | SealedCredentialQuestion
    | DeferredQuestion
    | SealedDeferredQuestion
    | NotificationQuestion
    | LoginStart
    | LoginFinish
)


@dataclass(frozen=True, slots=True)
class Question:
    """One question.

    exchange   the door's random id of it, 22 characters
    profile    one of PROFILES
    grant      the city's opaque grant id that the access token stands for; None for logins
    dpop       thumbprint of the key the access token is bound to; None = bearer
    reply_key  the door's key for the answer to this one question
    """

    exchange: str
    profile: str
    grant: str | None
    dpop: str | None
    reply_key: ec.EllipticCurvePublicKey
    body: QuestionBody


@dataclass(frozen=True, slots=True)
class Issued:
    """The body of a 200 answer, ready for the wallet: JSON, or a compact JWE to the wallet's key."""

    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Pending:
    """Not yet: 202 with this transaction id, ask again after `interval` seconds.

    body: the 202 body encrypted to the wallet (compact JWE) where it asked for that; None = the door writes JSON.
    """

    transaction: str
    interval: int
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class Denied:
    """An error of the protocol: its own code, and a sentence in ASCII."""

    error: str
    description: str


@dataclass(frozen=True, slots=True)
class Noted:
    """The notification is on record."""


@dataclass(frozen=True, slots=True)
class Redirect:
    """Send the browser to the login provider."""

    location: str


@dataclass(frozen=True, slots=True)
class Granted:
    """The login is good: the access token may stand for this grant."""

    grant: str


AnswerBody = Issued | Pending | Denied | Noted | Redirect | Granted


def seal_question(
    question: Question, city_key: ec.EllipticCurvePublicKey, random: Callable[[int], bytes]
) -> bytes:
    """The package for the city's envelope key. Raises: FormatError, LimitError when a member breaks a limit."""
    data = _question_bytes(question)
    return pack(data, [city_key], content_type=EXCHANGE_QUESTION_TYPE, typ=EXCHANGE_TYPE, random=random)


def open_question(data: bytes, kid: str, agree: KeyAgreement) -> Question:
    """Inverse of `seal_question` with the city's key `kid`. Raises: FormatError, LimitError."""
    return parse_question(_open(data, kid, agree, EXCHANGE_QUESTION_TYPE, 2 * MAX_QUESTION_BYTES))


def seal_answer(
    exchange: str, body: AnswerBody, reply_key: ec.EllipticCurvePublicKey, random: Callable[[int], bytes]
) -> bytes:
    """The package for the door's key of this exchange. Raises: FormatError, LimitError."""
    data = format_answer(exchange, body)
    return pack(data, [reply_key], content_type=EXCHANGE_ANSWER_TYPE, typ=EXCHANGE_TYPE, random=random)


def open_answer(data: bytes, kid: str, agree: KeyAgreement) -> tuple[str, AnswerBody]:
    """(exchange id, answer). The caller compares the id with the one it asked under. Raises: FormatError, LimitError."""
    return parse_answer(_open(data, kid, agree, EXCHANGE_ANSWER_TYPE, 3 * MAX_ANSWER_BYTES))


def parse_question(data: bytes) -> Question:
    """A question from its canonical JSON. Raises: FormatError, LimitError."""
    value = _object(
        parse_canonical_json(data, max_bytes=MAX_QUESTION_BYTES),
        {"v", "exchange", "profile", "grant", "dpop", "reply_jwk", "kind", "body"},
    )
    _version(value)
    if value["profile"] not in PROFILES:
        raise FormatError("bad-exchange", "unknown profile")
    grant, dpop = value["grant"], value["dpop"]
    kind, body = value["kind"], value["body"]
    reader = _QUESTIONS.get(kind) if isinstance(kind, str) else None
    if reader is None:
        raise FormatError("bad-exchange", "unknown kind of question")
    return Question(
        _matching(_ID, value["exchange"], "exchange"),
        str(value["profile"]),
        None if grant is None else _matching(_ID, grant, "grant"),
        None if dpop is None else parse_thumbprint(dpop),
        parse_jwk(value["reply_jwk"]),
        reader(body),
    )


def format_answer(exchange: str, body: AnswerBody) -> bytes:
    """Canonical JSON of an answer. Raises: FormatError, LimitError."""
    kind, value = _format_answer_body(body)
    data = canonical_json({"v": VERSION, "exchange": exchange, "kind": kind, "body": value})
    # What the door would refuse to read the city does not write.
    parse_answer(data)
    return data


def parse_answer(data: bytes) -> tuple[str, AnswerBody]:
    """Inverse of `format_answer`. Raises: FormatError, LimitError."""
    value = _object(
        parse_canonical_json(data, max_bytes=2 * MAX_ANSWER_BYTES), {"v", "exchange", "kind", "body"}
    )
    _version(value)
    reader = _ANSWERS.get(value["kind"]) if isinstance(value["kind"], str) else None
    if reader is None:
        raise FormatError("bad-exchange", "unknown kind of answer")
    return _matching(_ID, value["exchange"], "exchange"), reader(value["body"])


def _question_bytes(question: Question) -> bytes:
    kind, body = _format_question_body(question.body)
    data = canonical_json(
        {
            "v": VERSION,
            "exchange": question.exchange,
            "profile": question.profile,
            "grant": question.grant,
            "dpop": question.dpop,
            "reply_jwk": format_jwk(question.reply_key),
            "kind": kind,
            "body": body,
        }
    )
    parse_question(data)
    return data


def _format_question_body(body: QuestionBody) -> tuple[str, JSON]:
    match body:
        case CredentialQuestion(configuration, proofs, response):
            value: JSON = {"configuration": configuration, "proofs": list(proofs)}
            return "credential", {**value, "response": _format_response(response)}
        case SealedCredentialQuestion(jwe):
            return "sealed_credential", {"jwe": jwe}
        case DeferredQuestion(transaction, response):
            return "deferred", {"transaction": transaction, "response": _format_response(response)}
        case SealedDeferredQuestion(jwe):
            return "sealed_deferred", {"jwe": jwe}
        case NotificationQuestion(notification, event):
            return "notification", {"notification": notification, "event": event}
        case LoginStart(session, configuration):
            return "login_start", {"session": session, "configuration": configuration}
        case LoginFinish(session, query):
            return "login_finish", {"session": session, "query": query}


def _read_credential(value: JSON) -> QuestionBody:
    body = _object(value, {"configuration", "proofs", "response"})
    proofs = body["proofs"]
    if not isinstance(proofs, list) or not 1 <= len(proofs) <= MAX_PROOFS:
        raise LimitError("too-many-proofs", f"1 to {MAX_PROOFS} key proofs")
    return CredentialQuestion(
        _matching(_CONFIGURATION, body["configuration"], "configuration"),
        tuple(_printable(proof, MAX_PROOF) for proof in proofs),
        _read_response(body["response"]),
    )


def _read_deferred(value: JSON) -> QuestionBody:
    body = _object(value, {"transaction", "response"})
    transaction = _matching(_HANDLE, body["transaction"], "transaction")
    return DeferredQuestion(transaction, _read_response(body["response"]))


def _read_notification(value: JSON) -> QuestionBody:
    body = _object(value, {"notification", "event"})
    if body["event"] not in EVENTS:
        raise FormatError("bad-exchange", "unknown event")
    return NotificationQuestion(_matching(_HANDLE, body["notification"], "notification"), str(body["event"]))


def _read_login_start(value: JSON) -> QuestionBody:
    body = _object(value, {"session", "configuration"})
    configuration = _matching(_CONFIGURATION, body["configuration"], "configuration")
    return LoginStart(_matching(_ID, body["session"], "session"), configuration)


def _read_login_finish(value: JSON) -> QuestionBody:
    body = _object(value, {"session", "query"})
    return LoginFinish(_matching(_ID, body["session"], "session"), _printable(body["query"], MAX_QUERY))


_QUESTIONS: Final[Mapping[str, Callable[[JSON], QuestionBody]]] = {
    "credential": _read_credential,
    "sealed_credential": lambda value: SealedCredentialQuestion(
        _printable(_object(value, {"jwe"})["jwe"], MAX_JWE)
    ),
    "deferred": _read_deferred,
    "sealed_deferred": lambda value: SealedDeferredQuestion(
        _printable(_object(value, {"jwe"})["jwe"], MAX_JWE)
    ),
    "notification": _read_notification,
    "login_start": _read_login_start,
    "login_finish": _read_login_finish,
}


def _format_answer_body(body: AnswerBody) -> tuple[str, JSON]:
    match body:
        case Issued(content_type, content):
            return "issued", {"content_type": content_type, "body": base64_encode(content)}
        case Pending(transaction, interval, content):
            text = None if content is None else base64_encode(content)
            return "pending", {"transaction": transaction, "interval": interval, "body": text}
        case Denied(error, description):
            return "denied", {"error": error, "description": description}
        case Noted():
            return "noted", {}
        case Redirect(location):
            return "redirect", {"location": location}
        case Granted(grant):
            return "granted", {"grant": grant}


def _read_issued(value: JSON) -> AnswerBody:
    body = _object(value, {"content_type", "body"})
    if body["content_type"] not in RESPONSE_TYPES:
        raise FormatError("bad-exchange", "unknown content type")
    return Issued(str(body["content_type"]), _content(body["body"]))


def _read_pending(value: JSON) -> AnswerBody:
    body = _object(value, {"transaction", "interval", "body"})
    interval = body["interval"]
    if type(interval) is not int or not 1 <= interval <= 86400:
        raise FormatError("bad-exchange", "interval is a number of seconds")
    content = None if body["body"] is None else _content(body["body"])
    return Pending(_matching(_HANDLE, body["transaction"], "transaction"), interval, content)


def _read_denied(value: JSON) -> AnswerBody:
    body = _object(value, {"error", "description"})
    description = body["description"]
    if not isinstance(description, str) or len(description) > MAX_DESCRIPTION:
        raise FormatError("bad-exchange", "a short description")
    return Denied(
        _matching(_ERROR, body["error"], "error"), _matching(_DESCRIPTION, description, "description")
    )


def _read_noted(value: JSON) -> AnswerBody:
    _object(value, set())
    return Noted()


def _read_redirect(value: JSON) -> AnswerBody:
    location = _printable(_object(value, {"location"})["location"], MAX_LOCATION)
    if _LOCATION.fullmatch(location) is None:
        raise FormatError("bad-exchange", "a login provider is reached by https")
    return Redirect(location)


_ANSWERS: Final[Mapping[str, Callable[[JSON], AnswerBody]]] = {
    "issued": _read_issued,
    "pending": _read_pending,
    "denied": _read_denied,
    "noted": _read_noted,
    "redirect": _read_redirect,
    "granted": lambda value: Granted(_matching(_ID, _object(value, {"grant"})["grant"], "grant")),
}


def _format_response(response: ResponseKey | None) -> JSON:
    if response is None:
        return None
    return {"jwk": format_jwk(response.key), "kid": response.kid, "enc": response.enc}


def _read_response(value: JSON) -> ResponseKey | None:
    if value is None:
        return None
    body = _object(value, {"jwk", "kid", "enc"})
    kid, enc = body["kid"], body["enc"]
    if enc not in ("A128GCM", "A256GCM"):
        raise FormatError("bad-exchange", "A128GCM or A256GCM")
    return ResponseKey(parse_jwk(body["jwk"]), None if kid is None else _printable(kid, 256), str(enc))


def _open(data: bytes, kid: str, agree: KeyAgreement, content_type: str, limit: int) -> bytes:
    opened = open_package(data, kid, agree, max_bytes=limit)
    # typ and cty are authenticated: a question cannot pass as an answer, nor either as a phone's message.
    if (opened.typ, opened.content_type) != (EXCHANGE_TYPE, content_type):
        raise FormatError("wrong-package-type", f"not {content_type}")
    return opened.plaintext


def _version(value: dict[str, JSON]) -> None:
    if type(value["v"]) is not int or value["v"] != VERSION:
        raise FormatError("unknown-version", f"only version {VERSION} is known")


def _object(value: JSON, members: set[str]) -> dict[str, JSON]:
    if not isinstance(value, dict) or set(value) != members:
        raise FormatError("bad-exchange", "members are " + ", ".join(sorted(members)))
    return value


def _content(value: JSON) -> bytes:
    if not isinstance(value, str):
        raise FormatError("bad-exchange", "a body is base64")
    content = base64_decode(value)
    if not 0 < len(content) <= MAX_ANSWER_BYTES:
        raise LimitError("answer-too-large", f"1 to {MAX_ANSWER_BYTES} bytes")
    return content


def _printable(value: JSON, limit: int) -> str:
    if not isinstance(value, str) or _PRINTABLE.fullmatch(value) is None:
        raise FormatError("bad-exchange", "printable ASCII expected")
    if not 0 < len(value) <= limit:
        raise LimitError("text-too-long", f"1 to {limit} characters")
    return value


def _matching(pattern: re.Pattern[str], value: JSON, what: str) -> str:
    if not isinstance(value, str) or pattern.fullmatch(value) is None:
        raise FormatError("bad-exchange", f"{what} has another form")
    if pattern is _ID and len(base64url_decode(value)) != 16:
        raise FormatError("bad-exchange", f"{what} is 16 bytes in base64url")
    return value
