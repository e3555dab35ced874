"""Ask a resident for a certificate: sign the request, store it at the street door, print its QR code."""

from __future__ import annotations

import argparse
import datetime as dt
import os
import sys
from pathlib import Path

from verifier.cli.inputs import add_key_options, read_file, read_keys, read_time, write_file
from verifier.cli.terminal import VALID, answer, hint, tell
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
from verifier.presets import PRESETS, Preset, load_preset
from verifier.qr_image import format_png, format_svg, format_terminal, qr_matrix
from verifier.request_file import RequestFile, format_request_file

DEFAULT_DAYS = 14


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `request`."""
    add_key_options(parser, required=True)
    parser.add_argument("--name", required=True, help="who asks, as the resident will read it")
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
    parser.add_argument("--keep-until", required=True, metavar="DATE", help="last day on which you keep it")
    parser.add_argument("--days", type=int, default=DEFAULT_DAYS, help=f"open for (default {DEFAULT_DAYS})")
    parser.add_argument("--public-url", required=True, metavar="URL", help="address of the street door")
    parser.add_argument("--corporate-number", metavar="DIGITS", help="法人番号, 13 digits")
    parser.add_argument("--statement", type=Path, metavar="FILE", help="the city's recipient statement")
    parser.add_argument("--mail", metavar="ADDRESS", help="address for submissions by mail")
    parser.add_argument("--door", metavar="URL", help="store it at this street door and print the QR code")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="request file; images beside it"
    )
    parser.add_argument("--at", metavar="TIME", help="as of this time instead of now")


def run(options: argparse.Namespace) -> int:
    """Build, post, write the request file and images, print the QR text."""
    now = read_time(options.at).replace(microsecond=0)
    if options.out.exists():
        raise UsageError("file-exists", f"{options.out.name} exists and is not overwritten")
    if not 1 <= options.days <= 90:
        raise UsageError("bad-days", "a request is open for 1 to 90 days")
    preset = None if options.preset is None else load_preset(options.preset)
    purpose = _purpose(options.purpose, preset)
    keys = read_keys(options.key, options.passphrase_file)
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
            statement=None if options.statement is None else _text(options.statement),
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
        return VALID
    identifier = post_request(options.door, descriptor, signing, now)
    stored = RequestFile(descriptor, identifier, options.public_url)
    write_file(options.out, format_request_file(stored))
    matrix = qr_matrix(stored.qr_text)
    write_file(options.out.with_suffix(".svg"), format_svg(matrix, "依頼のQRコード").encode("utf-8"))
    write_file(options.out.with_suffix(".png"), format_png(matrix))
    tell(format_terminal(matrix, getattr(sys.stderr, "encoding", None)))
    answer(stored.qr_text)
    return VALID


def _purpose(given: str | None, preset: Preset | None) -> str:
    if given is not None:
        return given
    if preset is None:
        raise UsageError("purpose-needed", "say what for: --purpose, or --preset with its own reason")
    return preset.reason.ja


def _text(path: Path) -> str:
    try:
        return read_file(path).decode("ascii").strip()
    except UnicodeDecodeError as error:
        raise UsageError("bad-statement", f"{path.name} is not a statement") from error
