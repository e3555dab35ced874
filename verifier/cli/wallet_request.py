"""The part of `request` that is for wallets of others: OpenID4VP 1.0, by the street door's relay."""

from __future__ import annotations

import argparse
import datetime as dt
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from verifier.cli.inputs import read_statement, read_trust
from verifier.cli.terminal import hint
from verifier.desk_certificate import certificate_path, desk_certificate
from verifier.errors import FormatError, UsageError
from verifier.formats.dcql import ClaimQuery, CredentialQuery, DcqlQuery
from verifier.formats.encoding import base64url_encode
from verifier.formats.jose import es256_signer
from verifier.formats.presentation_request import (
    ID_SIZE,
    RANDOM_SIZE,
    PresentationRequest,
    build_presentation_request,
)
from verifier.formats.submission_request import ALL_ITEMS
from verifier.key_file import DeskKeys
from verifier.presentation_door import post_presentation
from verifier.presentation_file import PendingPresentation, seal_key, write_pending
from verifier.presets import Preset, load_preset

FOLDER_SUFFIX: Final = "-wallet"
DEMO_DOOR: Final = "https://door.mihon.example"
_ONLY: Final = "income_certificate"


@dataclass(frozen=True, slots=True)
class WalletRequest:
    """What was posted: the text of the QR code, the same as an https link, and the result file."""

    address: str
    link: str
    result: Path


def add_wallet_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `request` for wallets of others."""
    group = parser.add_argument_group("wallets of others (OpenID4VP)")
    group.add_argument("--wallet", action="store_true", help="ask any wallet that speaks OpenID4VP 1.0")
    group.add_argument("--json", action="store_true", help="print one JSON object; implies --wallet")
    group.add_argument(
        "--trust", type=Path, metavar="DIR", help="ask for the credential types of these trust lists"
    )
    group.add_argument(
        "--vct", action="append", metavar="URI", help="ask for this type of credential; may be repeated"
    )
    group.add_argument(
        "--result", type=Path, metavar="FILE", help="result file; default: a folder beside the key file"
    )
    group.add_argument(
        "--return-uri", metavar="URL", help="request and wallet on one device: where to go back to"
    )


def post_wallet_request(
    options: argparse.Namespace, preset: Preset | None, keys: DeskKeys, now: dt.datetime
) -> WalletRequest:
    """Sign, keep what opens the answer, then post. Raises: UsageError, SourceError, TrustError, FormatError."""
    # A wallet fetches the request from the door, so it is always left there.
    door = options.door or options.public_url
    signing = keys.for_signing()
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = desk_certificate(certificate_path(options.key), signing.public_key(), now)
    try:
        asked = PresentationRequest(
            certificate=certificate,
            public_url=options.public_url,
            id=_new_id(),
            nonce=base64url_encode(os.urandom(RANDOM_SIZE)),
            state=base64url_encode(os.urandom(RANDOM_SIZE)),
            query=_query(options, preset),
            encryption_key=key.public_key(),
            issued=int(now.timestamp()),
            expires=int((now + dt.timedelta(days=options.days)).timestamp()),
            name=options.name,
            statement=read_statement(options.statement),
            return_uri=options.return_uri,
        )
        request = build_presentation_request(asked, es256_signer(signing))
        made = WalletRequest(asked.wallet_address, asked.link, _result_file(options, asked.id))
    except FormatError as error:
        raise UsageError(error.code, error.detail) from error
    sealed = seal_key(key, keys.encryption.public_key())
    # Before it is posted: an answer to a request whose key was lost could never be opened.
    write_pending(made.result, PendingPresentation(request, sealed, door, str(options.key.resolve())))
    post_presentation(door, request, signing, now)
    return made


def _query(options: argparse.Namespace, preset: Preset | None) -> DcqlQuery:
    types = _types(options)
    if not types and not options.public_url.startswith(DEMO_DOOR):
        hint(
            "the preset's type of credential is the demo city's (模擬/MOCK); name your city's with --trust or --vct"
        )
    if preset is None:
        if not options.items:
            raise UsageError("what-for", "say what is asked for: --preset or --item")
        if options.items == [ALL_ITEMS]:
            preset = load_preset(ALL_ITEMS)
        elif not types:
            raise UsageError("no-type", "with --item name the type of credential: --trust DIR or --vct URI")
        else:
            claims = tuple(ClaimQuery(tuple(item.split("."))) for item in options.items)
            return DcqlQuery((CredentialQuery(_ONLY, types, claims),))
    return preset.for_types(types).query if types else preset.query


def _types(options: argparse.Namespace) -> tuple[str, ...]:
    named = list(options.vct or ())
    if options.trust is not None:
        named += [vct for trust in read_trust(options.trust) for vct in trust.content.vct]
    return tuple(dict.fromkeys(named))


def _result_file(options: argparse.Namespace, identifier: str) -> Path:
    if options.result is not None:
        return Path(options.result)
    folder: Path = options.key.resolve()
    return folder.with_name(folder.stem + FOLDER_SUFFIX) / f"{identifier}.json"


def _new_id() -> str:
    # It becomes a file name that people type: the first bit stays 0, so that it never begins like an option.
    random = os.urandom(ID_SIZE)
    return base64url_encode(bytes([random[0] & 0x7F]) + random[1:])
