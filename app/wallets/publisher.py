"""Puts the metadata of wallets to the street door: at the start, and when something of it has changed.

The signed forms are signed by the credential key; the register gate reads them before it authorises that, a few times an
hour. What was made is kept, so that a restart needs no new signature.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import Engine

from app.city_keys import CityKeys
from app.storage.wallet_files import WalletFile, find_file, store_file
from app.wallets.metadata import issuer_metadata, jwt_vc_issuer, metadata_signing_input, type_metadata
from app.wallets.settings import WalletSettings
from verifier.formats.encoding import JSON, base64url_encode, canonical_json, sha256

log = logging.getLogger("akashi.wallets")

SIGNED_LIFE: Final = 30 * 86400
RENEW_AFTER: Final = 7 * 86400
"""A signed form is signed anew long before it ends, so that an outage of days shows nobody an old one."""


class MetadataPublisher:
    """Makes and publishes. `put_public` puts one file (path below the public files, bytes)."""

    def __init__(
        self,
        store: Engine,
        settings: WalletSettings,
        keys: CityKeys,
        *,
        envelope_key: ec.EllipticCurvePublicKey,
        credential_key: ec.EllipticCurvePublicKey,
        certificates: tuple[bytes, ...],
        put_public: Callable[[str, bytes], None],
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._settings = settings
        self._keys = keys
        self._envelope_key = envelope_key
        self._credential_key = credential_key
        self._certificates = certificates
        self._put_public = put_public
        self._clock = clock
        self._published: dict[str, bytes] = {}

    def publish_due(self) -> int:
        """Put what this process has not put yet or what has changed; how many files. Raises UnavailableError, Refusal."""
        settings = self._settings
        files: dict[str, bytes] = {
            "vct.json": canonical_json(type_metadata(settings)),
            "jwt-vc-issuer.json": canonical_json(jwt_vc_issuer(settings, self._credential_key)),
        }
        for profile in settings.profiles:
            metadata = issuer_metadata(settings, profile, self._envelope_key)
            files[f"{profile}.json"] = canonical_json(metadata)
            files[f"{profile}.jwt"] = self._signed(profile, metadata)
        sent = 0
        for name, content in files.items():
            if self._published.get(name) != content:
                self._put_public(f"{settings.city}/wallets/{name}", content)
                self._published[name] = content
                sent += 1
        return sent

    def _signed(self, profile: str, metadata: dict[str, JSON]) -> bytes:
        at = int(self._clock().timestamp())
        path = f"{profile}.jwt"
        digest = sha256(canonical_json([metadata, [base64url_encode(c) for c in self._certificates]])).hex()
        with self._store.begin() as connection:
            known = find_file(connection, path)
        if known is not None and known.digest == digest and at - known.made_at < RENEW_AFTER:
            return known.content
        signing_input = metadata_signing_input(metadata, self._certificates, at=at, life=SIGNED_LIFE)
        signature = self._keys.sign_metadata(signing_input, serial=profile)
        content = signing_input + b"." + base64url_encode(signature).encode("ascii")
        with self._store.begin() as connection:
            store_file(connection, WalletFile(path, digest, content, at))
        log.info("wallet metadata %s signed", profile)
        return content
