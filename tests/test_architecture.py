"""The plan of the house as a test: arrows, invariants, names and sizes (docs/architecture.md prints them).

Each rule is a function from a tree of sources to a list of faults, so that it is tried twice: on this tree,
where it must find nothing, and on a small planted tree, where it must find what was planted.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.docs_processes import PROCESSES, Process
from tests.support.fault_lines import find_faults

ROOT = Path(__file__).resolve().parents[1]
SUPPORT = ROOT / "tests" / "support"
ROOMS = ("app", "chain", "mobile_api", "verifier")
UNSEEN = ("contracts", "docker", "docs", "tests")
# What a room may import of another one. A name stands for itself and everything below it.
# fmt: off
ARROWS = {
    "verifier": (),
    "chain": ("verifier",),
    "mobile_api": ("verifier",),
    "app": (
        "chain", "verifier", "mobile_api.messages", "mobile_api.client", "mobile_api.exchanges",
        "mobile_api.wallet_nonce", "mobile_api.key_proof",
    ),
}
# fmt: on
BAD_NAMES = ("utils", "util", "helpers", "helper", "misc", "common", "manager", "managers")
COMPUTED = "(computed)"
# Modules that import by a name they put together, and why that is no hidden arrow.
COMPUTED_IMPORTS = {
    "verifier": "its public names, from a table in the same file",
    "verifier.cli": "its own commands, from a table in the same file",
}
MAX_LINES = 500
MAX_TEST_LINES = 1000


@dataclass(frozen=True, slots=True)
class Module:
    """One source file: dotted name, tree of syntax, number of lines."""

    name: str
    path: Path
    syntax: ast.Module
    lines: int

    @property
    def room(self) -> str:
        return self.name.split(".")[0]

    @property
    def is_alembic_script(self) -> bool:
        # Loaded by path while an upgrade runs, never imported.
        return "migrations" in self.path.parts or "gate_migrations" in self.path.parts


Tree = dict[str, Module]
Rule = Callable[[Tree], list[str]]


def read_tree(root: Path, rooms: tuple[str, ...] = ROOMS) -> Tree:
    """All modules of the rooms below `root`, by dotted name."""
    tree = {}
    for room in rooms:
        for path in sorted((root / room).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            text = path.read_text(encoding="utf-8")
            tree[name] = Module(name, path, ast.parse(text, str(path)), text.count("\n"))
    return tree


@pytest.fixture(scope="module")
def tree() -> Tree:
    return read_tree(ROOT)


def imports_of(module: Module, tree: Tree) -> Iterator[tuple[str, int]]:
    """(imported name, line), relative names resolved; `from a import b` gives a.b if it is a module, else
    a.
    """
    package = module.name if module.path.name == "__init__.py" else module.name.rpartition(".")[0]
    for node in ast.walk(module.syntax):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            for alias in node.names:
                full = f"{base}.{alias.name}"
                yield (full if full in tree or base in ROOMS + UNSEEN else base), node.lineno
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in (
            "__import__",
            "importlib.import_module",
        ):
            name = node.args[0] if node.args else None
            yield (str(name.value) if isinstance(name, ast.Constant) else COMPUTED), node.lineno


def is_within(name: str, prefixes: tuple[str, ...]) -> bool:
    return any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)


def place(module: Module, line: int, what: str) -> str:
    return f"{module.name}:{line}: {what}"


# --- the rules --------------------------------------------------------------------------------------------


def arrow_faults(tree: Tree) -> list[str]:
    """Imports between rooms that no arrow allows, and imports of what nobody may see."""
    faults = []
    for module in tree.values():
        for name, line in imports_of(module, tree):
            top = name.split(".")[0]
            allowed = top == module.room or is_within(name, ARROWS[module.room])
            if top in UNSEEN or (top in ROOMS and not allowed):
                faults.append(place(module, line, f"imports {name}"))
    return faults


def computed_import_faults(tree: Tree) -> list[str]:
    """Imports by a computed name: no rule could see where they lead."""
    return [
        place(module, line, name)
        for module in tree.values()
        for name, line in imports_of(module, tree)
        if name == COMPUTED and module.name not in COMPUTED_IMPORTS
    ]


def web3_faults(tree: Tree) -> list[str]:
    """web3 outside chain/ethereum.py."""
    return [
        place(module, line, f"imports {name}")
        for module in tree.values()
        for name, line in imports_of(module, tree)
        if is_within(name, ("web3",)) and module.name != "chain.ethereum"
    ]


def ground_floor_faults(tree: Tree) -> list[str]:
    """In verifier: anything but the standard library, itself and its declared packages; flask outside
    portal/.
    """
    with (ROOT / "verifier" / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    declared = {re.split(r"[<>=\[;~! ]", requirement)[0] for requirement in project["dependencies"]}
    portal = {
        re.split(r"[<>=\[;~! ]", requirement)[0] for requirement in project["optional-dependencies"]["portal"]
    }
    faults = []
    for module in tree.values():
        if module.room != "verifier":
            continue
        here = declared | (portal | {"werkzeug"} if is_within(module.name, ("verifier.portal",)) else set())
        for name, line in imports_of(module, tree):
            top = name.split(".")[0]
            if top not in here | {"verifier", "__future__", COMPUTED} and top not in sys.stdlib_module_names:
                faults.append(place(module, line, f"imports {name}"))
    return faults


IMPURE = (
    "asyncio", "ctypes", "glob", "http", "locale", "logging", "multiprocessing", "pathlib", "platform",
    "random",
    "secrets", "select", "shutil", "signal", "smtplib", "socket", "sqlite3", "ssl", "subprocess", "tempfile",
    "threading", "time", "urllib.request", "uuid",
)  # fmt: skip
CLOCK_CALLS = ("now", "utcnow", "today")


def clock_calls(module: Module) -> Iterator[tuple[int, str]]:
    """Calls that read the clock of the machine."""
    for node in ast.walk(module.syntax):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = ast.unparse(node.func.value)
            if owner.split(".")[-1] in ("datetime", "date", "dt") and node.func.attr in CLOCK_CALLS:
                yield node.lineno, f"{owner}.{node.func.attr}()"
            elif owner == "time" and node.func.attr in ("time", "time_ns"):
                yield node.lineno, f"time.{node.func.attr}()"


def formats_faults(tree: Tree) -> list[str]:
    """In verifier/formats: a clock, a key store, a socket, the environment, a file.

    `os.urandom` is allowed as a default source of salts and keys, and importlib.resources for the schema that
    lies beside the code.
    """
    faults = []
    for module in tree.values():
        if not is_within(module.name, ("verifier.formats",)):
            continue
        faults += [place(module, line, call) for line, call in clock_calls(module)]
        for name, line in imports_of(module, tree):
            if is_within(name, IMPURE):
                faults.append(place(module, line, f"imports {name}"))
        for node in ast.walk(module.syntax):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "os" and node.attr != "urandom":
                faults.append(place(module, node.lineno, f"os.{node.attr}"))
            elif isinstance(node, ast.ImportFrom) and node.module == "os":
                faults.append(place(module, node.lineno, "from os import"))
            elif (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in ("open", "input", "print")
            ):
                faults.append(place(module, node.lineno, f"{node.func.id}()"))
    return faults


# The edges of the verifier: a person or a browser asks here, and "now" is taken from the machine once and
# handed down.
CLOCK_EDGES = ("verifier.cli", "verifier.portal")


def verifier_clock_faults(tree: Tree) -> list[str]:
    """A clock read in verifier outside its edges."""
    return [
        place(module, line, call)
        for module in tree.values()
        if module.room == "verifier" and not is_within(module.name, CLOCK_EDGES)
        for line, call in clock_calls(module)
    ]


def cycle_faults(tree: Tree) -> list[str]:
    """Import cycles between modules, late imports inside functions included."""
    graph = {
        module.name: {
            name for name, _line in imports_of(module, tree) if name in tree and name != module.name
        }
        for module in tree.values()
    }
    faults, done = [], set()
    for start in graph:
        trail: list[str] = []
        on_trail: set[str] = set()
        stack: list[tuple[str, Iterator[str]]] = []
        if start in done:
            continue
        stack.append((start, iter(sorted(graph[start]))))
        trail.append(start)
        on_trail.add(start)
        while stack:
            for following in stack[-1][1]:
                if following in on_trail:
                    faults.append(" -> ".join([*trail[trail.index(following) :], following]))
                elif following not in done:
                    stack.append((following, iter(sorted(graph[following]))))
                    trail.append(following)
                    on_trail.add(following)
                    break
            else:
                done.add(stack.pop()[0])
                on_trail.discard(trail.pop())
    return faults


def name_faults(tree: Tree) -> list[str]:
    """Modules named by nothing."""
    return [module.name for module in tree.values() if set(module.name.split(".")) & set(BAD_NAMES)]


def length_faults(tree: Tree) -> list[str]:
    """Modules longer than a reader can hold."""
    return [f"{module.name}: {module.lines} lines" for module in tree.values() if module.lines > MAX_LINES]


# Who may turn bytes into a private key, and which: everything else asks one of these.
KEY_LOADERS = (
    "load_pem_private_key", "load_der_private_key", "load_ssh_private_key", "load_key_and_certificates",
    "load_pkcs12",
    "from_private_bytes", "derive_private_key",
)  # fmt: skip
KEY_OPENERS = {
    "app.sealing": "the signer's own modules and the making of its keys; which of them, the next rule says",
    "app.counterparts": "keys of the mock outside world (模擬), never a key of the city",
    "app.registers": "the gate's authorisation key, which seals nothing by itself",
    "app.mailbox": "the mailbox key, with which the city proves itself to the street door",
    "chain": "the log's Ethereum key with little money, and the witness's own keys",
    "mobile_api.client": "the phone's two device keys",
    "mobile_api.phone_home": "the phone's two device keys",
    "app.trust_list.signer_key": "one trust-list signer's own key, at that person's computer",
    "verifier.key_file": "the employer's own keys",
    "verifier.formats.package": "makes the ephemeral key of one encryption; stores and reads none",
}


def key_faults(tree: Tree) -> list[str]:
    """Private keys loaded by a module that has no business with keys."""
    faults = []
    for module in tree.values():
        if is_within(module.name, tuple(KEY_OPENERS)):
            continue
        for node in ast.walk(module.syntax):
            name = (
                node.attr
                if isinstance(node, ast.Attribute)
                else node.id
                if isinstance(node, ast.Name)
                else ""
            )
            if name in KEY_LOADERS:
                faults.append(place(module, getattr(node, "lineno", 0), name))
    return faults


def peek_faults(tree: Tree) -> list[str]:
    """Claims read from a token without its signature outside functions whose name begins with peek_."""
    faults = []
    for module in tree.values():
        peeks = [
            node
            for node in ast.walk(module.syntax)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and node.name.lstrip("_").startswith("peek_")
        ]
        inside = {id(node) for peek in peeks for node in ast.walk(peek)}
        for node in ast.walk(module.syntax):
            if id(node) in inside:
                continue
            if isinstance(node, ast.Dict):
                for key, value in zip(node.keys, node.values, strict=True):
                    name = key.value if isinstance(key, ast.Constant) else ""
                    if (
                        name == "verify_signature"
                        and isinstance(value, ast.Constant)
                        and value.value is False
                    ):
                        faults.append(place(module, node.lineno, "a signature is not checked"))
            elif isinstance(node, ast.Attribute) and node.attr.startswith("get_unverified_claims"):
                faults.append(place(module, node.lineno, node.attr))
            elif isinstance(node, ast.FunctionDef) and re.match(
                r"_?(read|get|parse)_(unverified|untrusted)", node.name
            ):
                faults.append(place(module, node.lineno, f"{node.name} must be named peek_…"))
    return faults


# Who may speak of an exception: its text may quote a resident's data.
FAULT_TELLER = "verifier.fault"
LOG_METHODS = ("debug", "info", "warning", "error", "critical", "log")
SERVERS = (
    "TCPServer", "UDPServer", "UnixStreamServer", "ThreadingTCPServer", "ThreadingUnixStreamServer",
    "HTTPServer", "ThreadingHTTPServer", "BaseWSGIServer", "ThreadedWSGIServer", "make_wsgi_server",
)  # fmt: skip


def _last_name(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _tells_text(handler: ast.ExceptHandler) -> Iterator[tuple[int, str]]:
    """Places where a handler of every exception turns the exception into text."""
    if handler.name is None or _last_name(handler.type or ast.Constant(0)) not in (
        "Exception",
        "BaseException",
    ):
        return
    for node in ast.walk(handler):
        told: list[ast.AST] = []
        if isinstance(node, ast.FormattedValue):
            told = [node.value]
        elif isinstance(node, ast.Call) and _last_name(node.func) in (*LOG_METHODS, "str", "repr", "print"):
            told = list(node.args)
        for value in told:
            inside = value.value if isinstance(value, ast.Attribute) else value
            if isinstance(inside, ast.Name) and inside.id == handler.name:
                yield getattr(node, "lineno", handler.lineno), "tells an exception's text"


def fault_text_faults(tree: Tree) -> list[str]:
    """Ways around verifier/fault.py by which an exception's text or a traceback comes into a log."""
    faults = []
    for module in tree.values():
        if module.name == FAULT_TELLER:
            continue
        faults += [
            place(module, line, f"imports {name}")
            for name, line in imports_of(module, tree)
            if is_within(name, ("traceback",))
        ]
        for node in ast.walk(module.syntax):
            if isinstance(node, ast.ExceptHandler):
                faults += [place(module, line, what) for line, what in _tells_text(node)]
            elif isinstance(node, ast.ClassDef):
                bases = [_last_name(base) for base in node.bases]
                own = any(
                    isinstance(item, ast.FunctionDef) and item.name == "handle_error" for item in node.body
                )
                if set(bases) & set(SERVERS) and bases[0] != "ToldByPlace" and not own:
                    faults.append(place(module, node.lineno, f"{node.name} prints tracebacks"))
            elif isinstance(node, ast.Call):
                name = _last_name(node.func)
                owner = ast.unparse(node.func.value) if isinstance(node.func, ast.Attribute) else ""
                if name == "exception" and node.args:
                    faults.append(place(module, node.lineno, f"{owner}.exception"))
                if name in ("basicConfig", "exc_info", "format_exc", "print_exc", *SERVERS):
                    faults.append(place(module, node.lineno, name))
                faults += [
                    place(module, node.lineno, f"{keyword.arg}=")
                    for keyword in node.keywords
                    if keyword.arg in ("exc_info", "stack_info")
                ]
    return faults


