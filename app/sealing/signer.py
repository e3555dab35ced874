"""The signer process: the only one that opens city keys.

    python -m app.sealing.signer --settings DIR/signer/signer.json

AKASHI_PROFILE must be demo or production. It listens on a Unix socket (mode 0600), has no other port, and
knows no resident: it sees digests, ids, notes of the log and ephemeral public keys. Protocol:
docs/formats/signer-socket.md.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from app.errors import CityError
from app.frames import FrameServer
from app.sealing.key_files import create_key_directory
from app.sealing.signer_audit import AuditLog
from app.sealing.signer_service import SignerService
from app.sealing.signer_settings import SignerSettings, load_signer_settings
from app.sealing.signer_store import upgrade_signer_store
from app.storage.engine import open_store
from verifier.fault import log_to_stderr

_log = logging.getLogger("akashi.signer")


def build_signer(settings: SignerSettings, *, clock: Callable[[], datetime]) -> FrameServer:
    """The server, bound but not yet serving (`serve_forever`). Brings the store up to date first.

    Raises: SettingsInvalidError, KeyUnusableError, OSError.
    """
    create_key_directory(settings.socket.parent)
    engine = open_store(settings.store_url)
    upgrade_signer_store(engine)
    service = SignerService(settings, engine, AuditLog(settings.audit), clock)
    return FrameServer(settings.socket, service.handle)


def main(arguments: list[str] | None = None) -> int:
    """0 stopped, 2 must not start."""
    parser = argparse.ArgumentParser(prog="python -m app.sealing.signer")
    parser.add_argument("--settings", type=Path, required=True)
    options = parser.parse_args(arguments)
    log_to_stderr("signer")
    profile = os.environ.get("AKASHI_PROFILE")
    try:
        settings = load_signer_settings(options.settings, profile=profile)
        server = build_signer(settings, clock=_utc_now)
    except (CityError, OSError) as error:
        print(f"signer: {error}", file=sys.stderr)
        return 2
    mark = " MOCK/模擬 keys" if profile == "demo" else ""
    _log.info("signer ready%s: %s", mark, ", ".join(key.key_id for key in settings.keys))
    # shutdown waits for serve_forever to end, so it must not run in the thread that serves.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()
        settings.socket.unlink(missing_ok=True)
    return 0


def _utc_now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    raise SystemExit(main())
