"""What a witness takes and refuses: every answer of the protocol, beside each the request that is taken."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chain import bls
from chain.errors import SettingsError
from chain.transactions import compute_origin_id
from chain.tree import EMPTY_TREE, extend
from chain.witness_keys import generate_keys, load_identity, load_keys, store_keys
from chain.witness_protocol import (
    AddCheckpoint,
    StatementRequest,
    checkpoint_path,
    format_add_checkpoint,
    format_recorded_size,
    format_statement_answer,
    format_statement_request,
    parse_add_checkpoint,
    parse_recorded_size,
    parse_statement_answer,
    parse_statement_request,
)
from chain.witness_rules import AnchorTarget, Witness, WitnessRefusal
from chain.witness_settings import parse_logs, parse_targets
from chain.witness_store import WitnessStore, create_store
from verifier.errors import FormatError
from verifier.formats.checkpoint import Checkpoint, format_checkpoint_text, verify_public_checkpoint
from verifier.formats.encoding import base64_encode
from verifier.formats.merkle import EMPTY_ROOT
from verifier.formats.signed_note import (
    COSIGNATURE_ED25519,
    SignedNote,
    build_signature_line,
    build_vkey,
    format_note,
    format_vkey,
    parse_note,
    verify_known,
)
from verifier.formats.tiles import TileReader

ORIGIN = "door.mihon.example/992011/log/1"
NOW = 1_800_000_000
PRIVATE = Ed25519PrivateKey.from_private_bytes(b"\x09" * 32)
OTHER = Ed25519PrivateKey.from_private_bytes(b"\x0a" * 32)
KEY = build_vkey(ORIGIN, PRIVATE.public_key().public_bytes_raw())
TARGET = AnchorTarget(992011, b"\x5f" * 20)


class Tree:
    """A history of entries made of a word, so that two words are two histories."""

    def __init__(self, word: str = "a") -> None:
        self._entries = [hashlib.sha256(f"{word} {i}".encode()).digest() for i in range(40)]

    def reader(self, size: int) -> TileReader:
        files = dict(extend(EMPTY_TREE, self._entries[:size]).files)
        return TileReader(size, files.__getitem__)

    def root(self, size: int) -> bytes:
        return self.reader(size).root()

    def path(self, old: int, new: int) -> tuple[bytes, ...]:
        return self.reader(new).consistency_path(old) if 0 < old < new else ()

    def note(self, size: int, private: Ed25519PrivateKey = PRIVATE, origin: str = ORIGIN) -> bytes:
        text = format_checkpoint_text(Checkpoint(origin, size, self.root(size)))
        key = build_vkey(origin, private.public_key().public_bytes_raw())
        return format_note(SignedNote(text, (build_signature_line(key, private.sign(text.encode())),)))

    def add(self, old: int, new: int, **changes) -> bytes:
        request = {"old_size": old, "proof": self.path(old, new), "note": self.note(new)} | changes
        return format_add_checkpoint(AddCheckpoint(**request))

    def vouch(self, old: int, new: int, **changes) -> bytes:
        request = {
            "chain_id": TARGET.chain_id,
            "contract": TARGET.contract,
            "previous_size": old,
            "previous_root": self.root(old) if old else EMPTY_ROOT,
            "proof": self.path(old, new),
            "note": self.note(new),
        } | changes
        return format_statement_request(StatementRequest(**request))


LOG, FORK = Tree(), Tree("b")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    store_keys(tmp_path, generate_keys("w1.witness.example", is_mock=True))
    create_store(tmp_path)
    return tmp_path


@pytest.fixture
def witness(directory: Path):
    store = WitnessStore(directory)
    yield Witness(load_keys(directory, is_mock=True), store, [KEY], lambda: NOW, [TARGET])
    store.close()


def refusal(ask, body: bytes) -> WitnessRefusal:
    with pytest.raises(WitnessRefusal) as caught:
        ask(body)
    return caught.value


def test_a_line_of_checkpoints_is_cosigned_and_shown(witness: Witness) -> None:
    assert witness.shown(checkpoint_path(ORIGIN)) is None
    previous = 0
    for size in (1, 2, 5, 8, 9, 33):
        line = witness.add_checkpoint(LOG.add(previous, size))
        text = parse_note(LOG.note(size)).text
        verified = verify_known(SignedNote(text, (line,)), [witness.keys.vkey])
        assert [item.time for item in verified] == [NOW]
        shown = witness.shown(checkpoint_path(ORIGIN))
        both = verify_public_checkpoint(shown, KEY, [witness.keys.vkey])
        assert (both.checkpoint.size, len(both.signatures)) == (size, 2)
        previous = size
    # the same checkpoint again: the answer may have been lost
    assert witness.add_checkpoint(LOG.add(33, 33)).name == "w1.witness.example"
    assert witness.shown(checkpoint_path("other.example/log")) is None
    assert witness.keys.vkey.algorithm == COSIGNATURE_ED25519


def test_every_refusal_of_add_checkpoint(witness: Witness) -> None:
    witness.add_checkpoint(LOG.add(0, 5))
    path = LOG.path(5, 9)
    lines = {
        "old > size": (400, LOG.add(10, 9, proof=())),
        "not a request": (400, b"new 5\n\n" + LOG.note(9)),
        "leading zero": (400, LOG.add(5, 9).replace(b"old 5", b"old 05")),
        "no empty line": (400, LOG.add(5, 9).replace(b"\n\n", b"\n", 1)),
        "bad base64": (400, LOG.add(5, 9).replace(base64_encode(path[0]).encode(), b"AAAA=")),
        "64 proof lines": (400, LOG.add(5, 9, proof=(bytes(32),) * 64)),
        "extension line": (400, LOG.add(5, 9).replace(b"\n\n\xe2", b"\nmore\n\n\xe2")),
        "unknown origin": (404, LOG.add(5, 9, note=LOG.note(9, origin="door.other.example/1/log/1"))),
        "another key": (403, LOG.add(5, 9, note=LOG.note(9, private=OTHER))),
        "other size recorded": (409, LOG.add(4, 9)),
        "size 0 recorded": (409, LOG.add(0, 9)),
        "larger than recorded": (409, LOG.add(8, 9)),
        "empty proof": (422, LOG.add(5, 9, proof=())),
        "long proof": (422, LOG.add(5, 9, proof=(*path, bytes(32)))),
        "wrong proof": (422, LOG.add(5, 9, proof=(bytes(32), *path[1:]))),
        "fork": (422, FORK.add(5, 9)),
        "fork with our proof": (422, FORK.add(5, 9, proof=path)),
        "same size, other root": (422, FORK.add(5, 5)),
        "same size with a proof": (422, LOG.add(5, 5, proof=path)),
    }
    for name, (status, body) in lines.items():
        answer = refusal(witness.add_checkpoint, body)
        assert answer.status == status, (name, answer)
        assert answer.recorded == (5 if status == 409 else None), name
    signed = parse_note(LOG.note(9))
    wrong = build_signature_line(KEY, bytes(64))
    assert (
        refusal(
            witness.add_checkpoint, LOG.add(5, 9, note=format_note(SignedNote(signed.text, (wrong,))))
        ).status
        == 403
    )
    witness.add_checkpoint(LOG.add(5, 9))


def test_the_first_checkpoint_comes_without_proof(witness: Witness) -> None:
    assert refusal(witness.add_checkpoint, LOG.add(0, 5, proof=(bytes(32),))).code == "path-too-long"
    assert refusal(witness.add_checkpoint, LOG.add(2, 5)).recorded == 0
    witness.add_checkpoint(LOG.add(0, 5))


def test_two_roots_for_one_size_are_kept_as_evidence(directory: Path, witness: Witness) -> None:
    witness.add_checkpoint(LOG.add(0, 5))
    witness.add_checkpoint(LOG.add(5, 9))
    for body in (FORK.add(9, 9), FORK.add(5, 5), FORK.add(5, 5), FORK.add(0, 12)):
        refusal(witness.add_checkpoint, body)
    kept = witness._store.evidence(ORIGIN)
    # both are signed by the log: nobody can explain them away; size 12 contradicts nothing yet
    assert [verify_public_checkpoint(note, KEY).checkpoint.size for note in kept] == [5, 9]
    witness.add_checkpoint(LOG.add(9, 12))


def test_unknown_signatures_are_passed_over_and_not_shown(witness: Witness) -> None:
    note = parse_note(LOG.note(5))
    stranger = build_signature_line(build_vkey("x.example", bytes(32)), bytes(64))
    witness.add_checkpoint(
        LOG.add(0, 5, note=format_note(SignedNote(note.text, (stranger, *note.signatures))))
    )
    shown = parse_note(witness.shown(checkpoint_path(ORIGIN)))
    assert [line.name for line in shown.signatures] == [ORIGIN, "w1.witness.example"]


def test_statements_are_signed_for_cosigned_checkpoints_only(witness: Witness) -> None:
    witness.add_checkpoint(LOG.add(0, 5))
    witness.add_checkpoint(LOG.add(5, 9))
    witness.add_checkpoint(LOG.add(9, 12))
    for old, new in ((0, 5), (0, 12), (5, 9), (5, 12), (7, 9)):
        answer = witness.sign_statement(LOG.vouch(old, new))
        statement = bls.AnchorStatement(
            chain_id=TARGET.chain_id,
            contract=TARGET.contract,
            origin_id=compute_origin_id(ORIGIN),
            size=new,
            root=LOG.root(new),
            previous_size=old,
            previous_root=LOG.root(old) if old else bytes(32),
        )
        bls.verify_statement(answer.public_key, statement, answer.signature)
    for status, body in (
        (409, LOG.vouch(5, 10)),  # between two that were cosigned
        (409, LOG.vouch(5, 13)),
        (422, FORK.vouch(5, 9)),  # two roots for size 9
        (422, LOG.vouch(5, 9, previous_root=FORK.root(5))),
        (422, LOG.vouch(7, 9, previous_root=FORK.root(7))),
        (422, LOG.vouch(5, 9, proof=())),
        (422, LOG.vouch(0, 9, proof=(bytes(32),))),
        (400, LOG.vouch(9, 9)),
        (400, LOG.vouch(12, 9, proof=())),
        (404, LOG.vouch(5, 9, chain_id=1)),
        (404, LOG.vouch(5, 9, contract=b"\x60" * 20)),
        (404, LOG.vouch(5, 9, note=LOG.note(9, origin="door.other.example/1/log/1"))),
        (403, LOG.vouch(5, 9, note=LOG.note(9, private=OTHER))),
        (400, LOG.vouch(5, 9).replace(b"akashi/anchor-statement/v1", b"akashi/anchor-statement/v2")),
        (400, LOG.vouch(5, 9).replace(b"chain 9", b"chain 09")),
        (400, LOG.vouch(5, 9).replace(b"0x5f5f", b"0x5F5f")),
    ):
        answer = refusal(witness.sign_statement, body)
        assert answer.status == status, answer
        assert answer.recorded == (12 if status == 409 else None)


def test_memory_outlives_the_process_and_is_never_made_anew(directory: Path, witness: Witness) -> None:
    witness.add_checkpoint(LOG.add(0, 5))
    with pytest.raises(SettingsError, match="memory-in-use"):
        WitnessStore(directory)
    witness._store.close()
    again = WitnessStore(directory)
    assert again.read(ORIGIN).size == 5
    second = Witness(witness.keys, again, [KEY], lambda: NOW)
    assert refusal(second.add_checkpoint, FORK.add(0, 9)).recorded == 5
    second.add_checkpoint(LOG.add(5, 9))
    again.close()
    for name in ("witness.sqlite", "witness.sqlite-wal", "witness.sqlite-shm"):
        (directory / name).unlink(missing_ok=True)
    with pytest.raises(SettingsError, match="memory-missing"):
        WitnessStore(directory)


def test_keys_are_private_made_once_and_of_one_profile(directory: Path) -> None:
    keys = directory / "keys.json"
    assert keys.stat().st_mode & 0o777 == 0o600
    with pytest.raises(SettingsError, match="keys-exist"):
        store_keys(directory, generate_keys("w1.witness.example", is_mock=True))
    with pytest.raises(SettingsError, match="other-profile"):
        load_keys(directory, is_mock=False)
    loaded = load_keys(directory, is_mock=True)
    assert keys.read_text().split('"bls": "')[1][:64] not in repr(loaded)
    identity = load_identity(directory / "witness.json")
    assert identity.policy_line == f"witness w1.witness.example {format_vkey(loaded.vkey)}"
    text = (directory / "witness.json").read_text()
    other = bls.prove_possession(12345).hex()
    (directory / "witness.json").write_text(text.replace(identity.possession.hex(), other))
    with pytest.raises(SettingsError, match="bad-identity"):
        load_identity(directory / "witness.json")
    keys.chmod(0o644)
    with pytest.raises(SettingsError, match="bad-keys"):
        load_keys(directory, is_mock=True)
    for name in ("", "W1", "a b", "a+b", "見本"):
        with pytest.raises(SettingsError, match="bad-name"):
            generate_keys(name, is_mock=True)


def test_codecs_are_strict_and_raise_only_our_errors() -> None:
    request = LOG.add(5, 9)
    assert format_add_checkpoint(parse_add_checkpoint(request)) == request
    statement = LOG.vouch(5, 9)
    assert format_statement_request(parse_statement_request(statement)) == statement
    answer = format_statement_answer(
        parse_statement_answer(
            f"key {base64_encode(bytes(48))}\nsignature {base64_encode(bytes(96))}\n".encode()
        )
    )
    assert parse_recorded_size(format_recorded_size(20852014)) == 20852014
    for body in (b"", b"5", b"05\n", b"5\n\n", b"-1\n", "五\n".encode(), b"9" * 20 + b"\n"):
        with pytest.raises(FormatError):
            parse_recorded_size(body)
    chance = random.Random(7)
    for good, parse, write in (
        (request, parse_add_checkpoint, format_add_checkpoint),
        (statement, parse_statement_request, format_statement_request),
        (answer, parse_statement_answer, format_statement_answer),
    ):
        for _ in range(400):
            data = bytearray(good)
            for _ in range(chance.randint(1, 3)):
                at = chance.randrange(len(data))
                if chance.random() < 0.5:
                    data[at] = chance.randrange(256)
                else:
                    del data[at : at + chance.randint(1, 9)]
                    data = data or bytearray(b"x")
            try:
                parsed = parse(bytes(data))
            except FormatError:
                continue
            assert write(parsed) == bytes(data)  # one encoding each


def test_settings_files_are_strict() -> None:
    line = f"log {format_vkey(KEY)}"
    assert parse_logs(["# ours", "", line]) == (KEY,)
    cosigner = format_vkey(build_vkey("w.example", bytes(32), COSIGNATURE_ED25519))
    for lines in ([], [format_vkey(KEY)], [line, line], [line + " x"], ["log x+y+z"], [f"log {cosigner}"]):
        with pytest.raises(SettingsError, match="bad-logs"):
            parse_logs(lines)
    assert parse_targets("") == ()
    assert parse_targets("992011:0x" + "5f" * 20) == (TARGET,)
    for text in ("992011", "0:0x" + "5f" * 20, "1:0x5f", "1:" + "5f" * 20):
        with pytest.raises(SettingsError, match="bad-anchor"):
            parse_targets(text)