def _is_broad(handler: ast.ExceptHandler) -> bool:
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(kind is None or _last_name(kind) in ("Exception", "BaseException") for kind in kinds)


def broad_handler_faults(tree: Tree) -> list[str]:
    """Handlers of every exception that go on afterwards and give no reason in a comment on or under their first line."""
    faults = []
    for module in tree.values():
        lines = module.path.read_text(encoding="utf-8").split("\n")
        for node in ast.walk(module.syntax):
            if not isinstance(node, ast.ExceptHandler) or not _is_broad(node):
                continue
            if isinstance(node.body[-1], ast.Raise) and not any(
                isinstance(inner, ast.Return) for inner in ast.walk(node)
            ):
                continue
            # The head may be spread over lines; a comment counts from there to the first statement.
            head = lines[node.lineno - 1 : node.body[0].lineno - 1]
            if not any("#" in line for line in [*head, lines[node.lineno - 1]]):
                faults.append(place(module, node.lineno, "handles every exception and does not say why"))
    return faults


RULES: dict[str, tuple[Rule, dict[str, str]]] = {
    "arrows": (arrow_faults, {"chain/x.py": "from app import settings\n", "app/settings.py": ""}),
    "arrows-door": (
        arrow_faults,
        {"app/x.py": "from mobile_api.store import tables\n", "mobile_api/store.py": ""},
    ),
    "arrows-late": (arrow_faults, {"verifier/x.py": "def f():\n    import chain.log\n"}),
    "arrows-relative": (
        arrow_faults,
        {"verifier/__init__.py": "", "verifier/x.py": "from ..chain import log\n"},
    ),
    "arrows-unseen": (arrow_faults, {"app/x.py": "from tests.support import docs_links\n"}),
    "arrows-computed": (
        arrow_faults,
        {"mobile_api/x.py": "import importlib\nimportlib.import_module('app.worker')\n"},
    ),
    "computed": (
        computed_import_faults,
        {"chain/x.py": "import importlib\nimportlib.import_module(input())\n"},
    ),
    "web3": (web3_faults, {"chain/x.py": "from web3 import Web3\n"}),
    "ground-floor": (ground_floor_faults, {"verifier/x.py": "import pyhanko\n"}),
    "ground-floor-flask": (ground_floor_faults, {"verifier/http.py": "from flask import Flask\n"}),
    "formats-clock": (
        formats_faults,
        {"verifier/formats/x.py": "from datetime import datetime\ndatetime.now()\n"},
    ),
    "formats-import": (formats_faults, {"verifier/formats/x.py": "import time\n"}),
    "formats-environment": (formats_faults, {"verifier/formats/x.py": "import os\nA = os.environ\n"}),
    "formats-file": (formats_faults, {"verifier/formats/x.py": "def f(p):\n    return open(p)\n"}),
    "verifier-clock": (
        verifier_clock_faults,
        {"verifier/checks/x.py": "import datetime as dt\ndt.datetime.now(dt.UTC)\n"},
    ),
    "cycles": (cycle_faults, {"app/a.py": "import app.b\n", "app/b.py": "def f():\n    from app import a\n"}),
    "names": (name_faults, {"app/utils.py": ""}),
    "length": (length_faults, {"app/x.py": "\n" * (MAX_LINES + 1)}),
    "keys": (
        key_faults,
        {"app/worker.py": "from cryptography.x import load_pem_private_key\nload_pem_private_key(b'')\n"},
    ),
    "peek": (peek_faults, {"app/x.py": "import jwt\njwt.decode('', options={'verify_signature': False})\n"}),
    "fault-exception": (fault_text_faults, {"app/x.py": "log.exception('x')\n"}),
    "fault-exc-info": (fault_text_faults, {"mobile_api/x.py": "log.error('x', exc_info=True)\n"}),
    "fault-traceback": (fault_text_faults, {"chain/x.py": "import traceback\ntraceback.print_exc()\n"}),
    "fault-format": (fault_text_faults, {"chain/x.py": "from traceback import format_exc\n"}),
    "fault-own-set-up": (fault_text_faults, {"app/x.py": "import logging\nlogging.basicConfig(level=20)\n"}),
    "fault-text": (
        fault_text_faults,
        {"chain/x.py": "try:\n    f()\nexcept Exception as error:\n    print(f'{type(error)} {error}')\n"},
    ),
    "fault-argument": (
        fault_text_faults,
        {"app/x.py": "try:\n    f()\nexcept Exception as error:\n    log.error('%s', error)\n"},
    ),
    "fault-members": (
        fault_text_faults,
        {"app/x.py": "try:\n    f()\nexcept Exception as error:\n    log.error('%s', error.args)\n"},
    ),
    "fault-server": (
        fault_text_faults,
        {"app/x.py": "import socketserver\nclass S(socketserver.TCPServer): ...\n"},
    ),
    "fault-server-made": (fault_text_faults, {"app/x.py": "HTTPServer(('', 0), H)\n"}),
    "broad": (broad_handler_faults, {"app/x.py": "try:\n    f()\nexcept Exception:\n    pass\n"}),
    "broad-among-others": (
        broad_handler_faults,
        {"app/x.py": "try:\n    f()\nexcept (OSError, Exception):\n    pass\n"},
    ),
    "broad-bare": (broad_handler_faults, {"chain/x.py": "try:\n    f()\nexcept:\n    pass\n"}),
    "broad-sometimes": (
        broad_handler_faults,
        {"app/x.py": "def g():\n try:\n  f()\n except Exception:\n  if h():\n   return\n  raise\n"},
    ),
    "peek-name": (peek_faults, {"verifier/x.py": "def read_untrusted_title(data):\n    return data\n"}),
}


