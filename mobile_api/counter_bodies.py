"""What the counter's QR code says, and the message by which a phone without a card registers with it (模擬/MOCK).

    https://door.mihon.example/c#k=<22 characters base64url>

The part after `#` never reaches a server, so opening the link gives the code to nobody; the phone sends it to the city
inside an encrypted envelope. It registers one demonstration resident once. docs/formats/counter-code.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from mobile_api.body_fields import Codec, matching, members, text
from verifier.errors import FormatError
from verifier.formats.encoding import JSON, base64url_decode
from verifier.formats.jose import format_jwk, parse_jwk

MAX_QR: Final = 200
CODE_BYTES: Final = 16
_CODE: Final = re.compile(r"[A-Za-z0-9_-]{22}")


@dataclass(frozen=True, slots=True)
class RegisterByCode:
    """Bind a demonstration resident to this device. `code`: 16 random bytes as base64url, from the counter's QR code."""

    signing_key: ec.EllipticCurvePublicKey
    encryption_key: ec.EllipticCurvePublicKey
    code: str


def format_counter_qr(public_url: str, code: str) -> str:
    """The text of the QR code. Raises: FormatError for a code of another form."""
    return f"{public_url}/c#k={_code(code)}"


def parse_counter_qr(qr: str, public_url: str) -> str:
    """The code in the text of a QR code of this street door. Raises: FormatError("bad-counter-qr")."""
    head, _, code = qr.strip()[:MAX_QR].partition("#k=")
    if head != f"{public_url}/c":
        raise FormatError("bad-counter-qr", "not a QR code of this city's counter")
    try:
        return _code(code)
    except FormatError as error:
        raise FormatError("bad-counter-qr", "not a QR code of this city's counter") from error


def _code(value: JSON) -> str:
    code = matching(_CODE, value, "code")
    if len(base64url_decode(code)) != CODE_BYTES:
        raise FormatError("bad-body", "a code is 16 bytes in base64url")
    return code


def _format(body: RegisterByCode) -> JSON:
    return {
        "code": body.code,
        "encryption_jwk": format_jwk(body.encryption_key),
        "signing_jwk": format_jwk(body.signing_key),
    }


def _parse(value: JSON) -> RegisterByCode:
    body = members(value, {"signing_jwk", "encryption_jwk", "code"})
    return RegisterByCode(
        parse_jwk(body["signing_jwk"]), parse_jwk(body["encryption_jwk"]), _code(text(body["code"], 22))
    )


DEVICE_CODECS: Final = (Codec("register_by_code", RegisterByCode, _format, _parse),)
