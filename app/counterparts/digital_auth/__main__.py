"""`python -m app.counterparts.digital_auth serve …`: run the mock デジタル認証アプリ (模擬/MOCK).

serve --directory DIR      clients.json (form: `clients`); keys and the provider's store are made here
      --cards DIR          mock cards, NAME.card, that can sign in
      --jpki-anchors DIR   the card authorities to trust
      --jpki-address URL   where they tell what is revoked
      [--jpki-token FILE]  this body's credential there
      [--host 127.0.0.1] [--port 8451] [--issuer URL]
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from pathlib import Path

from app.counterparts.digital_auth.clients import parse_clients
from app.counterparts.digital_auth.keys import open_keys
from app.counterparts.digital_auth.provider import REALM, Provider
from app.counterparts.digital_auth.server import DigitalAuthServer, refuse_production
from app.counterparts.digital_auth.sign_in import CardDesk
from app.counterparts.digital_auth.store import ProviderStore
from app.errors import CityError, SettingsError
from app.frames import read_token
from app.identity.card_certificate import load_card_trust
from app.identity.status import jpki_status_client
from verifier.fault import log_to_stderr

DEFAULT_PORT = 8451


def main(arguments: list[str] | None = None) -> int:
    """0 done, 2 must not start."""
    options = _parser().parse_args(arguments)
    profile = os.environ.get("AKASHI_PROFILE")
    try:
        refuse_production(profile)
        if options.issuer is not None and not options.issuer.endswith(REALM):
            raise SettingsError("bad-issuer", f"the issuer ends with {REALM}")
        clients = parse_clients((options.directory / "clients.json").read_bytes())
        keys = open_keys(options.directory / "keys")
        store = ProviderStore(options.directory / "provider.sqlite")
        trust = load_card_trust(options.jpki_anchors, profile="demo")
        credential = "" if options.jpki_token is None else read_token(options.jpki_token)
        desk = CardDesk(options.cards, trust, jpki_status_client(options.jpki_address, credential=credential))
        server = DigitalAuthServer(
            (options.host, options.port),
            lambda issuer: Provider(issuer, clients, keys, store, desk),
            profile=profile,
            issuer=options.issuer,
        )
    except (CityError, OSError, ValueError) as error:
        print(f"mock digital-auth: {error}", file=sys.stderr)
        return 2
    log_to_stderr("mock digital-auth")
    # shutdown waits for serve_forever to end, so it must not run in the thread that serves.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print(f"模擬/MOCK デジタル認証アプリ: {server.provider.issuer}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m app.counterparts.digital_auth", description="模擬/MOCK デジタル認証アプリ"
    )
    serve = parser.add_subparsers(dest="command", required=True).add_parser("serve")
    for name in ("--directory", "--cards", "--jpki-anchors"):
        serve.add_argument(name, type=Path, required=True)
    serve.add_argument("--jpki-address", required=True)
    serve.add_argument("--jpki-token", type=Path)
    serve.add_argument("--host", default="127.0.0.1")
    serve.add_argument("--port", type=int, default=DEFAULT_PORT)
    serve.add_argument("--issuer", help=f"ends with {REALM}; default: where it listens")
    return parser


if __name__ == "__main__":
    sys.exit(main())