@pytest.mark.parametrize(
    "rule", dict.fromkeys(rule for rule, _files in RULES.values()), ids=lambda rule: rule.__name__
)
def test_rule_holds(rule: Rule, tree: Tree) -> None:
    assert rule(tree) == []


@pytest.mark.parametrize("name", RULES)
def test_rule_finds_what_was_planted(name: str, tmp_path: Path) -> None:
    rule, files = RULES[name]
    for path, text in files.items():
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert rule(read_tree(tmp_path)) != []


def test_a_rule_does_not_cry_over_what_is_allowed(tmp_path: Path) -> None:
    allowed = {
        "app/a.py": "from mobile_api import messages\nfrom mobile_api.client import P\nimport chain.log\n",
        "chain/ethereum.py": "from web3 import Web3\n",
        "verifier/portal/pages.py": "from flask import Flask\n",
        "verifier/formats/x.py": "import os\nfrom datetime import datetime\ndef f(random=os.urandom): ...\n",
        "verifier/y.py": "def peek_v(t):\n    jwt.decode(t, options={'verify_signature': False})\n",
        "mobile_api/messages.py": "",
        "chain/witness.py": (
            "class S(ToldByPlace, TCPServer): ...\n"
            "try:\n    f()\nexcept Exception as error:\n    log.error('%s', describe_fault(error))\n    raise\n"
            "try:\n    f()\nexcept Exception:  # it may be anything\n    pass\n"
            "try:\n    f()\nexcept Exception:\n    # it may be anything\n    pass\n"
        ),
    }
    for path, text in allowed.items():
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    planted = read_tree(tmp_path)
    rules = (
        arrow_faults,
        web3_faults,
        formats_faults,
        cycle_faults,
        name_faults,
        length_faults,
        peek_faults,
        fault_text_faults,
        broad_handler_faults,
    )
    assert [fault for rule in rules for fault in rule(planted)] == []


