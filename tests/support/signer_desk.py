"""A signer for tests: demo PKI in a directory of its own, settings, the gate's key, and requests as the
worker sends them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from app.registers.authorisation import build_authorisation, read_gate_key
from app.sealing.pki import DemoPki
from app.sealing.signer_audit import AuditLog
from app.sealing.signer_service import SignerService
from app.sealing.signer_settings import SignerSettings, load_signer_settings, write_demo_settings
from app.sealing.signer_store import upgrade_signer_store
from app.storage.engine import open_store
from tests.support.sealing_world import ORIGIN, make_pki
from verifier.formats.checkpoint import Checkpoint, format_checkpoint_text

KEY_OF = {"page_seal": "page-seal-1", "credential": "credential-1", "status_list": "status-list-1"}
KEY_OF["statement"] = "statement-1"


@dataclass
class SignerDesk:
    """Everything around one signer. `now` can be moved."""

    directory: Path
    pki: DemoPki
    settings: SignerSettings
    settings_file: Path
    gate_key: Ed25519PrivateKey
    now: datetime

    def service(self) -> SignerService:
        """The signer without a socket, on its own store and audit."""
        engine = open_store(self.settings.store_url)
        upgrade_signer_store(engine)
        return SignerService(self.settings, engine, AuditLog(self.settings.audit), lambda: self.now)

    def authorisation(self, digest: bytes, purpose: str = "page_seal", /, **change: Any) -> dict[str, Any]:
        """As the gate makes it."""
        values = {"request_id": "request-1", "serial": "serial-1", **change}
        return build_authorisation(
            self.gate_key, purpose=purpose, digest=digest, now=self.now, random=os.urandom(16), **values
        ).as_json()

    def sign_item(self, digest: bytes, purpose: str = "page_seal", /, **change: Any) -> dict[str, Any]:
        """A sign item with a fresh authorisation."""
        item = {
            "op": "sign",
            "key_id": KEY_OF[purpose],
            "purpose": purpose,
            "digest": digest.hex(),
            "request_id": "request-1",
            "serial": "serial-1",
        }
        return {**item, "authorisation": self.authorisation(digest, purpose), **change}

    def request(self, *items: Any, channel: Any = "worker", **change: Any) -> dict[str, Any]:
        """A request of one channel with its right token."""
        token = self.settings.tokens["log" if channel == "log" else "worker"]
        return {"v": 1, "channel": channel, "token": token, "items": list(items), **change}


def open_desk(directory: Path) -> SignerDesk:
    """A new desk in `directory`."""
    pki = make_pki(directory / "pki")
    path = write_demo_settings(pki, origin=ORIGIN, runtime=directory / "run")
    settings = load_signer_settings(path, profile="demo")
    gate_key = read_gate_key(pki.directory / "gate" / "authorisation.key.pem")
    return SignerDesk(directory, pki, settings, path, gate_key, datetime.now(UTC).replace(microsecond=0))


def checkpoint_note(size: int, root: bytes = bytes(32), *, origin: str = ORIGIN) -> str:
    """The text of a checkpoint."""
    return format_checkpoint_text(Checkpoint(origin, size, root))


def note_item(note: str) -> dict[str, Any]:
    """A sign-checkpoint item."""
    return {"op": "sign-checkpoint", "key_id": "checkpoint-1", "note": note}
