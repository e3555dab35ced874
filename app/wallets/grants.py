"""Opening and ending grants. A grant is opened by a card-signed wish (`offers`) or by a login, never by anything else.

Whoever calls `open_grant` has had the register gate authorise the request first: without that no copy is ever signed.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import Connection

from app.issuance.refusals import refusal
from app.storage import certificates as certificate_store
from app.storage import grants as grant_store
from app.storage.copies import drop_copy_documents
from app.storage.copy_drafts import drop_drafts
from app.storage.grants import Grant
from app.storage.outbox import queue_item
from app.wallets.offer_codes import SECRET_BYTES, derive_codes, offer_link
from app.wallets.settings import CONFIGURATION, DOCUMENT_KIND, WalletSettings
from mobile_api.messages import OfferReady, new_message_id
from verifier.formats.encoding import JSON, canonical_json

TOKEN_GRACE: Final = 3600
"""Seconds after an offer's end in which a token got by its code may still be used."""
NO_ACCOUNT: Final = "login-"


def login_account(binding: str) -> str:
    """What stands for the phone in a grant that a login opened (there is none)."""
    return NO_ACCOUNT + binding


def open_grant(
    connection: Connection,
    *,
    binding: str,
    request_id: str,
    profile: str,
    wish_hash: str,
    idempotency_key: str,
    fiscal_year: int,
    copies: int,
    purpose: str,
    evidence: Mapping[str, JSON],
    life: int,
    at: int,
    account: str | None = None,
    message_id: str = "",
    configuration: str = CONFIGURATION,
    document_kind: str = DOCUMENT_KIND,
    has_code: bool = False,
    by_reference: bool = False,
) -> Grant:
    """Store a new grant with what the later steps need. In the transaction that also answers whoever asked.

    binding          the register gate's word for the resident
    request_id       as the gate was asked to open it for `copies` copies
    wish_hash        digest of what was wished (43 characters); idempotency_key: one grant an account and key
    evidence         what showed who it is; kept while the request is under way
    life             seconds in which it can be used, before TOKEN_GRACE
    account          the phone that asked; None after a login
    has_code         whether code and tx_code are to be derived (an offer); a login has none
    """
    grant = Grant(
        grant_id=new_message_id(secrets.token_bytes),
        request_id=request_id,
        account=login_account(binding) if account is None else account,
        binding=binding,
        message_id=message_id,
        idempotency_key=idempotency_key,
        wish_hash=wish_hash,
        document_kind=document_kind,
        fiscal_year=fiscal_year,
        profile=profile,
        configuration=configuration,
        copies=copies,
        secret=secrets.token_bytes(SECRET_BYTES) if has_code else None,
        by_reference=by_reference,
        opened_at=at,
        expires_at=at + life,
        redeem_until=at + life + TOKEN_GRACE,
    )
    grant_store.store_grant(connection, grant)
    certificate_store.store_intake(
        connection,
        request_id,
        purpose=purpose,
        evidence=canonical_json(dict(evidence)).decode("utf-8"),
    )
    return grant


def end_grant(connection: Connection, grant: Grant, *, at: int) -> bool:
    """Nothing leaves on this grant any more; the door ends offer and tokens. False if it had ended before.

    Copies that a wallet already has are not revoked by this: `app.revocation`.
    """
    if not grant_store.end_grant(connection, grant.grant_id, at=at):
        return False
    if grant.holder_jwks is None:
        # No request was made of it: what was kept for one goes.
        certificate_store.drop_artifacts(connection, grant.request_id)
    drop_copy_documents(connection, grant.request_id, at=at)
    drop_drafts(connection, grant.request_id)
    queue_item(connection, kind="offer-end", account=grant.account, item_id=grant.grant_id, body=b"", at=at)
    return True


def offer_of(grant: Grant, wish_hash: str, settings: WalletSettings, *, at: int) -> OfferReady:
    """The offer of a living grant, always the same. Raises Refusal("idempotency" | "offer-over")."""
    if not hmac.compare_digest(grant.wish_hash, wish_hash):
        raise refusal("idempotency")
    if grant.secret is None or grant.ended_at is not None or at >= grant.expires_at:
        raise refusal("offer-over")
    codes = derive_codes(grant.secret)
    expires = datetime.fromtimestamp(grant.expires_at, UTC)
    return OfferReady(offer_link(grant, codes, settings), codes.tx_code, expires)
