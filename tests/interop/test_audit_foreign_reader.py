"""A reader of C2SP formats that is not ours, in another language, agrees with us: Go's sumdb (note and tlog).

The program is tests/interop/foreign/reader.go; it needs Debian's golang-go and golang-golang-x-mod-dev and no network.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from chain.checkpoint_key import SoftwareSigner
from chain.log import Log, create_log
from chain.witness_keys import generate_keys, load_keys, store_keys
from chain.witness_protocol import AddCheckpoint, checkpoint_path, format_add_checkpoint
from chain.witness_rules import Witness
from chain.witness_store import WitnessStore, create_store
from tests.support.audit_logs import (
    LOG_KEY,
    ORIGIN,
    VKEY,
    WITNESS,
    PublishedLog,
    codes,
    entry,
    run_audit,
    sign,
)
from verifier.formats.merkle import leaf_hash, verify_inclusion
from verifier.formats.signed_note import format_vkey
from verifier.formats.tiles import TileReader
from verifier.formats.tlog_proof import TlogProof, format_tlog_proof

SOURCE = Path(__file__).parent / "foreign" / "reader.go"
GOPATH = Path("/usr/share/gocode")


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    go = shutil.which("go")
    if go is None:
        pytest.skip("no Go compiler (Debian: golang-go)")
    if not (GOPATH / "src/golang.org/x/mod/sumdb/tlog").is_dir():
        pytest.skip("no golang.org/x/mod/sumdb (Debian: golang-golang-x-mod-dev)")
    place = tmp_path_factory.mktemp("foreign")
    environment = os.environ | {
        "GO111MODULE": "off", "GOPATH": str(GOPATH), "GOCACHE": str(place / "cache"), "GOFLAGS": "", "GOPROXY": "off",
        "CGO_ENABLED": "0", "HOME": str(place), "GOTOOLCHAIN": "local",
    }  # fmt: skip
    program = place / "reader"
    subprocess.run([go, "build", "-o", str(program), str(SOURCE)], check=True, env=environment, cwd=place)
    return program


def ask(program: Path, directory: Path, *more: str, vkey: str = "") -> subprocess.CompletedProcess[str]:
    command = [str(program), "-log", str(directory), "-vkey", vkey or format_vkey(VKEY), *more]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def read(program: Path, directory: Path, *more: str) -> dict:
    answer = ask(program, directory, *more)
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 255, 256, 257, 600])
def test_every_record_and_every_earlier_tree_is_proved_by_the_foreign_reader(
    reader: Path, tmp_path: Path, size: int
) -> None:
    log = PublishedLog(size)
    found = read(reader, log.write(tmp_path))
    assert (found["size"], found["records"], found["trees"]) == (size, size, size)
    assert base64.b64decode(found["root"]) == log.head.root == run_audit(log).report.root


def test_three_levels_of_tiles(reader: Path, tmp_path: Path) -> None:
    log = PublishedLog(65_537)
    found = read(reader, log.write(tmp_path), "-stride", "997")
    assert found["size"] == 65_537 and found["records"] > 60
    assert base64.b64decode(found["root"]) == run_audit(log).report.root


@pytest.mark.parametrize("size", [5, 300])
def test_its_inclusion_proofs_are_ours(reader: Path, tmp_path: Path, size: int) -> None:
    log = PublishedLog(size)
    ours = TileReader(size, lambda path: log.fetch(path, 10**6))
    for text, path in read(reader, log.write(tmp_path))["paths"].items():
        theirs = tuple(base64.b64decode(item) for item in path)
        assert theirs == ours.inclusion_path(int(text))
        verify_inclusion(leaf_hash(entry(int(text))), int(text), size, theirs, log.head.root)


def test_it_reads_what_the_log_itself_has_written_batch_by_batch(reader: Path, tmp_path: Path) -> None:
    create_log(tmp_path / "log", ORIGIN)
    log = Log(tmp_path / "log", VKEY, SoftwareSigner(LOG_KEY), padding=8)
    try:
        for batch in range(5):
            log.append([entry(batch * 1000 + number) for number in range(70 + batch)])
        proof = log.prove(17)
    finally:
        log.close()
    directory = tmp_path / "log" / "public"
    (tmp_path / "proof").write_bytes(format_tlog_proof(proof))
    wanted = (directory / "tile/entries/000").read_bytes()[17 * 34 + 2 : 18 * 34].hex()
    found = read(reader, directory, "-proof", str(tmp_path / "proof"), "-entry", wanted)
    assert (found["size"], found["proved"]) == (log.published.size, 17)
    wrong = ask(reader, directory, "-proof", str(tmp_path / "proof"), "-entry", "00" * 32)
    assert (wrong.returncode, "proof" in wrong.stderr) == (1, True)


def test_it_accepts_our_cosignatures_and_refuses_a_bad_one(reader: Path, tmp_path: Path) -> None:
    log = PublishedLog(9)
    note = sign(log.head, witnesses=True)
    log.files["checkpoint"] = note
    assert read(reader, log.write(tmp_path), "-witness", format_vkey(WITNESS))["cosigned"] == 1
    assert read(reader, tmp_path)["cosigned"] == 0
    (tmp_path / "checkpoint").write_bytes(note[:-10] + (b"A" if note[-10:-9] != b"A" else b"B") + note[-9:])
    assert ask(reader, tmp_path, "-witness", format_vkey(WITNESS)).returncode == 1


def test_it_accepts_what_a_witness_of_ours_shows(reader: Path, tmp_path: Path) -> None:
    """The log grows, a witness cosigns each step from its own memory, and the reader checks log, tiles and cosignature."""
    store_keys(tmp_path, generate_keys("w1.witness.example", is_mock=True))
    create_store(tmp_path)
    store = WitnessStore(tmp_path)
    witness = Witness(load_keys(tmp_path, is_mock=True), store, [VKEY], lambda: 1_800_000_000)
    options = ("-witness", format_vkey(witness.keys.vkey))
    log, old = PublishedLog(), 0
    for count in (5, 250, 2, 300):
        note = log.grow(count).files["checkpoint"]
        files = TileReader(log.head.size, lambda path: log.fetch(path, 10**6))
        proof = files.consistency_path(old) if old else ()
        witness.add_checkpoint(format_add_checkpoint(AddCheckpoint(old, proof, note)))
        old = log.head.size
        log.files["checkpoint"] = witness.shown(checkpoint_path(ORIGIN))
        found = read(reader, log.write(tmp_path / "public"), *options)
        assert (found["size"], found["cosigned"]) == (old, 1)
    store.close()
    other = generate_keys("w1.witness.example", is_mock=True)
    answer = ask(reader, tmp_path / "public", "-witness", format_vkey(other.vkey))
    assert (
        answer.returncode != 0 or json.loads(answer.stdout)["cosigned"] == 0
    )  # the control: another key, no cosignature


def test_a_proof_under_the_cosigned_checkpoint_is_accepted(reader: Path, tmp_path: Path) -> None:
    log = PublishedLog(300)
    log.files["checkpoint"] = sign(log.head, witnesses=True)
    path = TileReader(300, lambda path: log.fetch(path, 10**6)).inclusion_path(258)
    (tmp_path / "proof").write_bytes(format_tlog_proof(TlogProof(258, path, log.files["checkpoint"])))
    directory = log.write(tmp_path / "public")
    options = (
        "-proof",
        str(tmp_path / "proof"),
        "-entry",
        entry(258).hex(),
        "-witness",
        format_vkey(WITNESS),
    )
    assert read(reader, directory, *options)["proved"] == 258


def test_the_foreign_reader_refuses_what_our_auditor_refuses(reader: Path, tmp_path: Path) -> None:
    log = PublishedLog(600)
    for number, path in enumerate(
        sorted(path for path in log.files if path.startswith(("tile/", "checkpoint")))
    ):
        changed = PublishedLog(600).flip(path, 40)
        assert codes(run_audit(changed)) != [], path
        assert ask(reader, changed.write(tmp_path / str(number))).returncode == 1, path
    log.write(tmp_path / "good")
    assert ask(reader, tmp_path / "good").returncode == 0
    other = format_vkey(VKEY).replace("log/1", "log/2")
    assert ask(reader, tmp_path / "good", vkey=other).returncode == 1
