"""Start the trust services (模擬/MOCK), or revoke a certificate.

python -m app.counterparts.trust_services serve  --directory DIR [--host 127.0.0.1] [--port 8318]
python -m app.counterparts.trust_services revoke --directory DIR --serial HEX --reason keyCompromise
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

from app.counterparts.trust_services.authority import revoke
from app.counterparts.trust_services.server import build_server
from app.errors import CityError
from app.sealing.pki import load_demo_pki
from verifier.fault import log_to_stderr

DEFAULT_PORT = 8318


def main(arguments: list[str] | None = None) -> int:
    """0 done, 2 must not start or cannot be done."""
    options = _parser().parse_args(arguments)
    try:
        pki = load_demo_pki(options.directory)
        if options.command == "revoke":
            entry = revoke(pki, int(options.serial, 16), options.reason, datetime.now(UTC))
            print(f"MOCK/模擬 revoked {entry.serial:x} at {entry.at:%Y-%m-%dT%H:%M:%SZ}")
            return 0
        server = build_server(
            pki, profile=os.environ.get("AKASHI_PROFILE"), host=options.host, port=options.port
        )
    except (CityError, ValueError, OSError) as error:
        print(f"trust services: {error}", file=sys.stderr)
        return 2
    log_to_stderr("trust services")
    # shutdown waits for serve_forever to end, so it must not run in the thread that serves.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    host, port = server.server_address[:2]
    print(f"MOCK/模擬 trust services on http://{host}:{port} (/tsa /ocsp /crl/…)", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m app.counterparts.trust_services")
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="serve on loopback")
    serve.add_argument("--host", default="127.0.0.1")
    serve.add_argument("--port", type=int, default=DEFAULT_PORT)
    withdraw = commands.add_parser("revoke", help="revoke a certificate of the demo PKI")
    withdraw.add_argument("--serial", required=True, help="hexadecimal")
    withdraw.add_argument("--reason", default="superseded", help="as RFC 5280 writes it")
    for command in (serve, withdraw):
        command.add_argument("--directory", type=Path, required=True, help="of the demo PKI")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
