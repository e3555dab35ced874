"""`python -m app.counterparts.pin_reset …`: the reset service as a process, and the stations that use it (模擬/MOCK).

    serve     --directory DIR --jpki DIR [--city 992011] [--port 8451]
    delegate  --directory DIR --city 992011 [--off]        the municipality's flag
    reserve   --at URL --card FILE --passwords FILE --camera FILE [--target signature|authentication]
    kiosk     --at URL --card FILE --passwords FILE [--target …]
    counter   --at URL --card FILE --passwords FILE --token FILE --staff NAME --document KIND …
              [--copy-reason TEXT --copy-consent] [--target …]
    records   --directory DIR                              what counters recorded: kinds of documents, no numbers

The passwords file: for `reserve` the password that is still known; for `kiosk` that one, then the new one; for `counter`
the new one. Nothing secret is taken from the command line. The camera file holds a mock picture of 32 bytes in hex.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from app.counterparts.jpki.authority import MockJpki
from app.counterparts.jpki.reader import CardReader
from app.counterparts.jpki.server import refuse_production
from app.counterparts.pin_reset.client import ResetClient
from app.counterparts.pin_reset.face_vendor import FaceVendor
from app.counterparts.pin_reset.server import PinResetServer
from app.counterparts.pin_reset.service import DOCUMENTS, ResetService
from app.counterparts.pin_reset.station import reserve_in_app, reset_at_counter, reset_at_kiosk
from app.counterparts.pin_reset.store import ResetStore
from app.errors import CityError, Refusal
from app.frames import read_token
from app.sealing.key_files import create_token, read_private_key, write_private_key
from verifier.fault import log_to_stderr

DEFAULT_PORT = 8451
DEMO_CITY = "992011"


def main(arguments: list[str] | None = None) -> int:
    """0 done, 1 refused, 2 must not start or cannot be done."""
    options = _parser().parse_args(arguments)
    try:
        refuse_production(os.environ.get("AKASHI_PROFILE"))
        return int(options.act(options))
    except Refusal as no:
        print(f"{no.ja}\n{no.en}", file=sys.stderr)
        return 1
    except (CityError, OSError, ValueError) as error:
        print(f"mock PIN reset: {error}", file=sys.stderr)
        return 2


def open_service(directory: Path, jpki: Path, city: str) -> tuple[ResetService, FaceVendor, str]:
    """Service, vendor and counter token of `directory`, made there first if it is empty."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    key_file, token_file = directory / "vendor.key.pem", directory / "counter.token"
    if not key_file.exists():
        write_private_key(key_file, ec.generate_private_key(ec.SECP256R1()))
    if not token_file.exists():
        create_token(token_file)
    key = read_private_key(key_file)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise CityError("bad-key", "the vendor's key is a P-256 key")
    vendor = FaceVendor(key)
    service = ResetService(
        ResetStore(directory / "pin-reset.sqlite"),
        MockJpki(jpki, now=datetime.now(UTC)),
        vendor.public_key,
        municipality_of=lambda _card: city,
    )
    return service, vendor, read_token(token_file)


def _serve(options: argparse.Namespace) -> int:
    log_to_stderr("mock PIN reset")
    service, vendor, token = open_service(options.directory, options.jpki, options.city)
    server = PinResetServer(
        (options.host, options.port),
        service,
        vendor,
        counter_token=token,
        profile=os.environ.get("AKASHI_PROFILE"),
    )
    # shutdown waits for serve_forever to end, so it must not run in the thread that serves.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print(f"模擬/MOCK PIN reset on {server.base_url}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
    finally:
        server.server_close()
    return 0


def _delegate(options: argparse.Namespace) -> int:
    store = ResetStore(options.directory / "pin-reset.sqlite")
    store.set_delegation(options.city, delegated=not options.off, now=int(datetime.now(UTC).timestamp()))
    print(f"模擬/MOCK {options.city}: {'not delegated' if options.off else 'delegated'}")
    return 0


def _reserve(options: argparse.Namespace) -> int:
    client, (known,) = ResetClient(options.at), _words(options, 1)
    camera = bytes.fromhex(options.camera.read_text("ascii").strip())
    made, expires = reserve_in_app(
        client, client, CardReader(options.card), known, camera, target=options.target
    )
    until = datetime.fromtimestamp(expires, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    print(
        f"予約しました。コンビニのキオスク端末で24時間以内に再設定してください。 / reserved: {made}, until {until}"
    )
    return 0


def _kiosk(options: argparse.Namespace) -> int:
    known, new = _words(options, 2)
    reset_at_kiosk(ResetClient(options.at), CardReader(options.card), known, new, target=options.target)
    print("再設定しました。 / The new password is set.")
    return 0


def _counter(options: argparse.Namespace) -> int:
    (new,) = _words(options, 1)
    reset_at_counter(
        ResetClient(options.at, counter_token=read_token(options.token)),
        CardReader(options.card),
        new,
        target=options.target,
        staff=options.staff,
        documents=options.document,
        copy_reason=options.copy_reason,
        copy_consent=options.copy_consent,
    )
    print("窓口で再設定しました。 / The new password is set at the counter.")
    return 0


def _records(options: argparse.Namespace) -> int:
    for record in ResetStore(options.directory / "pin-reset.sqlite").counter_records():
        at = datetime.fromtimestamp(record.at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        kinds = "、".join(DOCUMENTS[kind] for kind in record.documents.split(","))
        copy = "写しあり (理由と同意あり)" if record.copy_reason else "写しなし"
        print(f"{at} {record.staff} {record.target} {kinds} {copy}")
    return 0


def _words(options: argparse.Namespace, count: int) -> list[str]:
    words = options.passwords.read_text("ascii").split()
    if len(words) != count:
        raise CityError("bad-passwords", f"the file holds {count} passwords, one a line")
    return list(words)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m app.counterparts.pin_reset", description="模擬/MOCK PIN reset"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, act in (
        ("serve", _serve),
        ("delegate", _delegate),
        ("reserve", _reserve),
        ("kiosk", _kiosk),
        ("counter", _counter),
        ("records", _records),
    ):
        command = commands.add_parser(name)
        command.set_defaults(act=act)
        if name in ("serve", "delegate", "records"):
            command.add_argument("--directory", type=Path, required=True)
        else:
            command.add_argument("--at", required=True, metavar="URL")
            command.add_argument("--card", type=Path, required=True)
            command.add_argument("--passwords", type=Path, required=True)
            command.add_argument("--target", choices=("signature", "authentication"), default="signature")
        if name in ("serve", "delegate"):
            command.add_argument("--city", default=DEMO_CITY)
        if name == "serve":
            command.add_argument("--jpki", type=Path, required=True)
            command.add_argument("--host", default="127.0.0.1")
            command.add_argument("--port", type=int, default=DEFAULT_PORT)
        if name == "delegate":
            command.add_argument("--off", action="store_true")
        if name == "reserve":
            command.add_argument("--camera", type=Path, required=True)
        if name == "counter":
            command.add_argument("--token", type=Path, required=True)
            command.add_argument("--staff", required=True)
            command.add_argument("--document", action="append", choices=sorted(DOCUMENTS), default=[])
            command.add_argument("--copy-reason")
            command.add_argument("--copy-consent", action="store_true")
    return parser


if __name__ == "__main__":
    sys.exit(main())
