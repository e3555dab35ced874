"""The signer without its socket: a batch of wishes in, an answer for each out.

A batch is walked in this order, and a crash after any step leaves nothing signed that is not written down:

    1  who asks: version, channel, token
    2  each wish read and checked against the rules of its channel and key (pure)
    3  one transaction: authorisations consumed, checkpoint floor moved
    4  audit lines of all wishes, granted and refused, on disk
    5  the keys sign

After a crash between 3 and 5 an authorisation is used up without a signature: the worker asks the gate for a
new one for the same digest. A repeated batch is therefore refused, never signed twice.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from app.errors import CityError
from app.frames import is_token
from app.sealing.authorisation import verify_authorisation
from app.sealing.city_key import PublicKey
from app.sealing.errors import SignerError
from app.sealing.signer_audit import AuditLog
from app.sealing.signer_rules import (
    CHANNELS,
    MAX_ITEMS,
    AgreeWish,
    NoteWish,
    PublicWish,
    SignWish,
    Wish,
    parse_wish,
)
from app.sealing.signer_settings import ConfiguredKey, SignerSettings
from app.sealing.signer_store import advance_checkpoint, consume_authorisation, has_signed_checkpoint
from verifier.fault import describe_fault
from verifier.formats.encoding import base64_encode, base64url_encode
from verifier.formats.jose import format_jwk

VERSION: Final = 1
_log = logging.getLogger("akashi.signer")


class SignerService:
    """Answers batches. Safe to call from several threads: store and audit order what must be ordered."""

    def __init__(
        self,
        settings: SignerSettings,
        engine: Engine,
        audit: AuditLog,
        clock: Callable[[], datetime],
    ) -> None:
        self._tokens = settings.tokens
        self._origin = settings.origin
        self._gate_key = settings.gate_key
        self._keys = {key.key_id: key for key in settings.keys}
        self._engine = engine
        self._audit = audit
        self._clock = clock

    def handle(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """One request of the socket. Never raises: what goes wrong is the answer of each item."""
        items = message.get("items")
        count = len(items) if isinstance(items, list) and 0 < len(items) <= MAX_ITEMS else 1
        try:
            channel, wanted = self._admit(message)
            answers = self._walk(channel, wanted)
        except SignerError as error:
            answers = [_refusal(error)] * count
        except (SQLAlchemyError, OSError) as error:
            # Store or audit away: nothing is signed, the same batch may come again with new authorisations.
            _log.error("store or audit unavailable: %s", type(error).__name__)
            answers = [_refusal(SignerError("signer-unavailable", "try again later"))] * count
        except Exception as error:
            # A defect of ours must not end the door, and nothing is signed by it.
            _log.error("internal error: %s", describe_fault(error))
            answers = [_refusal(SignerError("internal", "the signer's own fault"))] * count
        return {"v": VERSION, "items": answers}

    def _admit(self, message: Mapping[str, Any]) -> tuple[str, list[Any]]:
        channel = message.get("channel")
        if message.get("v") != VERSION or set(message) != {"v", "channel", "token", "items"}:
            raise SignerError("bad-request", "not a request of version 1")
        # The token is compared also for an unknown channel, so that the answer's time says nothing about
        # names.
        known = channel if isinstance(channel, str) and channel in CHANNELS else CHANNELS[0]
        if not is_token(message.get("token"), self._tokens[known]) or known != channel:
            raise SignerError("unauthenticated", "unknown channel, or wrong token")
        items = message["items"]
        if not isinstance(items, list) or not 0 < len(items) <= MAX_ITEMS:
            raise SignerError("bad-request", f"1 to {MAX_ITEMS} items")
        return known, items

    def _walk(self, channel: str, items: list[Any]) -> list[dict[str, Any]]:
        now = self._clock()
        outcomes = [self._read(channel, item, now) for item in items]
        if any(isinstance(outcome, (SignWish, NoteWish)) for outcome in outcomes):
            with self._engine.begin() as connection:
                outcomes = [self._reserve(connection, outcome, now) for outcome in outcomes]
        at = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        lines = [
            {"at": at, "channel": channel, **_audit_line(o)}
            for o in outcomes
            if not isinstance(o, PublicWish)
        ]
        self._audit.append(lines)
        return [self._answer(outcome) for outcome in outcomes]

    def _read(self, channel: str, item: Any, now: datetime) -> Wish | SignerError:
        try:
            wish = parse_wish(channel, item)
            key = self._keys.get(wish.key_id)
            if key is None:
                raise SignerError("no-such-key", "unknown key id")
            self._check_purpose(wish, key, now)
            return wish
        except SignerError as error:
            return error

    def _check_purpose(self, wish: Wish, key: ConfiguredKey, now: datetime) -> None:
        if isinstance(wish, SignWish):
            if key.purpose != wish.authorisation.purpose:
                raise SignerError("bad-purpose", "the key is for another purpose")
            verify_authorisation(wish.authorisation, self._gate_key, now)
        elif isinstance(wish, AgreeWish) and key.purpose != "envelope":
            raise SignerError("bad-purpose", "only the envelope key agrees")
        elif isinstance(wish, NoteWish) and key.purpose != "checkpoint":
            raise SignerError("bad-purpose", "only the log's key signs notes")
        if isinstance(wish, NoteWish) and wish.checkpoint.origin != self._origin:
            raise SignerError("wrong-origin", "a note of another log")

    def _reserve(
        self, connection: Connection, outcome: Wish | SignerError, now: datetime
    ) -> Wish | SignerError:
        if isinstance(outcome, SignWish):
            if not consume_authorisation(connection, outcome.authorisation, at=int(now.timestamp())):
                return SignerError("authorisation-used", "ask the register gate for a new one")
        elif isinstance(outcome, NoteWish) and outcome.is_receipt:
            if not has_signed_checkpoint(connection, outcome.checkpoint):
                return SignerError("unknown-checkpoint", "a receipt of a checkpoint that was not signed here")
        elif isinstance(outcome, NoteWish) and not advance_checkpoint(connection, outcome.checkpoint):
            return SignerError("not-monotone", "smaller than, or different from, what was signed before")
        return outcome

    def _answer(self, outcome: Wish | SignerError) -> dict[str, Any]:
        if isinstance(outcome, SignerError):
            return _refusal(outcome)
        configured = self._keys[outcome.key_id]
        key = configured.key
        try:
            if isinstance(outcome, SignWish):
                signature = key.sign_digest(outcome.authorisation.digest)
                return {"ok": True, "signature": base64_encode(signature)}
            if isinstance(outcome, AgreeWish):
                return {"ok": True, "z": base64_encode(key.agree(outcome.peer))}
            if isinstance(outcome, NoteWish):
                return {"ok": True, "signature": base64_encode(key.sign_message(outcome.note.encode()))}
            return _public(configured, key.public_key())
        except CityError as error:
            return {"ok": False, "code": error.code, "detail": error.detail}


def _refusal(error: SignerError) -> dict[str, Any]:
    return {"ok": False, "code": error.code, "detail": error.detail}


def _public(configured: ConfiguredKey, key: PublicKey) -> dict[str, Any]:
    jwk: dict[str, Any]
    if isinstance(key, ec.EllipticCurvePublicKey):
        jwk = format_jwk(key)
    else:
        raw = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
        jwk = {"crv": "Ed25519", "kty": "OKP", "x": base64url_encode(raw)}
    certificates = [base64_encode(certificate) for certificate in configured.certificates]
    return {"ok": True, "purpose": configured.purpose, "jwk": jwk, "certificates": certificates}


def _audit_line(outcome: Wish | SignerError) -> dict[str, Any]:
    if isinstance(outcome, SignerError):
        return {"granted": False, "code": outcome.code}
    if isinstance(outcome, SignWish):
        fields = outcome.authorisation
        return {
            "granted": True,
            "op": "sign",
            "key_id": outcome.key_id,
            "purpose": fields.purpose,
            "digest": fields.digest.hex(),
            "request_id": fields.request_id,
            "serial": fields.serial,
            "jti": fields.jti,
        }
    if isinstance(outcome, NoteWish):
        return {
            "granted": True,
            "op": "sign-checkpoint",
            "key_id": outcome.key_id,
            "note": "anchor-receipt" if outcome.is_receipt else "checkpoint",
            "size": outcome.checkpoint.size,
            "root": outcome.checkpoint.root.hex(),
        }
    return {"granted": True, "op": "agree", "key_id": outcome.key_id}
