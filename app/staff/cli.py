"""`akashi staff …`: logins and the worker's token, on the machine of the console. Secrets are prompted or
written to 0600 files.

The commands work on the store that the settings name; they need no running console.
"""

from __future__ import annotations

import argparse
import getpass
import os
import secrets
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from app.staff.errors import StaffError, StaffUsageError
from app.staff.logins import Logins
from app.staff.secret_files import create_secret_file
from app.staff.settings import StaffSettings, read_settings
from app.staff.store import Store


def add_commands(commands: Any) -> None:
    """Add `staff` to the `akashi` parser's sub-commands; each sets `run(arguments) -> int`."""
    staff = commands.add_parser("staff", help="職員のログイン / staff logins and the worker's token")
    actions = staff.add_subparsers(dest="staff_command", required=True, metavar="COMMAND")

    add = actions.add_parser("add", help="ログインを作る / create a login")
    add.add_argument("name", metavar="NAME")
    add.add_argument(
        "--password-out", type=Path, metavar="FILE", help="generate the password into a new file (0600)"
    )
    add.add_argument(
        "--totp-out",
        type=Path,
        metavar="FILE",
        help="also ask for a time code; its secret into a new file (0600)",
    )
    add.set_defaults(run=_guard(_add))

    password = actions.add_parser("password", help="パスワードを変える / replace a password")
    password.add_argument("name", metavar="NAME")
    password.add_argument(
        "--password-out", type=Path, metavar="FILE", help="generate it into a new file (0600)"
    )
    password.set_defaults(run=_guard(_password))

    disable = actions.add_parser("disable", help="ログインを止める / disable a login")
    disable.add_argument("name", metavar="NAME")
    disable.set_defaults(run=_guard(_disable))

    actions.add_parser("list", help="ログインの一覧 / list logins").set_defaults(run=_guard(_list))

    token = actions.add_parser(
        "token", help="発行処理用の鍵ファイル / create the issuance worker's token file"
    )
    token.add_argument("file", type=Path, metavar="FILE")
    token.set_defaults(run=_token)


def _guard(
    act: Callable[[argparse.Namespace, StaffSettings, Logins], int],
) -> Callable[[argparse.Namespace], int]:
    def run(arguments: argparse.Namespace) -> int:
        try:
            settings = read_settings(os.environ)
            store = Store(settings.database_url)
            try:
                store.upgrade()
                return act(arguments, settings, Logins(store, settings.city))
            finally:
                store.close()
        except StaffError as error:
            return _fail(error)

    return run


def _add(arguments: argparse.Namespace, settings: StaffSettings, logins: Logins) -> int:
    password = _choose_password(arguments.password_out)
    added = logins.add(arguments.name, password, datetime.now(UTC), with_totp=arguments.totp_out is not None)
    if arguments.password_out is not None:
        create_secret_file(arguments.password_out, password)
    if added.totp_secret is not None:
        create_secret_file(arguments.totp_out, added.totp_secret)
    print(f"{added.name}{' 模擬/MOCK' if settings.is_mock else ''}")
    return 0


def _password(arguments: argparse.Namespace, _settings: StaffSettings, logins: Logins) -> int:
    password = _choose_password(arguments.password_out)
    logins.set_password(arguments.name, password, datetime.now(UTC))
    if arguments.password_out is not None:
        create_secret_file(arguments.password_out, password)
    print(arguments.name)
    return 0


def _disable(arguments: argparse.Namespace, _settings: StaffSettings, logins: Logins) -> int:
    logins.disable(arguments.name, datetime.now(UTC))
    print(arguments.name)
    return 0


def _list(_arguments: argparse.Namespace, _settings: StaffSettings, logins: Logins) -> int:
    for name, is_enabled in logins.names():
        print(f"{name}\t{'enabled' if is_enabled else 'disabled'}")
    return 0


def _token(arguments: argparse.Namespace) -> int:
    try:
        create_secret_file(arguments.file, secrets.token_urlsafe(32))
    except StaffError as error:
        return _fail(error)
    print(arguments.file)
    return 0


def _choose_password(out: Path | None) -> str:
    if out is not None:
        if out.exists():
            # Found out before the login exists, so that no login is left with a password nobody has.
            raise StaffUsageError("file-exists", str(out))
        return secrets.token_urlsafe(18)
    if not sys.stdin.isatty():
        raise StaffUsageError("no-terminal", "give --password-out FILE, or run it at a terminal")
    first = getpass.getpass("パスワード (12字以上) / password: ")
    if first != getpass.getpass("もう一度 / again: "):
        raise StaffUsageError("passwords-differ")
    return first


def _fail(error: StaffError) -> int:
    print(f"akashi staff: {error}", file=sys.stderr)
    if error.code == "missing-variable":
        print("hint: set it as docker/env/*.env shows, e.g. AKASHI_PROFILE=demo", file=sys.stderr)
    return 2
