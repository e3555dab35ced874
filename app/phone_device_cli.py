"""`akashi phone devices`, `lock-devices`, `register-by-code`: a resident's phones on the command line."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from typing import Any, Final

from mobile_api.client import Phone

TIMEOUT: Final = 120.0
SHORT: Final = 8
_STATE_WORDS: Final = {"active": "利用中 / active", "stopped": "停止 / stopped"}

AddCommand = Callable[[Any, str, Any, str], argparse.ArgumentParser]


def add_commands(commands: Any, command: AddCommand) -> None:
    """Add the commands; `command` makes one with the options that every command of the phone has."""
    devices = command(
        commands, "devices", _devices, "登録したスマートフォンの一覧 / list the registered phones"
    )
    devices.add_argument("--json", action="store_true", help="the whole answer as JSON")
    command(
        commands,
        "lock-devices",
        _lock,
        "スマートフォンの追加を窓口だけに限る / let only the counter add phones",
    )
    by_code = command(
        commands,
        "register-by-code",
        _by_code,
        "窓口のQRコードで見本として登録 / register with the counter's QR code (模擬/MOCK)",
    )
    by_code.add_argument("qr", help="text of the QR code")


def _devices(phone: Phone, options: argparse.Namespace) -> int:
    found = phone.devices.list(TIMEOUT)
    if options.json:
        print(json.dumps(found, ensure_ascii=False))
        return 0
    for entry in found["devices"]:
        here = "  ← このスマートフォン / this phone" if entry["this"] else ""
        print(f"{entry['thumbprint'][:SHORT]}  {entry['added_at']}  {_STATE_WORDS[entry['state']]}{here}")
    if found["locked"]:
        print("追加は窓口だけでできます / adding is possible at the counter only", file=sys.stderr)
    return 0


def _lock(phone: Phone, _options: argparse.Namespace) -> int:
    phone.devices.lock(TIMEOUT)
    print(
        "追加を窓口だけに限りました。解くには窓口へお越しください / locked; only the counter takes this back"
    )
    return 0


def _by_code(phone: Phone, options: argparse.Namespace) -> int:
    if phone.is_registered:
        print("登録済みです / already registered")
        return 0
    phone.register_by_code(options.qr, timeout=TIMEOUT)
    print(f"見本として登録しました / registered as a demonstration (模擬/MOCK): {phone.account}")
    return 0


NEEDS_LIVING_TRUST: Final = (_by_code,)
