"""The register gate as a process: `python -m app.registers.gate_process`, settings from the environment.

It listens on one Unix socket and reaches out to nobody.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from datetime import UTC, datetime
from typing import Any

from app.errors import CityError
from app.frames import FrameServer, read_token
from app.identity.card_certificate import load_card_trust
from app.identity.card_evidence import OfflineCardChecker
from app.identity.login_provider import read_login_provider
from app.registers.authorisation import read_gate_key
from app.registers.counter import CounterSettings
from app.registers.counter_door import PREFIX, CounterDoor
from app.registers.gate import RegisterGate
from app.registers.gate_door import GateDoor
from app.registers.gate_store import upgrade_gate_store
from app.registers.letters import LetterBox
from app.registers.login_gate import LoginGate
from app.registers.mandates import MandateSettings
from app.registers.release import RecordRelease
from app.registers.store import RegisterStore
from app.settings import GateSettings, read_gate_settings
from app.storage.engine import open_store
from app.zones import Guard
from verifier.fault import log_to_stderr

log = logging.getLogger("akashi.gate")


def utc_now() -> datetime:
    """The wall clock, UTC."""
    return datetime.now(UTC)


def build_gate(settings: GateSettings) -> FrameServer:
    """The gate's server, bound and not yet serving."""
    store = open_store(settings.store)
    upgrade_gate_store(store)
    registers = RecordRelease(RegisterStore(open_store(settings.registers)), settings.city)
    gate = RegisterGate(
        store,
        registers,
        OfflineCardChecker(load_card_trust(settings.jpki_anchors, profile=settings.profile), settings.city),
        read_gate_key(settings.key_file),
        utc_now,
        _build_logins(settings, registers),
        mandates=MandateSettings(
            settings.city, letters=None if settings.letters is None else LetterBox(settings.letters)
        ),
        counter=CounterSettings(settings.profile, settings.counter_code_seconds),
    )
    guard = Guard(settings.traffic)
    door = GateDoor(gate, read_token(settings.token_file), guard=guard, clock=utc_now)
    token = "" if settings.counter_token_file is None else read_token(settings.counter_token_file)
    counter = CounterDoor(gate.counter, token, guard=guard, clock=utc_now)

    def handle(message: dict[str, Any]) -> dict[str, Any]:
        at_counter = str(message.get("op")).startswith(PREFIX)
        return counter.handle(message) if at_counter else door.handle(message)

    return FrameServer(settings.socket, handle)


def _build_logins(settings: GateSettings, registers: RecordRelease) -> LoginGate | None:
    login = settings.login
    if login is None:
        return None
    provider = read_login_provider(login.discovery, login.keys, issuer=login.issuer, profile=settings.profile)
    return LoginGate(provider, login.client_id, registers)


def main() -> int:
    """0 stopped, 2 must not start."""
    log_to_stderr("register gate")
    try:
        server = build_gate(read_gate_settings(os.environ))
    except (CityError, OSError) as error:
        print(f"register gate: {error}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    log.info("register gate ready")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
