"""`/nonce`: a fresh challenge for key proofs (OpenID4VCI 1.0 section 7). Writes nothing; used up where it is shown."""

from __future__ import annotations

from flask import Response

from mobile_api.wallets.oauth_errors import json_reply
from mobile_api.wallets.wallet_door import WalletDoor


def nonce(wallets: WalletDoor, profile: str) -> Response:
    """→ {c_nonce}, and a challenge for DPoP in the header. For everybody; the body is not looked at."""
    wallets.count_address("nonce")
    life = wallets.door.settings.wallet_nonce_life
    wallets.metadata(profile)
    headers = {"DPoP-Nonce": wallets.nonce_keys.make(life, dpop=True)} if profile == "p2" else {}
    return json_reply({"c_nonce": wallets.nonce_keys.make(life)}, headers=headers)
