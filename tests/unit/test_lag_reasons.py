"""Why is it not anchored yet? From the anchoring loop over the log's door to the staff console: a code word with words."""

from __future__ import annotations

import argparse
import ast
import json
import re
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from app.issuance.monitor import lag_reason
from app.staff.words import LAGS
from chain import cli
from chain.checkpoint_key import SoftwareSigner
from chain.floor import SeenHead
from chain.log import Log, create_log
from chain.monitor import Monitor
from chain.sequencer import Sequencer
from chain.service import Door
from verifier.formats.signed_note import build_vkey

ROOT = Path(__file__).resolve().parents[2]
FORM = re.compile(r"([a-z][a-z-]+): [a-z].*")
# raised on the way to an anchor, by these modules of `chain`
ON_THE_WAY = (
    "anchorer.py",
    "anchoring.py",
    "checkpoint_key.py",
    "cosigning.py",
    "ethereum.py",
    "floor.py",
    "monitor.py",
)


def calls(name: str) -> list[ast.Call]:
    """Every call of `name` in the modules on the way."""
    trees = [ast.parse((ROOT / "chain" / module).read_text()) for module in ON_THE_WAY]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    return [node for node in nodes if isinstance(node, ast.Call) and ast.unparse(node.func) == name]


def test_every_wait_is_a_code_word_and_words() -> None:
    texts = [call.args[0].value for call in calls("Wait") if isinstance(call.args[0], ast.Constant)]
    assert "" in texts, "all is anchored"
    codes = {FORM.fullmatch(text).group(1) for text in texts if text}
    assert len(codes) == len(texts) - 1 == 6, "each its own"
    assert codes <= LAGS.keys()


@pytest.mark.parametrize(
    "error", ["EthereumUnavailable", "EthereumError", "LogUnavailable", "LogRefused", "SigningError"]
)
def test_every_error_on_the_way_has_words(error: str) -> None:
    codes = {call.args[0].value for call in calls(error) if isinstance(call.args[0], ast.Constant)}
    assert codes
    unsaid = codes - LAGS.keys()
    # a person never waits for these: set-up and reading, or one witness of several
    quiet = {
        "no-account",
        "not-deployed",
        "public-copy-away",
        "not-registered",
        "witness-unusable",
        "witness-away",
    }
    assert unsaid <= quiet, unsaid


@pytest.mark.parametrize(
    ("state", "code"),
    [
        ({"anchoring": ""}, None),
        ({}, None),
        ({"anchoring": "in-flight: waiting for the transaction to be mined"}, "in-flight"),
        ({"anchoring": "refused: the contract refuses: paused"}, "refused"),
        ({"anchoring": "in-flight: x", "beat": "quorum-missing: 2 of 3"}, "quorum-missing"),
        (
            {"anchoring": "in-flight: x", "beat": "signer-away", "refusal": "seen-fork: another root"},
            "seen-fork",
        ),
        ({"anchoring": "The node of Mr Sato"}, "unknown"),
    ],
)
def test_the_gravest_reason_is_told_as_a_code_word(state: dict[str, str], code: str | None) -> None:
    assert lag_reason(state) == code


class FakeAnchorer:
    """What the monitor looks at."""

    def __init__(self, reason: str, size: int) -> None:
        self.reason = reason
        self.anchored = SeenHead(size, bytes(32))


@pytest.mark.parametrize(
    ("reason", "anchored", "status"),
    [
        ("", 3, 0),
        ("in-flight: waiting for the transaction to be mined", 1, 0),
        ("chain-away: the node does not answer", 1, 1),
    ],
)
def test_the_status_command_shows_lag_and_reason(
    tmp_path: Path, capsys, reason: str, anchored: int, status: int
) -> None:
    """`akashi chain status` against the log's own door; its exit status tells a lag that lasts too long."""
    private = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)
    key = build_vkey("door.mihon.example/992011/log/1", private.public_key().public_bytes_raw())
    create_log(tmp_path / "log", key.name)
    log = Log(tmp_path / "log", key, SoftwareSigner(private), padding=1)
    log.append([bytes([number]) * 32 for number in range(3)])
    now = [1_800_000_000]
    sequencer = Sequencer(log, beat_seconds=1, max_waiting=10)
    monitor = Monitor(log, sequencer, lambda: now[0], 60, FakeAnchorer(reason, anchored))
    monitor.watch()
    now[0] += 10 if status == 0 else 61
    settings = SimpleNamespace(listen=f"unix:{tmp_path / 'log.sock'}", token="status-token-of-the-test")
    door = Door(SimpleNamespace(settings=settings, monitor=monitor, log=log))
    thread = threading.Thread(target=door.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    (tmp_path / "token").write_text(settings.token)
    (tmp_path / "token").chmod(0o600)
    parser = argparse.ArgumentParser()
    cli.add_commands(parser.add_subparsers(dest="command", required=True))
    words = ["chain", "status", "--address", settings.listen, "--token-file", str(tmp_path / "token")]
    options = parser.parse_args(words)
    try:
        assert options.run(options) == status
    finally:
        door.shutdown()
        thread.join()
        door.server_close()
        log.close()
    told = json.loads(capsys.readouterr().out)
    assert (told["anchoring"], told["lag"], told["healthy"]) == (reason, 3 - anchored, status == 0)
    assert told["lag_seconds"] == (0 if anchored == 3 else now[0] - 1_800_000_000)
