"""`akashi claims compute`: answer on stdout, everything else on stderr, exit codes."""

from __future__ import annotations

import argparse
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from app.claims.cli import add_commands


def run(*words: str) -> int:
    parser = argparse.ArgumentParser(prog="akashi")
    add_commands(parser.add_subparsers(required=True))
    args = parser.parse_args(words)
    return int(args.run(args))


def record(tmp_path: Path, value: Any) -> str:
    path = tmp_path / "record.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return str(path)


def test_figures_are_printed_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        run(
            "claims",
            "compute",
            record(tmp_path, {"fiscal_year": 2026, "income": {"salary_revenue": 1110000}}),
        )
        == 0
    )
    out, err = capsys.readouterr()
    assert err == ""
    answer = json.loads(out)
    assert answer["tax"]["annual_total"] == 7000
    assert answer["title"] == "課税証明書"
    assert {
        "income",
        "deductions",
        "dependants",
        "person_status",
        "tax",
        "exempt",
        "intermediate",
    } <= answer.keys()


def test_a_record_may_come_from_standard_input(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"fiscal_year": 2026}')))
    assert run("claims", "compute", "-") == 0
    assert json.loads(capsys.readouterr().out)["exempt"] is True


def test_an_undeclared_record_is_refused_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("claims", "compute", record(tmp_path, {"fiscal_year": 2026, "declared": False})) == 1
    assert json.loads(capsys.readouterr().out)["refusal"]["code"] == "undeclared"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "empty"),
        ("{", "JSON"),
        ("[]", "record"),
        ('{"fiscal_year": 2026, "fiscal_year": 2025}', "twice"),
        ('{"fiscal_year": 2024}', "2024 is not offered"),
        ('{"fiscal_year": 2026, "income": {"salary_revenue": 1.0}}', "integers"),
        ('{"fiscal_year": 2026, "income": {"salary_revenue": "1"}}', "income.salary_revenue"),
    ],
)
def test_bad_input_is_one_line_on_stderr(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, word: str
) -> None:
    assert run("claims", "compute", record(tmp_path, text)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert word in err


def test_a_file_that_does_not_exist(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("claims", "compute", "no-such-record.json") == 2
    assert "no-such-record.json" in capsys.readouterr().err
