"""Offers: the city puts one, a wallet reads it by reference (OpenID4VCI 1.0 section 4.1.3).

The door has hashes only. The reference is the code itself: who has the address has what the offer would tell, and the
door can only repeat it. So an offer by reference is as secret as one by value, no more.
"""

from __future__ import annotations

import re
from typing import Final

from flask import Response

from mobile_api.city_authentication import check_city
from mobile_api.door import the_door
from mobile_api.errors import Problem
from mobile_api.exchanges import MAX_PROOFS, PROFILES
from mobile_api.forms import hash_text, json_answer, json_object
from mobile_api.limits import read_body
from mobile_api.store import wallet_grants
from mobile_api.store.wallet_grants import Offer
from mobile_api.wallets.oauth_errors import OAuthError, json_reply
from mobile_api.wallets.tickets import until_minute
from mobile_api.wallets.token import PRE_AUTHORIZED, code_hash
from mobile_api.wallets.wallet_door import WalletDoor
from verifier.errors import FormatError
from verifier.formats.encoding import JSON, base64url_decode, base64url_encode, canonical_json, sha256

MAX_FORM: Final = 4096
_GRANT: Final = re.compile(r"[A-Za-z0-9_-]{22}")
_CODE: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_CONFIGURATION: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_MEMBERS: Final = {"code_hash", "tx_code", "profile", "configuration", "copies", "expires"}


def put_offer(grant: str) -> Response:
    """The city: 200 new or the same again, 409 another offer under this grant or code. Raises: Problem."""
    door = the_door()
    body = read_body(MAX_FORM)
    check_city(door.city_keys, door.store, body, "mailbox", door.clock())
    value = json_object(body, _MEMBERS)
    now = int(door.clock().timestamp())
    offer = _read(_grant(grant), value, now, door.settings.wallet_offer_life)
    digest = base64url_encode(sha256(canonical_json(value)))
    with door.store.write() as connection:
        stored = wallet_grants.add_offer(connection, offer, digest)
    if not stored:
        raise Problem(409, "other-offer", "something else lies under this grant or code")
    return json_answer({}, 200)


def delete_offer(grant: str) -> Response:
    """The city: end the offer, its logins and its tokens. 204, also when there is nothing. Raises: Problem."""
    door = the_door()
    check_city(door.city_keys, door.store, b"", "mailbox", door.clock())
    with door.store.write() as connection:
        wallet_grants.end_grant(connection, _grant(grant), door.minute())
    return Response(status=204)


def offer_by_reference(wallets: WalletDoor, profile: str, code: str) -> Response:
    """The offer of this code, while it can be redeemed. 404 else. Raises: OAuthError, Problem."""
    wallets.count_address("offer")
    unknown = OAuthError("invalid_request", "no such offer", status=404)
    if _CODE.fullmatch(code) is None:
        raise unknown
    with wallets.door.store.read() as connection:
        offer = wallet_grants.find_offer(connection, code_hash(code), wallets.door.minute())
    if offer is None or offer.profile != profile:
        raise unknown
    grant: dict[str, JSON] = {"pre-authorized_code": code}
    if offer.tx_code_length is not None:
        grant["tx_code"] = {"input_mode": "numeric", "length": offer.tx_code_length}
    return json_reply(
        {
            "credential_configuration_ids": [offer.configuration],
            "credential_issuer": wallets.issuer(profile),
            "grants": {PRE_AUTHORIZED: grant},
        }
    )


def _read(grant: str, value: dict[str, JSON], now: int, longest: int) -> Offer:
    copies, expires = value["copies"], value["expires"]
    if type(copies) is not int or not 1 <= copies <= MAX_PROOFS:
        raise Problem(400, "bad-offer", f"copies is 1 to {MAX_PROOFS}")
    if type(expires) is not int or not now < expires <= now + longest:
        raise Problem(400, "bad-offer", f"expires is at most {longest} s away")
    if value["profile"] not in PROFILES:
        raise Problem(400, "bad-offer", "unknown profile")
    configuration = value["configuration"]
    if not isinstance(configuration, str) or _CONFIGURATION.fullmatch(configuration) is None:
        raise Problem(400, "bad-offer", "configuration is a short word")
    tx_hash, length = _tx_code(value["tx_code"])
    return Offer(
        grant,
        hash_text(value["code_hash"]),
        tx_hash,
        length,
        str(value["profile"]),
        configuration,
        copies,
        # The store knows whole minutes: the code counts to the end of its last one.
        until_minute(expires),
    )


def _tx_code(value: JSON) -> tuple[str | None, int | None]:
    if value is None:
        return None, None
    if not isinstance(value, dict) or set(value) != {"hash", "input_mode", "length"}:
        raise Problem(400, "bad-offer", "tx_code has hash, input_mode and length")
    length = value["length"]
    if value["input_mode"] != "numeric" or type(length) is not int or not 4 <= length <= 16:
        raise Problem(400, "bad-offer", "a tx_code has 4 to 16 digits")
    return hash_text(value["hash"]), length


def _grant(text: str) -> str:
    try:
        if _GRANT.fullmatch(text) is not None and len(base64url_decode(text)) == 16:
            return text
    except FormatError:
        pass
    raise Problem(404, "bad-id", "not a grant")
