"""Make the desk's key file (two P-256 keys), the certificate for wallets of others beside it, and print the public halves.

The certificate says nothing about who somebody is (`verifier.desk_certificate`): that is the city's register of recipients,
which needs what is printed here.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from verifier.cli.inputs import read_passphrase, read_time
from verifier.cli.terminal import VALID, answer, hint
from verifier.desk_certificate import certificate_path, desk_certificate
from verifier.errors import UsageError
from verifier.formats.jose import format_jwk, thumbprint
from verifier.formats.presentation_request import certificate_client_id
from verifier.key_file import format_desk_keys, generate_desk_keys, write_key_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `keygen`."""
    parser.add_argument("file", type=Path, help="the key file to make; an existing one is never overwritten")
    parser.add_argument("--passphrase", action="store_true", help="ask for a passphrase that protects it")
    parser.add_argument("--passphrase-file", type=Path, metavar="FILE", help="first line = passphrase")


def run(options: argparse.Namespace) -> int:
    """Write the files, print the public halves as JSON."""
    passphrase = None
    if options.passphrase or options.passphrase_file is not None:
        passphrase = read_passphrase(options.passphrase_file, "New passphrase: ")
        if not passphrase:
            raise UsageError("passphrase", "an empty passphrase protects nothing")
        if options.passphrase_file is None and read_passphrase(None, "Again: ") != passphrase:
            raise UsageError("passphrase", "the two passphrases differ")
    certificate_file = certificate_path(options.file)
    if certificate_file.exists():
        raise UsageError("file-exists", f"{certificate_file.name} exists and is not overwritten")
    keys = generate_desk_keys()
    write_key_file(options.file, format_desk_keys(keys, passphrase))
    signing = keys.for_signing().public_key()
    certificate = desk_certificate(certificate_file, signing, read_time(None))
    public = {
        "keys": [keys.kid],
        "signing_key": thumbprint(signing),
        "encryption_jwk": format_jwk(keys.encryption.public_key()),
        "signing_jwk": format_jwk(signing),
        "client_id": certificate_client_id(certificate),
    }
    answer(json.dumps(public, indent=1))
    hint("keep a copy of the key file in a safe place: what was sent to it opens with nothing else")
    return VALID
