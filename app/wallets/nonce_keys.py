"""The keys of the wallets' challenges: made here, stored before the street door gets one, a new one every day.

The door makes challenges with the newest; the city believes the newest and the ones before until what they made is over.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Final

from sqlalchemy import Engine

from app.storage import wallet_nonces as nonce_store
from app.storage.wallet_nonces import StoredNonceKey
from mobile_api.wallet_nonce import KEY_BYTES, KEY_ID_BYTES, MAX_LIFE, NonceKey, format_nonce_key

ROTATE_AFTER: Final = 86400
KEY_LIFE: Final = 2 * 86400
"""Longer than until the next one: while the city is away for a night, wallets go on."""


class NonceKeys:
    """Keeps a fresh key at the door. `put`: hands one over (`mailbox.put_wallet_nonce_key`)."""

    def __init__(self, store: Engine, *, put: Callable[[bytes], None], clock: Callable[[], datetime]) -> None:
        self._store = store
        self._put = put
        self._clock = clock
        self._has_put = False

    def tend(self) -> bool:
        """Rotate if it is time, hand over what the door has not got; whether something was handed over."""
        at = int(self._clock().timestamp())
        with self._store.begin() as connection:
            nonce_store.drop_nonce_keys(connection, before=at - 2 * MAX_LIFE)
            keys = nonce_store.find_nonce_keys(connection, since=at)
            if not keys or keys[-1].begin_at <= at - ROTATE_AFTER:
                made = StoredNonceKey(
                    secrets.token_bytes(KEY_ID_BYTES).hex(),
                    secrets.token_bytes(KEY_BYTES),
                    at,
                    at + KEY_LIFE,
                    None,
                )
                nonce_store.store_nonce_key(connection, made)
                keys.append(made)
        # Once a process: a door that lost its store gets them again.
        due = [key for key in keys if key.sent_at is None or not self._has_put]
        for key in due:
            document = NonceKey(bytes.fromhex(key.key_id), key.key, key.begin_at, key.end_at)
            self._put(format_nonce_key(document))
            with self._store.begin() as connection:
                nonce_store.mark_key_sent(connection, key.key_id, at=at)
        self._has_put = True
        return bool(due)
