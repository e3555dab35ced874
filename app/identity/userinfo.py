"""The four attributes (基本4情報) as the login provider signed them, read for the matching door.

    {"sub","name","address","birthdate":"19850315","gender":"1", "iss","aud","iat","exp"}     signed JWT, ES256

Userinfo belongs to one login: its `sub` must be that of the ID token (OpenID Connect Core section 5.3.2), and only signed
userinfo is read, so that the register gate can check it although the worker fetched it. That the real service signs
userinfo is unconfirmed; where it does not, the first binding of a login cannot be made and the card itself is the way in.

Userinfo cannot say which characters are substitutes, as the certificate does. Only the substitute that the 模擬 cards print
(〓, which no name has) is read as one; what the real service sends for a character it lacks is unconfirmed, and any other
substitute fits no record: the person is sent to the counter. Nothing here is stored; no clock, no socket and no key.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, Final

from app.identity.login import (
    CLOCK_SKEW,
    MAX_TOKEN_LIFE,
    Client,
    Login,
    LoginRefused,
    instant,
    verify_signed_claims,
)
from app.identity.login_provider import LoginProvider
from app.registers.card_attributes import CardAttributes, era_date
from app.registers.characters import SUBSTITUTE
from app.registers.match import MAX_ADDRESS, MAX_NAME

ATTRIBUTES: Final = ("name", "address", "birthdate", "gender")
GENDERS: Final = ("1", "2", "3")
_CLAIMS: Final = ("iss", "sub", "aud", "exp", "iat")
_BIRTHDATE: Final = re.compile(r"[0-9]{8}")


def verify_userinfo(
    token: str, login: Login, provider: LoginProvider, client: Client, *, now: datetime
) -> CardAttributes | None:
    """The attributes of the person who logged in; None where the person gave none.

    1. signed by a pinned key, for this client, at most 16 KiB, as an ID token is
    2. `sub` exactly that of the ID token; times whole seconds and within `now`
    3. all four attributes in their form, or none of them

    Raises: LoginRefused.
    """
    claims = verify_signed_claims(token, provider, client, needed=_CLAIMS)  # 1
    subject = claims["sub"]
    if not isinstance(subject, str) or not hmac.compare_digest(subject.encode(), login.subject.encode()):  # 2
        raise LoginRefused("userinfo-subject")
    issued_at, expires_at = instant(claims, "iat"), instant(claims, "exp")
    if now >= expires_at or expires_at - issued_at > MAX_TOKEN_LIFE:
        raise LoginRefused("expired")
    if not login.issued_at - CLOCK_SKEW <= issued_at <= now + CLOCK_SKEW:
        raise LoginRefused("issued-at")
    if not any(name in claims for name in ATTRIBUTES):  # 3
        return None
    return _read_attributes(claims)


def _read_attributes(claims: Mapping[str, Any]) -> CardAttributes:
    name, address, birthdate, gender = (claims.get(member) for member in ATTRIBUTES)
    texts = all(isinstance(value, str) for value in (name, address, birthdate, gender))
    if not texts or gender not in GENDERS or _BIRTHDATE.fullmatch(birthdate) is None:
        raise LoginRefused("attributes")
    if not 0 < len(name) <= MAX_NAME or not 0 < len(address) <= MAX_ADDRESS:
        raise LoginRefused("attributes")
    try:
        day = date(int(birthdate[:4]), int(birthdate[4:6]), int(birthdate[6:]))
    except ValueError as error:
        raise LoginRefused("attributes") from error
    return CardAttributes(
        name=name,
        name_substitutes=_substitutes(name),
        sex=gender,
        birthdate=era_date(day),
        address=address,
        address_substitutes=_substitutes(address),
    )


def _substitutes(text: str) -> str:
    return "".join("1" if char == SUBSTITUTE else "0" for char in text)
