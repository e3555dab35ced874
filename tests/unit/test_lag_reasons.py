"""Why is it not anchored yet? From the anchoring loop over the log's door to the staff console: a code word with words."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from app.issuance.monitor import lag_reason
from app.staff.words import LAGS

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