def test_folders_that_nobody_imports_are_no_packages() -> None:
    assert [
        str(path.relative_to(ROOT)) for room in UNSEEN for path in (ROOT / room).rglob("__init__.py")
    ] == []


def test_test_files_stay_readable() -> None:
    long = [
        path.name for path in (ROOT / "tests").rglob("*.py") if path.read_text().count("\n") > MAX_TEST_LINES
    ]
    assert long == []


# --- who opens the city's keys ----------------------------------------------------------------------------


# Everything that turns a file into a key goes through app/sealing/key_files. Who may use it, for which keys:
KEY_FILE_READERS = {
    "app.sealing.signer": "only makes the private folder of its socket",
    "app.sealing.signer_settings": "the signer: every key of the city, by purpose",
    "app.sealing.city_key": "names the type of key only",
    "app.sealing.pki": "the ceremony that makes the demo keys (模擬) before anything runs",
    "app.registers.authorisation": "the gate's authorisation key, which seals nothing by itself",
    "app.counterparts": "keys of the mock outside world (模擬)",
    "app.house.setup": "makes the mock city's keys before anything runs (模擬)",
    "app.trust_list.signer_key": "one trust-list signer's own key, at that person's computer; no city key",
    "app.house.forgery": "makes another mock city's keys, whose seal the demo shows to be refused (模擬)",
}
# The signer's inside. Its client is what everybody else talks to.
SIGNER_INSIDE = (
    "app.sealing.signer", "app.sealing.signer_service", "app.sealing.signer_store",
    "app.sealing.signer_audit", "app.sealing.signer_settings", "app.sealing.pkcs11_key",
)  # fmt: skip
# Writes the signer's settings before anything runs; opens none of its keys.
SIGNER_SETUP = ("app.cli", "app.demo", "app.house", "app.sealing.cli", "app.setup")


