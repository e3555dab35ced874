"""Ask a resident for a certificate: sign the request, store it at the street door, print its QR code.

Without --wallet the request is for the city's own app. With --wallet it is for any wallet that speaks OpenID4VP 1.0, and
with --out as well for both; --json prints one object for programs and implies --wallet.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import sys
from pathlib import Path

from verifier.cli.inputs import add_key_options, read_keys, read_statement, read_time, write_file
from verifier.cli.terminal import VALID, answer, hint, tell
from verifier.cli.wallet_request import WalletRequest, add_wallet_arguments, post_wallet_request
from verifier.door import post_request
from verifier.errors import FormatError, UsageError
from verifier.formats.jose import es256_signer
from verifier.formats.leaf import parse_date
from verifier.formats.submission_request import (
    ALL_ITEMS,
    SALT_SIZE,
    SubmissionRequest,
    build_submission_request,
    encrypt_descriptor,
)
from verifier.key_file import DeskKeys
from verifier.presets import PRESETS, Preset, load_preset
from verifier.qr_image import format_png, format_svg, format_terminal, qr_matrix
from verifier.request_file import RequestFile, format_request_file

DEFAULT_DAYS = 14


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `request`."""
    add_key_options(parser, required=True)
    parser.add_argument("--name", help="who asks, as the resident will read it")
    parser.add_argument("--purpose", help="what for, in one sentence; default: the preset's reason")
    asked = parser.add_mutually_exclusive_group()
    asked.add_argument("--preset", choices=PRESETS, help="ask for what this purpose needs and nothing else")
    asked.add_argument(
        "--item",
        action="append",
        dest="items",
        metavar="PATH",
        help='claim path ("income.total", "income_at_most.1300000") or "page"; repeat it; default: everything',
    )
    parser.add_argument("--keep-until", metavar="DATE", help="last day on which you keep it")
    parser.add_argument("--days", type=int, default=DEFAULT_DAYS, help=f"open for (default {DEFAULT_DAYS})")
    parser.add_argument("--public-url", required=True, metavar="URL", help="address of the street door")
    parser.add_argument("--corporate-number", metavar="DIGITS", help="法人番号, 13 digits")
    parser.add_argument("--statement", type=Path, metavar="FILE", help="the city's recipient statement")
    parser.add_argument("--mail", metavar="ADDRESS", help="address for submissions by mail")
    parser.add_argument("--door", metavar="URL", help="store it at this street door and print the QR code")
    parser.add_argument("--out", type=Path, metavar="FILE", help="request file for the app; images beside it")
    add_wallet_arguments(parser)
    parser.add_argument("--at", metavar="TIME", help="as of this time instead of now")


def run(options: argparse.Namespace) -> int:
    """Build, post, write files and images, print the QR text or, with --json, everything as one object."""
    now = read_time(options.at).replace(microsecond=0)
    if not 1 <= options.days <= 90:
        raise UsageError("bad-days", "a request is open for 1 to 90 days")
    for_wallets = options.wallet or options.json
    if not for_wallets or options.out is not None:
        _check_own(options)
    if options.items and "page" in options.items and for_wallets:
        raise UsageError("bad-item", "a wallet of others holds no page; ask for it without --wallet")
    preset = None if options.preset is None else load_preset(options.preset)
    keys = read_keys(options.key, options.passphrase_file)
    own = None if for_wallets and options.out is None else _own_request(options, preset, keys, now)
    wallet = post_wallet_request(options, preset, keys, now) if for_wallets else None
    if options.json and wallet is not None:
        value = {"request": wallet.address, "link": wallet.link, "result": str(wallet.result), "qr": own}
        answer(json.dumps(value))
    elif wallet is not None:
        _print_wallet(wallet)
    if own is not None and not options.json:
        tell(format_terminal(qr_matrix(own), getattr(sys.stderr, "encoding", None)))
        answer(own)
    return VALID


def _check_own(options: argparse.Namespace) -> None:
    needed = {"--name": options.name, "--keep-until": options.keep_until, "--out": options.out}
    if missing := [name for name, value in needed.items() if value is None]:
        raise UsageError("missing-option", f"the app's request needs {', '.join(missing)} (or use --wallet)")
    if options.out.exists():
        raise UsageError("file-exists", f"{options.out.name} exists and is not overwritten")


def _own_request(
    options: argparse.Namespace, preset: Preset | None, keys: DeskKeys, now: dt.datetime
) -> str | None:
    """The request for the city's own app: its QR text, or None when no door holds it yet."""
    purpose = _purpose(options.purpose, preset)
    signing = keys.for_signing()
    try:
        request = SubmissionRequest(
            name=options.name,
            purpose=purpose,
            items=tuple(options.items or (ALL_ITEMS,)) if preset is None else preset.items(),
            keep_until=parse_date(options.keep_until),
            keys=(keys.encryption.public_key(),),
            signing_key=signing.public_key(),
            upload=options.public_url,
            expires=now + dt.timedelta(days=options.days),
            salt=os.urandom(SALT_SIZE),
            corporate_number=options.corporate_number,
            statement=read_statement(options.statement),
            mail=options.mail,
        )
        descriptor = build_submission_request(request, es256_signer(signing))
    except FormatError as error:
        raise UsageError(error.code, error.detail) from error
    if options.door is None:
        write_file(options.out, format_request_file(RequestFile(descriptor)))
        write_file(options.out.with_suffix(".encrypted"), encrypt_descriptor(descriptor))
        answer(str(options.out))
        hint("without --door there is no QR code yet: the street door gives the request its number")
        return None
    identifier = post_request(options.door, descriptor, signing, now)
    stored = RequestFile(descriptor, identifier, options.public_url)
    write_file(options.out, format_request_file(stored))
    _write_images(options.out, stored.qr_text)
    return stored.qr_text


def _print_wallet(wallet: WalletRequest) -> None:
    _write_images(wallet.result, wallet.address)
    tell(format_terminal(qr_matrix(wallet.address), getattr(sys.stderr, "encoding", None)))
    answer(wallet.address)
    answer(wallet.link)
    answer(str(wallet.result))
    hint("答えは `akashi-verify result` で / fetch the answer with `akashi-verify result FILE --trust DIR`")


def _write_images(beside: Path, text: str) -> None:
    matrix = qr_matrix(text)
    write_file(beside.with_suffix(".svg"), format_svg(matrix, "依頼のQRコード").encode("utf-8"))
    write_file(beside.with_suffix(".png"), format_png(matrix))


def _purpose(given: str | None, preset: Preset | None) -> str:
    if given is not None:
        return given
    if preset is None:
        raise UsageError("purpose-needed", "say what for: --purpose, or --preset with its own reason")
    return preset.reason.ja
