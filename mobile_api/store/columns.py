"""The allow-list of the street door's store: every column and the one kind of content it may hold.

A test compares this table with the schema column by column; a column that is not here does not get in.
There is no kind for a name, an address, a figure, a card number or a mail address, and none for a clock
finer than a minute. What an employer asks of a wallet of others is readable here, because the wallet has to read it
without a secret: it says who asks and for which claims, never anything of a resident (docs/decisions/0021).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Content(StrEnum):
    """What a column may hold."""

    RANDOM_ID = "random id"
    PUBLIC_KEY = "public key made for this door"
    HASH = "hash of a random value or of ciphertext"
    CIPHERTEXT = "ciphertext"
    PUBLIC_REQUEST = "signed public request of a recipient, nothing of a resident"
    MINUTE = "coarse time (minute)"
    COUNTER = "counter"
    WORD = "one of a few words that are the same for everybody"
    NONCE_KEY = "key that makes challenges and opens nothing"


ALLOWED_COLUMNS: Final[dict[tuple[str, str], Content]] = {
    ("accounts", "account"): Content.RANDOM_ID,
    ("accounts", "device_key"): Content.PUBLIC_KEY,
    ("accounts", "device_key_hash"): Content.HASH,
    ("accounts", "answer_number"): Content.COUNTER,
    ("accounts", "created_minute"): Content.MINUTE,
    ("nonces", "position"): Content.COUNTER,
    ("nonces", "nonce"): Content.RANDOM_ID,
    ("nonces", "added_minute"): Content.MINUTE,
    ("envelopes", "position"): Content.COUNTER,
    ("envelopes", "message_id"): Content.RANDOM_ID,
    ("envelopes", "account"): Content.RANDOM_ID,
    ("envelopes", "body"): Content.CIPHERTEXT,
    ("envelopes", "body_hash"): Content.HASH,
    ("envelopes", "received_minute"): Content.MINUTE,
    ("answers", "account"): Content.RANDOM_ID,
    ("answers", "message_id"): Content.RANDOM_ID,
    ("answers", "answer_number"): Content.COUNTER,
    ("answers", "body"): Content.CIPHERTEXT,
    ("answers", "stored_minute"): Content.MINUTE,
    ("packages", "account"): Content.RANDOM_ID,
    ("packages", "package_id"): Content.RANDOM_ID,
    ("packages", "body"): Content.CIPHERTEXT,
    ("packages", "stored_minute"): Content.MINUTE,
    ("packages", "fetched_minute"): Content.MINUTE,
    ("used_tokens", "token_hash"): Content.HASH,
    ("used_tokens", "until_minute"): Content.MINUTE,
    ("requests", "request_id"): Content.RANDOM_ID,
    ("requests", "desk_key"): Content.PUBLIC_KEY,
    ("requests", "body"): Content.CIPHERTEXT,
    ("requests", "body_hash"): Content.HASH,
    ("requests", "upload_token_hash"): Content.HASH,
    ("requests", "mail_hash"): Content.HASH,
    ("requests", "created_minute"): Content.MINUTE,
    ("requests", "expires_minute"): Content.MINUTE,
    ("presentations", "presentation_id"): Content.RANDOM_ID,
    ("presentations", "desk_key"): Content.PUBLIC_KEY,
    ("presentations", "body"): Content.PUBLIC_REQUEST,
    ("presentations", "created_minute"): Content.MINUTE,
    ("presentations", "expires_minute"): Content.MINUTE,
    ("presentations", "answer"): Content.CIPHERTEXT,
    ("presentations", "answer_hash"): Content.HASH,
    ("presentations", "code_hash"): Content.HASH,
    ("presentations", "answered_minute"): Content.MINUTE,
    ("presentations", "fetched_minute"): Content.MINUTE,
    ("submissions", "receipt"): Content.RANDOM_ID,
    ("submissions", "request_id"): Content.RANDOM_ID,
    ("submissions", "body"): Content.CIPHERTEXT,
    ("submissions", "body_hash"): Content.HASH,
    ("submissions", "withdraw_hash"): Content.HASH,
    ("submissions", "received_minute"): Content.MINUTE,
    ("submissions", "fetched_minute"): Content.MINUTE,
    ("wallet_offers", "grant_id"): Content.RANDOM_ID,
    ("wallet_offers", "code_hash"): Content.HASH,
    # Six digits hashed with the grant: whoever has the store can try them all, while the code lives.
    ("wallet_offers", "tx_code_hash"): Content.HASH,
    ("wallet_offers", "tx_code_length"): Content.COUNTER,
    ("wallet_offers", "attempts"): Content.COUNTER,
    ("wallet_offers", "profile"): Content.WORD,
    ("wallet_offers", "configuration"): Content.WORD,
    ("wallet_offers", "copies"): Content.COUNTER,
    ("wallet_offers", "body_hash"): Content.HASH,
    ("wallet_offers", "expires_minute"): Content.MINUTE,
    ("wallet_offers", "used_minute"): Content.MINUTE,
    ("wallet_offers", "ended_minute"): Content.MINUTE,
    ("wallet_tokens", "token_hash"): Content.HASH,
    ("wallet_tokens", "grant_id"): Content.RANDOM_ID,
    ("wallet_tokens", "profile"): Content.WORD,
    ("wallet_tokens", "key_hash"): Content.HASH,
    ("wallet_tokens", "client_hash"): Content.HASH,
    ("wallet_tokens", "code_hash"): Content.HASH,
    ("wallet_tokens", "until_minute"): Content.MINUTE,
    ("wallet_sessions", "session"): Content.RANDOM_ID,
    ("wallet_sessions", "request_hash"): Content.HASH,
    ("wallet_sessions", "cookie_hash"): Content.HASH,
    ("wallet_sessions", "code_hash"): Content.HASH,
    ("wallet_sessions", "client_hash"): Content.HASH,
    ("wallet_sessions", "key_hash"): Content.HASH,
    ("wallet_sessions", "challenge_hash"): Content.HASH,
    ("wallet_sessions", "redirect_hash"): Content.HASH,
    ("wallet_sessions", "configuration"): Content.WORD,
    ("wallet_sessions", "body"): Content.CIPHERTEXT,
    ("wallet_sessions", "grant_id"): Content.RANDOM_ID,
    ("wallet_sessions", "used_minute"): Content.MINUTE,
    ("wallet_sessions", "until_minute"): Content.MINUTE,
    ("wallet_exchanges", "position"): Content.COUNTER,
    ("wallet_exchanges", "exchange"): Content.RANDOM_ID,
    ("wallet_exchanges", "body"): Content.CIPHERTEXT,
    ("wallet_exchanges", "reply"): Content.CIPHERTEXT,
    ("wallet_exchanges", "waiting"): Content.COUNTER,
    ("wallet_exchanges", "created_minute"): Content.MINUTE,
    ("wallet_transactions", "transaction_hash"): Content.HASH,
    ("wallet_transactions", "grant_id"): Content.RANDOM_ID,
    ("wallet_transactions", "until_minute"): Content.MINUTE,
    ("wallet_nonce_keys", "key_id"): Content.RANDOM_ID,
    ("wallet_nonce_keys", "nonce_key"): Content.NONCE_KEY,
    ("wallet_nonce_keys", "begin_minute"): Content.MINUTE,
    ("wallet_nonce_keys", "end_minute"): Content.MINUTE,
}
