"""`akashi city`: create, show, export, import as somebody would type them."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from app.registers.cli import add_commands


def run(*words: str) -> int:
    parser = argparse.ArgumentParser(prog="akashi")
    add_commands(parser.add_subparsers(required=True))
    args = parser.parse_args(words)
    return int(args.run(args))


@pytest.fixture
def store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    path = str(tmp_path / "city" / "registers.sqlite")
    assert run("city", "create", "--residents", "120", "--seed", "5", "--out", path) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["residents"] == 120
    assert "模擬/MOCK" in err
    return path


def test_show_the_store_and_one_resident(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("city", "show", "--store", store) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["residents"] == 120
    assert shown["cases"]["taxed"] == "M-0000001"
    assert run("city", "show", "taxed", "--store", store) == 0
    by_key = capsys.readouterr().out
    assert run("city", "show", "M-0000001", "--store", store) == 0
    assert capsys.readouterr().out == by_key
    assert json.loads(by_key)["resident"]["birthdate"] == "1985-03-15"


def test_nobody_is_exit_code_1(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("city", "show", "M-7777777", "--store", store) == 1
    out, err = capsys.readouterr()
    assert out == "" and "M-7777777" in err


def test_export_and_import_give_the_same_file(store: str, tmp_path: Path) -> None:
    first, again, second = (str(tmp_path / name) for name in ("one.jsonl", "again.sqlite", "two.jsonl"))
    assert run("city", "export", "--store", store, "--out", first) == 0
    assert run("city", "import", first, "--out", again) == 0
    assert run("city", "export", "--store", again, "--out", second) == 0
    assert Path(first).read_bytes() == Path(second).read_bytes()


def test_bad_input_leaves_nothing_behind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_bytes(
        b'{"format":"akashi-resident-register","version":1,"city_code":"992011","mock":true}\n{}\n'
    )
    target = tmp_path / "target.sqlite"
    assert run("city", "import", str(bad), "--out", str(target)) == 2
    out, err = capsys.readouterr()
    assert out == "" and "line 2" in err and err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["bad.jsonl"]


def test_usage_errors_are_one_line(store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    junk = tmp_path / "junk.sqlite"
    junk.write_text("this is no database, only text that is long enough to be looked at" * 20)
    for words in (
        ("create", "--residents", "99", "--out", str(tmp_path / "x.sqlite")),
        ("create", "--residents", "100", "--out", store),
        ("show", "--store", str(tmp_path / "none.sqlite")),
        ("show", "--store", str(junk)),
        ("import", str(tmp_path / "none.jsonl"), "--out", str(tmp_path / "y.sqlite")),
        ("export", "--store", store, "--out", str(junk)),
    ):
        assert run("city", *words) == 2
        out, err = capsys.readouterr()
        assert out == "" and err.count("\n") == 1, words
    assert not (tmp_path / "x.sqlite").exists()
    assert not (tmp_path / "y.sqlite").exists()