def city_key_faults(tree: Tree) -> list[str]:
    """Modules that reach a city key's file, or the inside of the signer, from outside."""
    faults = []
    for module in tree.values():
        for name, line in imports_of(module, tree):
            if name == "app.sealing.key_files" and not is_within(module.name, tuple(KEY_FILE_READERS)):
                faults.append(place(module, line, f"imports {name}"))
            inside = name in SIGNER_INSIDE and not is_within(
                module.name, (*SIGNER_INSIDE, "app.sealing.signer_migrations")
            )
            if inside and not is_within(module.name, SIGNER_SETUP):
                faults.append(place(module, line, f"imports {name}"))
    return faults


def test_only_the_signer_opens_the_citys_keys(tree: Tree) -> None:
    assert city_key_faults(tree) == []


@pytest.mark.parametrize(
    "line", ["from app.sealing import key_files", "from app.sealing.signer_settings import load"]
)
def test_a_worker_that_reaches_for_a_city_key_is_found(line: str, tmp_path: Path) -> None:
    (tmp_path / "app" / "sealing").mkdir(parents=True)
    for name in ("key_files", "signer_settings"):
        (tmp_path / "app" / "sealing" / f"{name}.py").write_text("")
    (tmp_path / "app" / "worker.py").write_text(line + "\n")
    (tmp_path / "app" / "sealing" / "signer.py").write_text(line + "\n")
    assert [fault.split(":")[0] for fault in city_key_faults(read_tree(tmp_path))] == ["app.worker"]


