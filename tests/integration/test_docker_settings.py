"""Every variable in docker/env exists in the settings of its process, every required one is there, no value
is a secret.

The settings tables are read from the modules themselves, so that a renamed variable is found here.
"""

from __future__ import annotations

import ast
import importlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from app.settings import GATE_VARIABLES, WORKER_VARIABLES
from tests.support.docs_processes import PROCESSES

ROOT = Path(__file__).resolve().parents[2]
ENV = ROOT / "docker" / "env"
PROFILE = {"AKASHI_PROFILE": True}
Table = dict[str, bool]


def table_of(module: str, name: str = "VARIABLES") -> Table:
    """Variable → whether it must be given, from a settings module."""
    loaded = importlib.import_module(module)
    prefix = getattr(loaded, "PREFIX", "")
    rows = getattr(loaded, name)
    return {
        row.name if row.name.startswith("AKASHI_") else prefix + row.name: row.default is None for row in rows
    } | PROFILE


def read_calls(path: Path, prefix: str) -> Table:
    """The same from a module that reads each variable by a call: text(NAME), number(NAME, default, …), …"""
    table = dict(PROFILE)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
            continue
        first = node.args[0]
        if node.func.attr in ("text", "number", "seconds") and isinstance(first, ast.Constant):
            without = len(node.args) == 1 or (
                isinstance(node.args[1], ast.Constant) and node.args[1].value is None
            )
            table[prefix + str(first.value)] = without
    return table


def read_option_calls(path: Path, prefix: str) -> Table:
    """The same from a module whose calls name the option of the command line first: text(option, NAME, default)."""
    table = dict(PROFILE)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ("text", "number")
        ):
            names = [item.value for item in node.args[:2] if isinstance(item, ast.Constant)]
            default = node.args[2] if len(node.args) > 2 else ast.Constant(None)
            if len(names) == 2:
                table[prefix + str(names[1])] = isinstance(default, ast.Constant) and default.value is None
    return table


TABLES: dict[str, Callable[[], Table]] = {
    "street-door": lambda: table_of("mobile_api.settings"),
    "register-gate": lambda: {row.name: row.default is None for row in GATE_VARIABLES},
    "worker": lambda: {row.name: row.default is None for row in WORKER_VARIABLES},
    "signer": lambda: PROFILE,
    "staff": lambda: table_of("app.staff.settings"),
    "log": lambda: read_calls(ROOT / "chain" / "settings.py", "AKASHI_LOG_"),
    "witness": lambda: read_option_calls(ROOT / "chain" / "witness_settings.py", "AKASHI_WITNESS_"),
    "chain-devnode": lambda: PROFILE,
    "counterparts": lambda: PROFILE,
}


def read_env(path: Path) -> dict[str, str]:
    """NAME=value lines; anything else but a comment is an error."""
    values: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").split("\n"):
        if not line or line.startswith("#"):
            continue
        match = re.fullmatch(r"([A-Z][A-Z0-9_]*)=(.*)", line)
        assert match is not None, (path.name, line)
        assert match[1] not in values, (path.name, match[1])
        values[match[1]] = match[2]
    return values


def env_faults(values: dict[str, str], table: Table) -> list[str]:
    """Variables nobody reads, and required ones that are missing or empty. The log's socket stands for its
    port.
    """
    if values.get("AKASHI_LOG_SOCKET"):
        table = table | {"AKASHI_LOG_PORT": False}
    unknown = [f"unknown {name}" for name in values if name not in table]
    return unknown + [f"missing {name}" for name, must in table.items() if must and not values.get(name)]


FILES = sorted(ENV.rglob("*.env"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_variables_exist_and_required_ones_are_given(path: Path) -> None:
    assert env_faults(read_env(path), TABLES[path.stem]()) == []


def test_an_unknown_and_a_missing_variable_are_found() -> None:
    table = TABLES["staff"]()
    values = {"AKASHI_PROFILE": "demo", "AKASHI_STAFF_COLOUR": "red", "AKASHI_STAFF_TOKEN_FILE": "x"}
    assert env_faults(values, table) == ["unknown AKASHI_STAFF_COLOUR", "missing AKASHI_STAFF_DATABASE_URL"]


def test_every_process_has_an_example_in_each_profile() -> None:
    for process in PROCESSES:
        if process.needs_profile:
            assert (ENV / "demo" / f"{process.target}.env").is_file(), process.target
            assert (ENV / "production" / f"{process.target}.env").is_file() != process.is_demo_only, (
                process.target
            )


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_no_value_is_a_secret_and_the_profile_is_the_folders(path: Path) -> None:
    values = read_env(path)
    assert values["AKASHI_PROFILE"] == path.parent.name
    for name, value in values.items():
        if re.search(r"PASSWORD|SECRET|TOKEN|PIN\b|_KEY(?!S)", name):
            assert name.endswith("_FILE"), name
        assert not re.search(r"://[^/@:]+:[^/@]+@", value), name


def test_the_settings_tables_name_no_variable_for_a_secret() -> None:
    for target, table in TABLES.items():
        for name in table():
            if re.search(r"PASSWORD|SECRET|TOKEN|PRIVATE|PIN$", name):
                assert name.endswith("_FILE"), (target, name)


@pytest.mark.parametrize("profile", ["demo", "production"])
def test_the_signers_settings_have_their_form(profile: str) -> None:
    content = json.loads((ROOT / "docker" / f"signer.{profile}.json").read_text(encoding="utf-8"))
    from app.sealing.pki import CHANNELS, CITY_KEYS

    assert {key["key_id"]: key["purpose"] for key in content["keys"]} == CITY_KEYS
    assert set(content["tokens"]) == set(CHANNELS)
    kinds = {key["kind"] for key in content["keys"]}
    assert kinds == ({"software"} if profile == "demo" else {"pkcs11"})
    assert content.get("mock", False) == (profile == "demo")
