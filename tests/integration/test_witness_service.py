"""The log process with three witnesses: through its door, its settings, and with witnesses and log killed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from chain.errors import LogUnavailable, SettingsError
from chain.settings import read_settings
from chain.witness_keys import generate_keys, store_keys
from chain.witness_store import create_store
from tests.integration.test_chain_service import KEY, City, entry
from tests.support.watched_processes import watched
from verifier.formats.checkpoint import verify_bundled_checkpoint
from verifier.formats.signed_note import format_vkey
from verifier.formats.tlog_proof import parse_tlog_proof, verify_tlog_proof
from verifier.formats.witness_policy import parse_witness_policy


class Witnesses:
    """Three processes, two of which make the quorum."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.ports: dict[str, str] = {}
        self.processes: dict[str, subprocess.Popen] = {}
        (root / "logs").write_text(f"log {format_vkey(KEY)}\n")
        lines = []
        for name in ("w1", "w2", "w3"):
            lines.append(store_keys(root / name, generate_keys(name, is_mock=True)).policy_line)
            create_store(root / name)
            self.start(name)
        text = "\n".join([*lines, "group two 2 w1 w2 w3", "quorum two", ""])
        self.policy = parse_witness_policy(text)
        (root / "policy").write_text(text)
        urls = "".join(f"{name} http://127.0.0.1:{port}\n" for name, port in self.ports.items())
        (root / "urls").write_text(urls)

    def start(self, name: str) -> None:
        arguments = ["--data", str(self.root / name), "--logs", str(self.root / "logs")]
        self.processes[name] = subprocess.Popen(
            [sys.executable, "-m", "chain.witness", *arguments, "--port", self.ports.get(name, "0")],
            env=os.environ | {"AKASHI_PROFILE": "demo"},
            stdout=subprocess.PIPE,
            text=True,
        )
        line = self.processes[name].stdout.readline()
        assert line
        self.ports[name] = line.split('"url": "', 1)[1].split('"', 1)[0].rpartition(":")[2]

    def kill(self, name: str) -> None:
        process = self.processes.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()


@pytest.fixture
def witnesses(tmp_path: Path):
    root = tmp_path / "witnesses"
    root.mkdir()
    with watched(root):
        witnesses = Witnesses(root)
        yield witnesses
        for name in list(witnesses.processes):
            witnesses.kill(name)


@pytest.fixture
def city(tmp_path: Path, witnesses: Witnesses):
    city = City(tmp_path)
    city.environment |= {
        "AKASHI_LOG_WITNESS_POLICY": str(witnesses.root / "policy"),
        "AKASHI_LOG_WITNESS_URLS": str(witnesses.root / "urls"),
        "AKASHI_LOG_WITNESS_SECONDS": "2",
        "AKASHI_LOG_APPEND_SECONDS": "2",
    }
    yield city
    if city.process is not None and city.process.poll() is None:
        city.kill()
    city.signer.shutdown()
    city.signer.server_close()


def test_proofs_carry_the_quorum_and_wait_for_it(city: City, witnesses: Witnesses) -> None:
    keys = witnesses.policy.keys
    city.start()
    first = parse_tlog_proof(city.client.append([entry("first")])[0].proof)
    verified = verify_tlog_proof(first, entry("first"), KEY, keys)
    assert witnesses.policy.is_met_by({item.key for item in verified.signatures})
    witnesses.kill("w1")
    witnesses.kill("w3")
    with pytest.raises(LogUnavailable):
        city.client.append([entry("second")])
    state = city.client.state()
    assert (state["size"], state["healthy"]) == (8, False)
    assert "quorum-missing" in state["beat"] or "nobody-to-ask" in state["beat"]
    city.kill()
    city.start()
    with pytest.raises(LogUnavailable):
        city.client.append([entry("second"), entry("third")])
    assert city.client.state()["refusal"] == ""
    witnesses.start("w3")
    logged = []
    while not logged:
        with contextlib.suppress(LogUnavailable):
            logged = city.client.append([entry("second"), entry("third")])
    for item, name in zip(logged, ("second", "third"), strict=True):
        verify_tlog_proof(parse_tlog_proof(item.proof), entry(name), KEY, keys)
    city.wait_until(lambda: city.client.state()["uploads"] == 0)
    data = (city.street / "checkpoint").read_bytes()
    assert data == (city.public / "checkpoint").read_bytes(), "the street door shows the cosigned note"
    names = [item.key.name for item in verify_bundled_checkpoint(data, KEY, keys).signatures]
    assert names == [KEY.name, "w2", "w3"]
    assert city.signer.violations == []
    assert city.stop() == 0


def test_settings_of_witnesses_are_checked_before_anything_starts(city: City, witnesses: Witnesses) -> None:
    assert read_settings(city.environment).witnessing.policy == witnesses.policy
    without = {name: "" for name in city.environment if name.startswith("AKASHI_LOG_WITNESS")}
    assert read_settings(city.environment | without).witnessing is None
    (witnesses.root / "some").write_text("w1 http://127.0.0.1:1\nw2 http://127.0.0.1:2\n")
    (witnesses.root / "bad").write_text("w1 ftp://127.0.0.1\n")
    for name, value in (
        ("POLICY", "nowhere"),
        ("POLICY", str(witnesses.root / "urls")),
        ("URLS", ""),
        ("URLS", "nowhere"),
        ("URLS", str(witnesses.root / "some")),
        ("URLS", str(witnesses.root / "bad")),
        ("SECONDS", "0"),
    ):
        with pytest.raises(SettingsError):
            read_settings(city.environment | {f"AKASHI_LOG_WITNESS_{name}": value})
