"""The recipient statement: the city's register of recipients says who a request comes from.

A compact JWS (ES256, typ akashi-recipient+jwt, kid = thumbprint of the city's statement key) over
{"v":1,"city","name","corporate_number"?,"keys":[thumbprint…],"signing_key":thumbprint,"upload":"https://host",
"iat","exp"}: legal name, 法人番号, thumbprints of the encryption keys and of the key that signs requests.
Without one a phone shows 未登録 and no company name as fact. Whose key signed is checked by the caller
(`verify_recipient_statement` with the key of the trust list).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from verifier.errors import FormatError
from verifier.formats.encoding import JSON, canonical_json
from verifier.formats.jose import Jws, SignDigest, build_jws, parse_jws, parse_thumbprint
from verifier.formats.names import RECIPIENT_STATEMENT_TYP

MAX_STATEMENT_BYTES: Final = 8 << 10
MAX_KEYS: Final = 8
MAX_NAME_LENGTH: Final = 200

_REQUIRED: Final = frozenset({"v", "city", "name", "keys", "signing_key", "upload", "iat", "exp"})


@dataclass(frozen=True, slots=True)
class RecipientStatement:
    """Who a recipient is, in the city's words.

    city (six digits), legal name, keys (thumbprints, 1 to 8), signing_key (thumbprint), upload ("https://host"),
    issued and expires in Unix seconds, corporate_number (13 digits) or None.
    """

    city: str
    name: str
    keys: tuple[str, ...]
    signing_key: str
    upload: str
    issued: int
    expires: int
    corporate_number: str | None = None


def build_recipient_statement(statement: RecipientStatement, *, kid: str, sign: SignDigest) -> bytes:
    """The signed statement; `kid` and `sign` belong to the city's statement key. Raises: FormatError."""
    payload: dict[str, JSON] = {
        "v": 1,
        "city": statement.city,
        "name": statement.name,
        "keys": list(statement.keys),
        "signing_key": statement.signing_key,
        "upload": statement.upload,
        "iat": statement.issued,
        "exp": statement.expires,
    }
    if statement.corporate_number is not None:
        payload["corporate_number"] = statement.corporate_number
    _statement(payload)
    return build_jws({"typ": RECIPIENT_STATEMENT_TYP, "kid": kid}, canonical_json(payload), sign)


def parse_recipient_statement(data: bytes) -> tuple[RecipientStatement, Jws]:
    """Take a statement apart, unverified. Raises: LimitError, FormatError."""
    jws = parse_jws(data, typ=RECIPIENT_STATEMENT_TYP, max_bytes=MAX_STATEMENT_BYTES)
    return _statement(jws.payload_object()), jws


def verify_recipient_statement(
    data: bytes, key: ec.EllipticCurvePublicKey, *, city: str, now: int
) -> RecipientStatement:
    """The statement, if `key` (the city's statement key) signed it for `city` and it is in force at `now`.

    `now` in Unix seconds. Raises: LimitError, FormatError.
    """
    statement, jws = parse_recipient_statement(data)
    jws.verify(key)
    if statement.city != city:
        raise FormatError("other-city", "the statement is of another city")
    if not statement.issued <= now < statement.expires:
        raise FormatError("statement-expired", "the statement is not in force")
    return statement


def check_upload(value: JSON) -> str:
    """`value`, if it is "https://" and a host (and port), nothing more. Raises: FormatError("bad-upload")."""
    if not isinstance(value, str) or not value.startswith("https://") or len(value) > MAX_NAME_LENGTH:
        raise FormatError("bad-upload", "upload is https:// and a host")
    host = value.removeprefix("https://")
    if not host or not all(char.isascii() and (char.isalnum() or char in ".-:") for char in host):
        raise FormatError("bad-upload", "upload is https:// and a host")
    return value


def check_corporate_number(value: JSON) -> str:
    """`value`, if it is a 法人番号: 13 digits with the right check digit (first digit; 法人番号令 art. 2).

    Raises: FormatError("bad-corporate-number").
    """
    if not isinstance(value, str) or len(value) != 13 or not value.isascii() or not value.isdigit():
        raise FormatError("bad-corporate-number", "13 digits expected")
    weighted = sum(int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(value[1:])))
    if int(value[0]) != 9 - weighted % 9:
        raise FormatError("bad-corporate-number", "wrong check digit")
    return value


def _statement(payload: dict[str, JSON]) -> RecipientStatement:
    if not _REQUIRED <= set(payload) <= _REQUIRED | {"corporate_number"}:
        raise FormatError("bad-recipient-statement", "wrong members")
    city, name, keys = payload["city"], payload["name"], payload["keys"]
    if payload["v"] != 1 or payload["v"] is True:
        raise FormatError("bad-recipient-statement", "unknown version")
    if not isinstance(city, str) or len(city) != 6 or not city.isascii() or not city.isdigit():
        raise FormatError("bad-recipient-statement", "city is a six-digit code")
    if not isinstance(name, str) or not 1 <= len(name) <= MAX_NAME_LENGTH:
        raise FormatError("bad-recipient-statement", "name is short text")
    if not isinstance(keys, list) or not 1 <= len(keys) <= MAX_KEYS:
        raise FormatError("bad-recipient-statement", f"keys holds 1 to {MAX_KEYS} thumbprints")
    times = (payload["iat"], payload["exp"])
    if not all(isinstance(t, int) and not isinstance(t, bool) and 0 <= t < 1 << 40 for t in times):
        raise FormatError("bad-recipient-statement", "iat and exp are times")
    number = payload.get("corporate_number")
    return RecipientStatement(
        city=city,
        name=name,
        keys=tuple(parse_thumbprint(key) for key in keys),
        signing_key=parse_thumbprint(payload["signing_key"]),
        upload=check_upload(payload["upload"]),
        issued=times[0],
        expires=times[1],
        corporate_number=None if "corporate_number" not in payload else check_corporate_number(number),
    )
