"""`/notification`: what the wallet did with its credentials (OpenID4VCI 1.0 section 11). Nothing relies on it."""

from __future__ import annotations

import re
from typing import Final

from flask import Response, request

from mobile_api.exchanges import EVENTS, Denied, Noted, NotificationQuestion
from mobile_api.limits import read_body
from mobile_api.wallets.access import authorize_request
from mobile_api.wallets.answers import denial
from mobile_api.wallets.oauth_errors import OAuthError, away
from mobile_api.wallets.wallet_door import WalletDoor
from verifier.errors import FormatError
from verifier.formats.encoding import parse_json

MAX_REQUEST: Final = 8 << 10
_HANDLE: Final = re.compile(r"[A-Za-z0-9_-]{16,64}")


def notification(wallets: WalletDoor, profile: str) -> Response:
    """Token, {notification_id, event} → 204, also again. The description for people is not kept. Raises: OAuthError."""
    wallets.count_address("credential")
    metadata = wallets.metadata(profile)
    access = authorize_request(wallets, profile, wallets.url(profile, "notification"))
    asked = wallets.desk.ask(
        metadata,
        profile,
        _question(),
        grant=access.grant,
        dpop=access.key_hash,
        wait=wallets.door.settings.wallet_wait,
        marks=access.marks,
    )
    match asked.answer:
        case Noted():
            return Response(status=204)
        case Denied():
            raise denial(asked.answer)
        case _:
            raise away()


def _question() -> NotificationQuestion:
    bad = OAuthError("invalid_notification_request", "notification_id and event are expected")
    if request.mimetype != "application/json":
        raise bad
    body = read_body(MAX_REQUEST)
    try:
        value = parse_json(body, max_bytes=MAX_REQUEST)
    except FormatError:
        raise bad from None
    if not isinstance(value, dict) or value.get("event") not in EVENTS:
        raise bad
    identifier = value.get("notification_id")
    if not isinstance(identifier, str):
        raise bad
    if _HANDLE.fullmatch(identifier) is None:
        raise OAuthError("invalid_notification_id", "no such notification")
    return NotificationQuestion(identifier, str(value["event"]))
