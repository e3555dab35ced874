"""`akashi`: every command of the city's side, each in the module of its room.

Answers go to stdout, everything else to stderr; exit 0 done, 1 the answer is no, 2 usage or bad input. This module only
collects the commands. What an employer uses is `akashi-verify`, another distribution.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from app.errors import CityError, Refusal
from verifier.errors import AkashiVerifierError


def build_parser() -> argparse.ArgumentParser:
    """The whole tree of commands."""
    # Imported here: each room's command line imports its room, and `akashi --help` should not wait for the EVM.
    from app import phone_cli as phone
    from app.claims import cli as claims
    from app.counter import cli as counter
    from app.house import cli as house
    from app.recipients import cli as recipients
    from app.registers import cli as registers
    from app.staff import cli as staff
    from app.trust_list import cli as trust_list
    from app.wallets import cli as wallets
    from chain import cli as chain

    parser = argparse.ArgumentParser(
        prog="akashi", description="証 akashi: income certificates on the phone (模擬/MOCK data only)"
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    rooms = (house, claims, registers, counter, phone, wallets, recipients, staff, trust_list, chain)
    for room in rooms:
        room.add_commands(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; never a traceback for what a person typed."""
    options = build_parser().parse_args(arguments)
    try:
        return int(options.run(options) or 0)
    except Refusal as no:
        print(f"{no.ja}\n{no.en}", file=sys.stderr)
        return 1
    except (CityError, AkashiVerifierError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error.strerror or error}: {error.filename or ''}".rstrip(": "), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
