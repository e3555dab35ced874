"""The audit of a log that has ended: by its old key, and against the last state that the trust list names."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.support.audit_logs import NOW, ORIGIN, VKEY, PublishedLog, codes, run_audit, trust, trust_data
from verifier.audit.findings import Outcome
from verifier.cli import main
from verifier.formats.checkpoint import Checkpoint
from verifier.formats.compromise import FormerLog
from verifier.formats.encoding import sha256
from verifier.formats.signed_note import build_vkey

NEXT = build_vkey(
    ORIGIN.replace("log/1", "log/2"), Ed25519PrivateKey.generate().public_key().public_bytes_raw()
)


def former(last: Checkpoint, **changes: object) -> FormerLog:
    entry = FormerLog(VKEY, last.size, last.root, True, NOW, "台帳の鍵の盗難（模擬）")
    return dataclasses.replace(entry, **changes)


def test_the_state_that_the_list_names_is_a_state_of_the_tree() -> None:
    log = PublishedLog(300)
    named = former(PublishedLog(257).head)
    result = run_audit(log, trust=trust(log=NEXT, former_logs=(named,)), former=named)
    assert codes(result) == []
    assert (result.report.outcome, result.report.origin) == (Outcome.CLEAN, ORIGIN)


@pytest.mark.parametrize("size", [257, 300])
def test_another_root_for_the_named_size_is_a_fork(size: int) -> None:
    named = former(Checkpoint(ORIGIN, size, sha256(b"another history")))
    result = run_audit(PublishedLog(300), trust=trust(log=NEXT, former_logs=(named,)), former=named)
    assert codes(result) == ["fork"]


def test_a_smaller_tree_is_a_rollback() -> None:
    named = former(PublishedLog(301).head)
    result = run_audit(PublishedLog(300), trust=trust(log=NEXT, former_logs=(named,)), former=named)
    assert codes(result) == ["rollback"]


def test_without_its_name_the_old_log_is_not_the_citys_log_of_today() -> None:
    named = former(PublishedLog(300).head)
    result = run_audit(PublishedLog(300), trust=trust(log=NEXT, former_logs=(named,)))
    assert codes(result) == ["checkpoint-unsigned"]


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log, trust_dir = PublishedLog(300), tmp_path / "trust"
    for name, data in log.files.items():
        path = tmp_path / "copy" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    trust_dir.mkdir()
    (trust_dir / "992011.root.json").write_bytes(trust_data(log=NEXT, former_logs=(former(log.head),)))

    def run(*more: str) -> int:
        where = ("--log", str(tmp_path / "copy"), "--trust", str(trust_dir), "--at", "2026-11-20T03:00:00Z")
        return main(["audit", *where, *more])

    assert run("--former", ORIGIN) == 0
    assert f"log {ORIGIN}" in capsys.readouterr().out
    assert run() == 1
    assert run("--former", "door.mihon.example/992011/log/9") == 2
    assert "no-such-log" in capsys.readouterr().err
