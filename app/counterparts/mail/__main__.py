"""`python -m app.counterparts.mail --directory DIR [--host 127.0.0.1] [--port 8025]`: run the mock mail
server (模擬).
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from pathlib import Path

from app.counterparts.mail.server import MockMailServer
from app.errors import CityError
from verifier.fault import log_to_stderr


def main(arguments: list[str] | None = None) -> int:
    """0 after an orderly end, 2 when it must not or cannot start."""
    parser = argparse.ArgumentParser(
        prog="python -m app.counterparts.mail", description="模擬/MOCK mail server"
    )
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8025)
    options = parser.parse_args(arguments)
    log_to_stderr("mock mail", level=logging.WARNING)
    done = threading.Event()
    try:
        server = MockMailServer(
            options.directory, profile=os.environ.get("AKASHI_PROFILE"), host=options.host, port=options.port
        )
        server.start()
    except (CityError, OSError) as error:
        print(f"mock mail: {error}", file=sys.stderr)
        return 2
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: done.set())
    print(f"模擬/MOCK mail on {options.host}:{options.port}, kept in {options.directory}", flush=True)
    done.wait()
    server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
