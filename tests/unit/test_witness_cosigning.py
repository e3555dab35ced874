"""The log's side of witnessing, with witnesses in this process: order, crashes, wrong answers, statements."""

from __future__ import annotations

import dataclasses
import hashlib
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chain import bls
from chain.checkpoint_key import SoftwareSigner
from chain.cosigning import Cosigning, Vouching, WitnessSet, build_cosigning
from chain.errors import LogRefused, LogUnavailable, SettingsError
from chain.floor import SeenHead
from chain.log import Log, create_log
from chain.transactions import compute_origin_id
from chain.witness import format_cosignature
from chain.witness_client import WitnessClient
from chain.witness_keys import generate_keys
from chain.witness_protocol import (
    ADD_CHECKPOINT,
    ANCHOR_STATEMENT,
    format_recorded_size,
    format_statement_answer,
)
from chain.witness_rules import AnchorTarget, Witness, WitnessRefusal
from chain.witness_store import WitnessStore, create_store
from verifier.formats.checkpoint import verify_bundled_checkpoint
from verifier.formats.signed_note import build_vkey
from verifier.formats.witness_policy import parse_witness_policy

ORIGIN = "door.mihon.example/992011/log/1"
PRIVATE = Ed25519PrivateKey.from_private_bytes(b"\x09" * 32)
KEY = build_vkey(ORIGIN, PRIVATE.public_key().public_bytes_raw())
TARGET = AnchorTarget(992011, b"\x5f" * 20)
NOBODY = SeenHead(0, bytes(32))


def entry(*parts: object) -> bytes:
    return hashlib.sha256(repr(parts).encode()).digest()


class LocalWitness(WitnessClient):
    """A witness without a network: the rules of the real one behind the real client."""

    def __init__(self, root: Path, name: str) -> None:
        directory = root / name
        directory.mkdir(parents=True)
        create_store(directory)
        self.keys = generate_keys(name, is_mock=True)
        self.store = WitnessStore(directory)
        self.rules = Witness(self.keys, self.store, [KEY], lambda: 1_800_000_000, [TARGET])
        self.is_away = False
        self.twist: Callable[[bytes], bytes] = lambda body: body
        self.asked: list[str] = []
        super().__init__(name, self.keys.vkey, f"http://{name}.example")

    @property
    def bls_key(self) -> bytes:
        return bls.public_key(self.keys.bls_secret)

    def _send(self, method: str, path: str, body: bytes | None = None):
        from chain.witness_client import WitnessAway, _Answer

        self.asked.append(path)
        if self.is_away:
            raise WitnessAway("witness-away", f"{self.name} does not answer: ConnectionRefusedError")
        try:
            if path == ADD_CHECKPOINT:
                answer = format_cosignature(self.rules.add_checkpoint(body))
            elif path == ANCHOR_STATEMENT:
                answer = format_statement_answer(self.rules.sign_statement(body))
            else:
                note = self.rules.shown(path)
                return _Answer(404, b"") if note is None else _Answer(200, self.twist(note))
        except WitnessRefusal as refusal:
            recorded = refusal.recorded
            return _Answer(refusal.status, b"" if recorded is None else format_recorded_size(recorded))
        return _Answer(200, self.twist(answer))


class City:
    """A log and three witnesses, two of which make the quorum."""

    def __init__(self, root: Path) -> None:
        self.root = root
        create_log(root / "log", ORIGIN)
        self.witnesses = [LocalWitness(root, name) for name in ("w1", "w2", "w3")]
        lines = [f"witness {item.name} {_vkey(item)}" for item in self.witnesses]
        self.policy = parse_witness_policy("\n".join([*lines, "group two 2 w1 w2 w3", "quorum two", ""]))
        self.open()

    def open(self) -> None:
        self.cosigning = Cosigning(self.policy, self.witnesses, KEY, timeout=5.0, settle=1.0)
        self.log = Log(
            self.root / "log", KEY, SoftwareSigner(PRIVATE), cosigning=self.cosigning, padding=1, mix=False
        )

    def reopen(self) -> None:
        self.log.close()
        self.open()

    def names(self) -> list[str]:
        data = (self.root / "log" / "public" / "checkpoint").read_bytes()
        verified = verify_bundled_checkpoint(data, KEY, self.policy.keys)
        return [item.key.name for item in verified.signatures][1:]

    def collect(self, previous: SeenHead, witnesses: WitnessSet) -> Vouching:
        published, path = self.log.consistency_path(previous.size)
        return self.cosigning.collect(
            TARGET.chain_id,
            TARGET.contract,
            published.checkpoint,
            previous,
            path,
            witnesses,
            self.log.history(),
        )

    def statement(self, previous: SeenHead) -> bls.AnchorStatement:
        published = self.log.published
        return bls.AnchorStatement(
            TARGET.chain_id,
            TARGET.contract,
            compute_origin_id(ORIGIN),
            published.size,
            published.root,
            previous.size,
            previous.root,
        )


