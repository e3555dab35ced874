"""`akashi-verify`: the employer's command line, one module for each command.

Exit codes: 0 valid or done, 1 not valid or refused, 2 wrong use, 3 could not be determined (try later).
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence
from typing import Final

from verifier.cli.terminal import NOT_VALID, UNDETERMINED, USAGE, hint, prepare_streams, tell
from verifier.errors import AkashiVerifierError, SourceError, TrustError, UsageError

COMMANDS: Final = {
    "verify": "check a file and give one verdict",
    "verify-qr": "check the text of the code printed on a page",
    "open": "decrypt a package without checking it",
    "request": "ask a resident for a certificate",
    "result": "fetch and check what a wallet of others has answered",
    "inbox": "fetch what residents have submitted",
    "trust": "manage the trust lists (add, show, update)",
    "audit": "read a whole log and recompute it",
    "keygen": "make the desk's key file",
    "serve": "open the check page on this computer",
}
_MODULES: Final = {name: f"verifier.cli.{name.replace('-', '_')}_command" for name in COMMANDS}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; answers the exit code."""
    prepare_streams()
    parser = argparse.ArgumentParser(
        prog="akashi-verify",
        description="証明書を確かめる / Check akashi certificates.",
        epilog="exit codes: 0 valid, 1 not valid, 2 wrong use, 3 undetermined",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, summary in COMMANDS.items():
        module = importlib.import_module(_MODULES[name])
        module.add_arguments(commands.add_parser(name, help=summary, description=module.__doc__))
    try:
        options = parser.parse_args(arguments)
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else USAGE
    try:
        result: int = importlib.import_module(_MODULES[options.command]).run(options)
        return result
    except UsageError as error:
        tell(f"akashi-verify: {error}")
        return USAGE
    except SourceError as error:
        tell(f"akashi-verify: {error}")
        hint("nothing is decided by this; try again later")
        return UNDETERMINED
    except TrustError as error:
        tell(f"akashi-verify: {error}")
        return USAGE if error.code == "no-trust" else NOT_VALID
    except AkashiVerifierError as error:
        tell(f"akashi-verify: {error}")
        return NOT_VALID
    except KeyboardInterrupt:
        tell("akashi-verify: interrupted")
        return USAGE
    except Exception as error:
        # The last resort of a tool for people: no traceback, no data, and never a verdict.
        tell(f"akashi-verify: internal error ({type(error).__name__}); this is a defect of the program")
        return UNDETERMINED