# --- what nothing catches ---------------------------------------------------------------------------------


def test_every_process_tells_uncaught_faults_by_place_only(tree: Tree) -> None:
    quiet = {
        module.name
        for module in tree.values()
        for node in ast.walk(module.syntax)
        if isinstance(node, ast.Call) and _last_name(node.func) in ("log_to_stderr", "quiet_uncaught")
    }
    # The employer's tool catches everything in its main function.
    entries = {process.module for process in PROCESSES if process.target != "verifier"} | {"chain.witness"}
    assert entries - quiet == set()


# --- importing is not doing -------------------------------------------------------------------------------


def import_faults(root: Path, names: list[str]) -> list[str]:
    """What modules do when they are imported, and which cannot be imported."""
    ended = subprocess.run(
        [sys.executable, "-B", str(SUPPORT / "docs_import_probe.py"), str(root), *names],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.split("\n")[:-1] if ended.stdout.strip() else []


def test_importing_does_nothing(tree: Tree) -> None:
    names = [module.name for module in tree.values() if not module.is_alembic_script]
    assert import_faults(ROOT, names) == []


def test_work_at_import_is_found(tmp_path: Path) -> None:
    planted = {
        "reads.py": "from pathlib import Path\nA = Path(__file__).read_text()\n",
        "env.py": "import os\nA = os.environ.get('HOME')\n",
        "env2.py": "import os\nA = os.getenv('HOME')\n",
        "net.py": "import socket\nsocket.socket().close()\n",
        "broken.py": "raise RuntimeError('no')\n",
        "good.py": "import json, re, sqlite3\nA = re.compile('x')\n",
    }
    for name, text in planted.items():
        (tmp_path / name).write_text(text)
    faults = import_faults(tmp_path, [name.removesuffix(".py") for name in planted])
    assert {fault.split(":")[0].removesuffix(".py") for fault in faults} == {
        "reads",
        "env",
        "env2",
        "net",
        "broken",
    }


# --- each process with the other rooms hidden -------------------------------------------------------------


def start_hidden(root: Path, home: Path, process: Process) -> subprocess.CompletedProcess[str]:
    """Import the process's entry in a tree that holds only its rooms."""
    for source in (path for room in process.rooms for path in sorted(root.glob(room))):
        target = home / source.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(
                source,
                target,
                ignore=shutil.ignore_patterns("__pycache__", "*.ttf", "*.otf"),
                dirs_exist_ok=True,
            )
        else:
            shutil.copy(source, target)
    return subprocess.run(
        [sys.executable, "-B", str(SUPPORT / "docs_start_probe.py"), str(home), process.module],
        cwd=home,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize("process", PROCESSES, ids=lambda process: process.module)
def test_each_process_starts_with_the_other_rooms_hidden(process: Process, tmp_path: Path) -> None:
    ended = start_hidden(ROOT, tmp_path, process)
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert ended.stdout.strip() == "outside:"


def test_a_process_that_needs_a_hidden_room_does_not_start(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for room in ("mobile_api", "app"):
        (root / room).mkdir(parents=True)
        (root / room / "__init__.py").write_text("")
    (root / "mobile_api" / "__main__.py").write_text("import app\n")
    ended = start_hidden(
        root, tmp_path / "home", Process("street-door", "mobile_api.__main__", ("mobile_api",))
    )
    assert ended.returncode != 0
    assert "No module named 'app'" in ended.stderr


@pytest.mark.parametrize("profile", [None, "staging"])
@pytest.mark.parametrize(
    "process", [process for process in PROCESSES if process.needs_profile], ids=lambda process: process.module
)
def test_without_a_known_profile_nothing_starts(
    process: Process, profile: str | None, tmp_path: Path
) -> None:
    given = {} if profile is None else {"AKASHI_PROFILE": profile}
    ended = subprocess.run(
        [sys.executable, "-B", "-m", process.module.removesuffix(".__main__"), *process.arguments],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)} | given,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode not in (0, None), ended.stdout
    assert find_faults(ended.stderr) == [], ended.stderr[-2000:]