def _vkey(witness: LocalWitness) -> str:
    from verifier.formats.signed_note import format_vkey

    return format_vkey(witness.key)


@pytest.fixture
def city(tmp_path: Path):
    city = City(tmp_path)
    yield city
    city.log.close()
    for witness in city.witnesses:
        witness.store.close()


def test_lines_stand_in_policy_order_whoever_answers(city: City) -> None:
    city.log.append([entry(0)])
    assert city.names() == ["w1", "w2", "w3"]
    city.witnesses[0].is_away = True
    city.log.append([entry(1)])
    assert city.names() == ["w2", "w3"]
    city.witnesses[0].is_away, city.witnesses[1].is_away = False, True
    city.log.append([entry(2)])
    assert city.names() == ["w1", "w3"]
    # the first call after a start learns the recorded size by a 409
    city.witnesses[1].is_away = False
    city.reopen()
    city.log.append([entry(3)])
    assert city.names() == ["w1", "w2", "w3"]


def test_what_an_earlier_try_brought_is_kept(city: City) -> None:
    city.log.append([entry("before")])
    for witness in city.witnesses[1:]:
        witness.is_away = True
    with pytest.raises(LogUnavailable, match=r"quorum-missing: 1 of 3.*w2.*w3"):
        city.log.append([entry(0)])
    city.witnesses[0].is_away, city.witnesses[1].is_away = True, False
    # w1's head is not had any more, but w2 and w3 answer what they have seen
    city.witnesses[2].is_away = False
    city.witnesses[2].twist = lambda body: body if body.startswith(ORIGIN.encode()) else b"nonsense"
    city.log.append([entry(0)])
    assert city.names() == ["w1", "w2"]


