"""A wallet's key proofs, checked by the city whatever the street door said: challenge used up first, then everything else.

The challenge is consumed in the city's own store before a signature is looked at: of two questions with the same one at
most one goes on, whichever is good. Rules of the proofs themselves: `mobile_api.key_proof`, shared with the door.
"""

from __future__ import annotations

import hmac
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from app.storage import wallet_nonces as nonce_store
from app.wallets.answers import DeniedError
from app.wallets.exchanges import WalletDesk
from mobile_api.exchanges import MAX_PROOF, Question
from mobile_api.key_proof import MAX_NONCE, verify_key_proofs
from mobile_api.wallet_nonce import MAX_LIFE, NonceKey, check_nonce, nonce_digest
from verifier.errors import FormatError
from verifier.formats.jose import parse_jws
from verifier.formats.names import KEY_PROOF_TYP

KEEP_USED: Final = 60
"""Seconds for which a used challenge is remembered after its end: clocks of the city's machines may differ by them."""


def check_proofs(
    desk: WalletDesk, question: Question, proofs: tuple[str, ...]
) -> tuple[ec.EllipticCurvePublicKey, ...]:
    """The keys that the wallet holds, one a proof, in order. Raises: DeniedError("invalid_nonce" | "invalid_proof")."""
    nonce = use_nonce(desk, question, proofs[0])
    profile = question.profile
    try:
        checked = verify_key_proofs(
            proofs,
            audience=desk.settings.issuer(profile),
            now=desk.clock(),
            anonymous=profile == "p1",
            attesters=desk.settings.providers,
            attestation_required=profile == "p2",
        )
    except FormatError as error:
        raise DeniedError("invalid_proof", f"key proof: {error.code}") from error
    if not hmac.compare_digest(checked.nonce.encode(), nonce.encode()):
        raise DeniedError("invalid_proof", "the proofs of one request carry the same nonce")
    return checked.keys


def use_nonce(desk: WalletDesk, question: Question, proof: str) -> str:
    """Use up the challenge that this proof carries; the same exchange, taken again, may. Raises: DeniedError."""
    nonce = _peek_nonce(proof)
    at = desk.at
    try:
        with desk.store.begin() as connection:
            stored = nonce_store.find_nonce_keys(connection, since=at - MAX_LIFE)
            keys = [NonceKey(bytes.fromhex(k.key_id), k.key, k.begin_at, k.end_at) for k in stored]
            expires_at = check_nonce(nonce, keys, at)
            is_ours = nonce_store.consume_wallet_nonce(
                connection, nonce_digest(nonce), exchange=question.exchange, expires_at=expires_at + KEEP_USED
            )
    except FormatError as error:
        raise DeniedError("invalid_nonce", f"nonce: {error.code}; get a new one") from error
    if not is_ours:
        raise DeniedError("invalid_nonce", "the nonce was used before; get a new one")
    return nonce


def _peek_nonce(proof: str) -> str:
    try:
        claims = parse_jws(proof, typ=KEY_PROOF_TYP, max_bytes=MAX_PROOF).payload_object()
    except FormatError as error:
        raise DeniedError("invalid_proof", f"key proof: {error.code}") from error
    nonce = claims.get("nonce")
    if not isinstance(nonce, str) or not 1 <= len(nonce) <= MAX_NONCE:
        raise DeniedError("invalid_proof", "a proof carries the nonce of the nonce endpoint")
    return nonce