@pytest.mark.parametrize("step", ["write_note", "sign", "create", "replace", "clear"])
def test_a_crash_at_any_step_publishes_one_note_for_one_size(
    city: City, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    city.log.append([entry(0)])

    class Crash(BaseException): ...

    def crash(*_: object, **__: object) -> None:
        raise Crash

    owner = {
        "write_note": city.log._staging,
        "sign": city.log.store,
        "create": city.log.files,
        "replace": city.log.files,
        "clear": city.log._staging,
    }[step]
    with monkeypatch.context() as patch:
        patch.setattr(owner, step, crash)
        with pytest.raises(Crash):
            city.log.append([entry(1)])
    staged = city.root / "log" / "staging" / "1.note"
    note = staged.read_bytes() if staged.exists() else None
    assert (note is None) is (step == "write_note")
    for witness in city.witnesses:
        witness.is_away = note is not None  # nobody is asked again for what is staged
    city.reopen()
    city.log._is_cleared = True
    assert city.log.resume() is True
    assert city.log.published.size == 2
    assert city.names() == ["w1", "w2", "w3"]
    queued = [item.data for item in city.log.store.next_uploads(100) if item.path == "checkpoint"][-1]
    assert queued == city.log.published.checkpoint == (note or queued)
    assert not staged.exists()


@pytest.mark.parametrize(
    "kind", ["another text", "another key", "bad time", "nothing", "garbage", "too much"]
)
def test_a_wrong_cosignature_is_none(city: City, kind: str) -> None:
    liar = city.witnesses[0]
    other = generate_keys("w1", is_mock=True)

    def twist(body: bytes) -> bytes:
        if body.startswith(ORIGIN.encode()):
            return body
        text = city.log.published.checkpoint.partition(b"\n\n")[0].decode() + "\n"
        line = {
            "another text": liar.keys.cosign(f"{ORIGIN}\n7\n{'A' * 43}=\n", 1),
            "another key": other.cosign(text, 1),
            "bad time": liar.keys.cosign(text, 1),
        }.get(kind)
        if line is not None:
            signature = line.signature
            if kind == "bad time":
                signature = bytes(7) + b"\x02" + signature[8:]
            return format_cosignature(dataclasses.replace(line, signature=signature))
        return {"nothing": b"", "garbage": b"\xff\n\n\x00", "too much": body * 65}[kind]

    liar.twist = twist
    city.log.append([entry(0)])
    assert city.names() == ["w2", "w3"]
    liar.twist = lambda body: body
    city.log.append([entry(1)])
    assert city.names() == ["w1", "w2", "w3"]


def test_an_accusation_after_the_round_still_ends_the_signing(city: City) -> None:
    city.log.append([entry(0)])
    city.cosigning.accuse(LogRefused("seen-fork", "w3 has seen another root for size 1"))
    with pytest.raises(LogRefused, match="seen-fork"):
        city.log.append([entry(1)])
    assert city.log.refusal is not None


def test_a_witness_that_hangs_holds_up_nobody(city: City) -> None:
    release = threading.Event()
    slow = city.witnesses[2]
    city.cosigning._settle = 0.05

    def hang(body: bytes) -> bytes:
        release.wait(20)
        return body

    slow.twist = hang
    city.log.append([entry(0)])
    city.log.append([entry(1)])
    assert city.names() == ["w1", "w2"]
    assert slow.asked.count(ADD_CHECKPOINT) == 1, "not asked again while it has not answered"
    release.set()


def test_statements_are_summed_for_the_contract(city: City) -> None:
    city.log.append([entry(0), entry(1)])
    keys = [item.bls_key for item in city.witnesses]
    known = WitnessSet(2, {keys[0]: 4, keys[1]: 0, keys[2]: 7})
    vouching = city.collect(NOBODY, known)
    assert vouching.signer_bitmap == 0b10010001
    point = bls.decode_point(vouching.aggregate_signature)
    bls.verify_aggregate(keys, city.statement(NOBODY), point)
    asked = [len(item.asked) for item in city.witnesses]
    assert city.collect(NOBODY, known) == vouching
    assert [len(item.asked) for item in city.witnesses] == asked, "verified statements are kept"
    assert city.collect(NOBODY, WitnessSet(2, {keys[0]: 4, keys[1]: 0})).signer_bitmap == 0b10001
    first = SeenHead(city.log.published.size, city.log.published.root)
    city.log.append([entry(2)])
    vouching = city.collect(first, known)
    point = bls.decode_point(vouching.aggregate_signature)
    bls.verify_aggregate(keys, city.statement(first), point)


def test_statements_that_do_not_count(city: City) -> None:
    city.log.append([entry(0)])
    keys = [item.bls_key for item in city.witnesses]
    assert city.collect(NOBODY, WitnessSet(0, {})) == Vouching(0, b"")
    with pytest.raises(LogUnavailable, match="too-few-witnesses: 0 of 1"):
        city.collect(NOBODY, WitnessSet(1, {}))
    with pytest.raises(LogUnavailable, match=r"1 of 2.*not-registered"):
        city.collect(NOBODY, WitnessSet(2, {keys[0]: 0}))
    city.reopen()
    city.witnesses[0].is_away = True
    wrong = bls.sign_statement(5, city.statement(NOBODY))
    from chain.witness_protocol import StatementAnswer

    city.witnesses[1].twist = lambda body: format_statement_answer(StatementAnswer(keys[1], wrong))
    known = WitnessSet(2, dict(zip(keys, range(3), strict=True)))
    with pytest.raises(LogUnavailable, match=r"1 of 2.*witness-unusable"):
        city.collect(NOBODY, known)
    # another's signature under another's key counts once
    copied = format_statement_answer(
        StatementAnswer(
            keys[2], bls.sign_statement(city.witnesses[2].keys.bls_secret, city.statement(NOBODY))
        )
    )
    city.witnesses[1].twist = lambda body: copied
    with pytest.raises(LogUnavailable, match="1 of 2"):
        city.collect(NOBODY, known)
    city.witnesses[1].twist = lambda body: body
    assert city.collect(NOBODY, known).signer_bitmap.bit_count() >= 2


def test_a_witness_that_missed_the_checkpoint_cosigns_it_before_it_vouches(city: City) -> None:
    city.log.append([entry(0)])
    city.witnesses[2].is_away = True
    city.log.append([entry(1)])
    city.witnesses[2].is_away = False
    city.witnesses[0].is_away = True
    keys = [item.bls_key for item in city.witnesses]
    known = WitnessSet(2, dict(zip(keys, range(3), strict=True)))
    assert city.collect(NOBODY, known).signer_bitmap == 0b110
    assert city.witnesses[2].latest(KEY).size == 2


def test_a_policy_without_quorum_asks_nobody(city: City) -> None:
    assert build_cosigning(parse_witness_policy(""), {}, KEY) is None
    with pytest.raises(SettingsError, match="missing-setting"):
        build_cosigning(city.policy, {"w1": "http://127.0.0.1:1"}, KEY)
