"""The log: idempotent appends, recovery at each step, and every doubt that makes it refuse."""

from __future__ import annotations

import dataclasses
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chain.checkpoint_key import SoftwareSigner
from chain.errors import LogRefused, LogUnavailable, SigningError
from chain.floor import PublicCopy, SeenHead
from chain.fsck import check_log
from chain.log import Log, build_dummy, create_log
from verifier.errors import FormatError
from verifier.formats.checkpoint import verify_bundled_checkpoint
from verifier.formats.merkle import EMPTY_ROOT, verify_consistency
from verifier.formats.signed_note import VerifierKey, build_vkey
from verifier.formats.tlog_proof import (
    format_tlog_proof,
    parse_tlog_proof,
    upgrade_tlog_proof,
    verify_tlog_proof,
)

ORIGIN = "door.mihon.example/992011/log/1"
PRIVATE = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)
KEY: VerifierKey = build_vkey(ORIGIN, PRIVATE.public_key().public_bytes_raw())


class RecordingSigner(SoftwareSigner):
    """Signs, remembers every text, and can be away."""

    def __init__(self) -> None:
        super().__init__(PRIVATE)
        self.texts: list[str] = []
        self.is_away = False

    def sign(self, note_text: str) -> bytes:
        if self.is_away:
            raise LogUnavailable("signer-away", "test")
        self.texts.append(note_text)
        return super().sign(note_text)

    def assert_one_root_a_size(self) -> None:
        sizes = [text.split("\n")[1] for text in set(self.texts)]
        assert len(sizes) == len(set(sizes)), "two roots for one size"


def entry(number: int) -> bytes:
    return number.to_bytes(32, "big")


@pytest.fixture
def signer() -> RecordingSigner:
    return RecordingSigner()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    create_log(tmp_path / "log", ORIGIN)
    return tmp_path / "log"


@pytest.fixture
def open_log(directory: Path, signer: RecordingSigner):
    """Opens the log again and again; a log opened before is dropped as a crash would drop it."""
    opened: list[Log] = []

    def open_again(**options) -> Log:
        if opened:
            opened.pop().close()
        log = Log(directory, KEY, signer, **({"padding": 1, "mix": False} | options))
        opened.append(log)
        return log

    yield open_again
    for log in opened:
        log.close()


def test_entries_are_provable_and_the_same_entry_keeps_its_first_index(open_log) -> None:
    log = open_log()
    assert log.append([entry(1), entry(2)]) == [0, 1]
    assert log.append([entry(2), entry(3), entry(3)]) == [1, 2, 2]
    assert log.append([entry(1)]) == [0]
    assert log.published.size == 3
    proof = parse_tlog_proof(format_tlog_proof(log.prove(2)))
    verified = verify_tlog_proof(proof, entry(3), KEY)
    assert (verified.checkpoint.size, verified.checkpoint.origin) == (3, ORIGIN)
    with pytest.raises(FormatError):
        verify_tlog_proof(proof, entry(2), KEY)
    assert log.find(entry(9)) is None


def test_nothing_new_makes_no_checkpoint_and_cover_makes_one(open_log, signer) -> None:
    log = open_log(padding=4)
    assert log.append([]) == []
    assert log.published.size == 0
    log.append([], cover=True)
    assert log.published.size == 4
    log.append([entry(1)])
    assert log.published.size == 8
    log.append([entry(1)])
    assert log.published.size == 8
    assert len(signer.texts) == 2


def test_batches_are_padded_with_dummies_and_mixed(open_log) -> None:
    log = open_log(padding=8, mix=True)
    entries = [bytes([200 - i]) * 32 for i in range(5)]
    indices = log.append(entries)
    assert sorted(indices) == sorted(set(indices))
    assert log.published.size == 8
    assert indices == sorted(indices, reverse=True), "leaves stand in the order of their values"
    assert build_dummy() != build_dummy()


def test_checkpoints_extend_each_other_and_old_proofs_can_be_upgraded(open_log) -> None:
    log = open_log()
    log.append([entry(i) for i in range(5)])
    old, old_published = log.prove(3), log.published
    log.append([entry(i) for i in range(5, 700)])
    published, path = log.consistency_path(old_published.size)
    verify_consistency(5, old_published.root, published.size, published.root, path)
    new = upgrade_tlog_proof(old, entry(3), published.checkpoint, log.files.read, KEY)
    assert verify_tlog_proof(new, entry(3), KEY).checkpoint.size == 700
    with pytest.raises(FormatError):
        upgrade_tlog_proof(old, entry(4), published.checkpoint, log.files.read, KEY)
    assert log.root_at(5) == old_published.root
    assert log.root_at(0) == EMPTY_ROOT
    for size in (1, 255, 256, 257, 600, 699):
        _, path = log.consistency_path(size)
        verify_consistency(size, log.root_at(size), 700, published.root, path)


def test_a_reopened_log_goes_on_where_it_was(open_log) -> None:
    log = open_log()
    for start in range(0, 600, 100):
        log.append([entry(start + i) for i in range(100)])
        log = open_log()
    assert log.published.size == 600
    assert log.append([entry(5), entry(600)]) == [5, 600]
    verify_tlog_proof(log.prove(599), entry(599), KEY)
    assert check_log(log.files.directory, KEY).findings == ()


# -- crashes: after each step, before and after it took effect
# ------------------------------------------------------


class Crash(BaseException):
    """The process dies here: nothing in between may catch it."""


def crash_at(log: Log, step: str, *, after: bool) -> None:
    owner, name = {
        "stage": (log._staging, "write"),
        "commit": (log.store, "commit"),
        "sign": (log._signer, "sign"),
        "store signature": (log.store, "sign"),
        "tiles": (log.files, "create"),
        "checkpoint": (log.files, "replace"),
        "index": (log.index, "add"),
        "clear staging": (log._staging, "clear"),
        "drop partial tiles": (log.files, "remove"),
    }[step]
    original: Callable = getattr(owner, name)

    def dying(*arguments, **options):
        if after:
            original(*arguments, **options)
        raise Crash(step)

    setattr(owner, name, dying)


STEPS = [
    "stage",
    "commit",
    "sign",
    "store signature",
    "tiles",
    "checkpoint",
    "index",
    "clear staging",
    "drop partial tiles",
]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_a_crash_at_any_step_loses_nothing_and_forks_nothing(
    open_log, signer, step: str, after: bool
) -> None:
    log = open_log()
    log.append([entry(i) for i in range(200)])
    before = log.published
    crash_at(log, step, after=after)
    with pytest.raises(Crash):
        log.append([entry(i) for i in range(200, 300)])
    signer.__dict__.pop("sign", None)
    log = open_log()
    log.resume()
    assert log.published.size in (200, 300)
    if step not in ("stage", "commit") or (step == "commit" and after):
        assert log.published.size == 300, "what was committed is published by the recovery"
    # the sender repeats what was never acknowledged, in another order and with something new
    indices = log.append([entry(i) for i in range(301, 199, -1)])
    assert len(set(indices)) == 102
    assert log.published.size == 302
    for index, number in zip(indices, range(301, 199, -1), strict=True):
        verify_tlog_proof(log.prove(index), entry(number), KEY)
    published, path = log.consistency_path(200)
    verify_consistency(200, before.root, published.size, published.root, path)
    signer.assert_one_root_a_size()
    assert check_log(log.files.directory, KEY).findings == ()
    assert not list((log.files.directory.parent / "staging").glob("*.entries"))


@pytest.mark.parametrize("after", [False, True], ids=["failed", "failed but happened"])
@pytest.mark.parametrize("step", ["stage", "commit", "store signature", "tiles", "checkpoint", "index"])
def test_an_error_at_any_step_is_retried_in_the_same_process(
    open_log, signer, step: str, after: bool
) -> None:
    """Without a restart: the disk or database fails once, perhaps after the step took effect."""
    log = open_log()
    log.append([entry(i) for i in range(200)])
    crash_at(log, step, after=after)
    owner = {"stage": log._staging, "tiles": log.files, "checkpoint": log.files, "index": log.index}.get(
        step, log.store
    )
    name = next(iter(set(vars(owner)) & {"write", "commit", "sign", "create", "replace", "add"}))
    dying = getattr(owner, name)

    def failing(*arguments, **options):
        try:
            return dying(*arguments, **options)
        except Crash as crash:
            raise OSError(5, "injected") from crash

    setattr(owner, name, failing)
    with pytest.raises(LogUnavailable, match="store-away"):
        log.append([entry(i) for i in range(200, 300)])
    delattr(owner, name)
    indices = log.append([entry(i) for i in range(200, 301)])
    assert len(set(indices)) == 101
    assert log.published.size == 301
    verify_tlog_proof(log.prove(indices[-1]), entry(300), KEY)
    signer.assert_one_root_a_size()
    assert check_log(log.files.directory, KEY).findings == ()


def test_an_absent_signer_delays_and_the_same_root_is_signed_later(open_log, signer) -> None:
    log = open_log()
    log.append([entry(1)])
    signer.is_away = True
    for _ in range(2):
        with pytest.raises(LogUnavailable, match="signer-away"):
            log.append([entry(2)])
    assert not log.resume()
    log = open_log()  # starts although the signer is away
    assert log.published.size == 1
    signer.is_away = False
    assert log.append([entry(3), entry(2)]) == [2, 1]
    signer.assert_one_root_a_size()


def test_a_signature_by_another_key_is_never_published(open_log, directory: Path) -> None:
    class OtherSigner(SoftwareSigner):
        def __init__(self) -> None:
            super().__init__(Ed25519PrivateKey.generate())

    open_log().close()
    log = Log(directory, KEY, OtherSigner())
    with pytest.raises(SigningError, match="wrong-key"):
        log.append([entry(1)])
    assert log.files.find("checkpoint") is None
    log.close()


# -- doubt
# ----------------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Source:
    """Somebody who has seen the log."""

    head: SeenHead | None
    is_binding: bool = True
    name: str = "test source"

    def seen_head(self) -> SeenHead:
        if self.head is None:
            raise LogUnavailable("away", "test")
        return self.head


@pytest.mark.parametrize("is_binding", [True, False])
def test_a_log_smaller_than_what_was_seen_never_signs(open_log, signer, is_binding: bool) -> None:
    log = open_log()
    log.append([entry(1), entry(2)])
    log = open_log(sources=[Source(SeenHead(3, b"\x01" * 32), is_binding)])
    for attempt in ([entry(3)], [entry(1)]):  # the refusal holds, whatever is asked
        with pytest.raises(LogRefused, match="seen-larger"):
            log.append(attempt)
    assert len(signer.texts) == 1
    assert log.published.size == 2
    log = open_log(
        sources=[Source(SeenHead(2, log.published.root), is_binding), Source(SeenHead(0, EMPTY_ROOT))]
    )
    assert log.append([entry(3)]) == [2]


def test_a_fork_is_refused_and_a_known_head_is_not(open_log) -> None:
    log = open_log()
    log.append([entry(1), entry(2)])
    root = log.published.root
    log.append([entry(3)])
    log = open_log(sources=[Source(SeenHead(2, b"\x01" * 32))])
    with pytest.raises(LogRefused, match="seen-fork"):
        log.append([entry(4)])
    log = open_log(sources=[Source(SeenHead(2, root))])
    log.resume()
    assert log.append([entry(4)]) == [3]


def test_nobody_to_ask_means_nothing_is_signed(open_log, signer) -> None:
    source = Source(None)
    log = open_log(sources=[source, Source(SeenHead(0, EMPTY_ROOT), is_binding=False)])
    with pytest.raises(LogUnavailable, match="nobody-to-ask"):
        log.append([entry(1)])
    assert signer.texts == []
    source.head = SeenHead(0, EMPTY_ROOT)
    assert log.append([entry(1)]) == [0]
    source.head = None
    assert log.append([entry(2)]) == [1], "once compared, an outage of the chain does not stop the log"


def test_a_restored_backup_refuses_because_the_public_copy_knows_more(
    open_log, directory: Path, tmp_path
) -> None:
    log = open_log()
    log.append([entry(1)])
    log.close()
    shutil.copytree(directory, tmp_path / "backup")
    log = Log(directory, KEY, SoftwareSigner(PRIVATE))
    log.append([entry(2)])
    public = dict.fromkeys(["checkpoint"], log.published.checkpoint)
    log.close()
    restored = Log(
        tmp_path / "backup", KEY, SoftwareSigner(PRIVATE), sources=[PublicCopy(public.__getitem__, KEY)]
    )
    with pytest.raises(LogRefused, match="seen-larger"):
        restored.append([entry(3)])
    assert restored.published.size == 1
    restored.close()


def tamper_missing_database(directory: Path) -> None:
    (directory / "log.sqlite").unlink()


def tamper_missing_checkpoint(directory: Path) -> None:
    (directory / "public" / "checkpoint").unlink()


def tamper_missing_tile(directory: Path) -> None:
    (directory / "public" / "tile" / "0" / "001.p" / "44").unlink()


def tamper_changed_tile(directory: Path) -> None:
    path = directory / "public" / "tile" / "0" / "001.p" / "44"
    path.write_bytes(b"\x00" + path.read_bytes()[1:])


def tamper_forged_checkpoint(directory: Path) -> None:
    path = directory / "public" / "checkpoint"
    path.write_bytes(path.read_bytes().replace(b"\n300\n", b"\n301\n"))


def tamper_head(statement: str) -> Callable[[Path], None]:
    def tamper(directory: Path) -> None:
        with sqlite3.connect(directory / "log.sqlite") as connection:
            connection.execute(statement)

    return tamper


@pytest.mark.parametrize(
    ("tamper", "code"),
    [
        (tamper_missing_database, "database-missing"),
        (tamper_missing_checkpoint, "checkpoint-missing"),
        (tamper_missing_tile, "tiles-damaged"),
        (tamper_changed_tile, "tiles-damaged"),
        (tamper_forged_checkpoint, "checkpoint-damaged"),
        (tamper_head("UPDATE head SET size = 299"), "published-ahead"),
        (tamper_head("UPDATE head SET root = zeroblob(32)"), "hash-mismatch"),
        (tamper_head("UPDATE head SET frontier = zeroblob(32)"), "hash-mismatch"),
        (tamper_head("UPDATE head SET signature = NULL"), "hash-mismatch"),
        (tamper_head("UPDATE head SET size = 400, previous_size = 350"), "published-behind"),
        (tamper_head("UPDATE head SET size = 400, previous_size = 300"), "staging-lost"),
        (tamper_head("UPDATE head SET origin = 'other'"), "no-head"),
        (tamper_head("UPDATE schema SET version = 99"), "other-schema"),
    ],
)
def test_the_log_refuses_to_start_on_doubt(open_log, directory: Path, tamper, code: str) -> None:
    log = open_log()
    log.append([entry(i) for i in range(290)])
    log.append([entry(i) for i in range(290, 300)])
    log.close()
    tamper(directory)
    with pytest.raises(LogRefused, match=code):
        Log(directory, KEY, SoftwareSigner(PRIVATE))


def test_an_older_database_under_newer_files_is_refused(open_log, directory: Path, tmp_path: Path) -> None:
    log = open_log()
    log.append([entry(1)])
    log.close()
    for file in directory.glob("log.sqlite*"):
        shutil.copy(file, tmp_path / file.name)
    log = Log(directory, KEY, SoftwareSigner(PRIVATE), padding=1)
    log.append([entry(2)])
    log.close()
    for file in directory.glob("log.sqlite*"):
        file.unlink()
    for file in tmp_path.glob("log.sqlite*"):
        shutil.copy(file, directory / file.name)
    with pytest.raises(LogRefused, match="published-ahead"):
        Log(directory, KEY, SoftwareSigner(PRIVATE))


def test_one_process_owns_a_log_and_a_log_is_begun_once(open_log, directory: Path) -> None:
    open_log()
    with pytest.raises(LogRefused, match="log-in-use"):
        Log(directory, KEY, SoftwareSigner(PRIVATE))
    with pytest.raises(LogRefused, match="directory-in-use"):
        create_log(directory, ORIGIN)


@pytest.mark.parametrize("change", ["size = 7", "root = zeroblob(32)", "signature = NULL"])
def test_a_second_owner_is_caught_by_the_compare_and_swap(open_log, directory: Path, change: str) -> None:
    log = open_log()
    log.append([entry(1)])
    with sqlite3.connect(directory / "log.sqlite") as connection:
        connection.execute(f"UPDATE head SET {change}")
    with pytest.raises(LogRefused, match="head-moved"):
        log.append([entry(2)])
    assert log.published.size == 1


@pytest.mark.parametrize(
    "damage", ["missing", "table missing", "garbage", "ahead", "behind", "another log's"]
)
def test_the_index_is_a_cache_and_comes_back_by_itself(open_log, directory: Path, damage: str) -> None:
    log = open_log()
    log.append([entry(i) for i in range(300)])
    log.close()
    covered = directory / "index" / "covered"
    if damage == "missing":
        shutil.rmtree(directory / "index")
    elif damage == "table missing":
        (directory / "index" / "07").unlink()
    elif damage == "garbage":
        covered.write_bytes(b"not an index at all" * 100)
    elif damage == "another log's":
        create_log(directory.parent / "other", ORIGIN)
        other = Log(directory.parent / "other", KEY, SoftwareSigner(PRIVATE), padding=1, mix=False)
        other.append([entry(i) for i in range(299, -1, -1)])
        other.close()
        shutil.rmtree(directory / "index")
        shutil.copytree(directory.parent / "other" / "index", directory / "index")
    else:
        size = {"ahead": "900", "behind": "0"}[damage]
        covered.write_text(f"{covered.read_text().partition(chr(10))[0]}\n{size}\n")
    log = open_log()
    assert log.append([entry(299), entry(0), entry(300)]) == [299, 0, 300]
    assert check_log(log.files.directory, KEY).size == 301


def test_fsck_finds_what_was_changed(open_log) -> None:
    log = open_log()
    log.append([entry(i) for i in range(600)])
    public = log.files.directory
    report = check_log(public, KEY)
    assert (report.size, report.findings) == (600, ())
    assert report.tiles == 4
    bundle = public / "tile" / "entries" / "001"
    original = bundle.read_bytes()
    bundle.write_bytes(original[:100] + b"\xff" + original[101:])
    assert check_log(public, KEY).findings
    bundle.write_bytes(original)
    tile = public / "tile" / "1" / "000.p" / "2"
    tile.write_bytes(bytes(64))
    assert check_log(public, KEY).findings == ("tile/1/000.p/2 is not what lies below it",)


def test_uploads_and_stamps_are_queued_with_the_signature_data_before_checkpoint(open_log) -> None:
    log = open_log()
    log.append([entry(i) for i in range(300)])
    uploads = log.store.next_uploads(100)
    assert uploads[-1].path == "checkpoint"
    assert uploads[-1].data == log.published.checkpoint
    assert {upload.path for upload in uploads[:-1]} == {
        "tile/0/000",
        "tile/0/001.p/44",
        "tile/1/000.p/1",
        "tile/entries/000",
        "tile/entries/001.p/44",
    }
    size, digest = log.store.next_stamp()
    assert size == 300
    assert len(digest) == 32
    assert verify_bundled_checkpoint(uploads[-1].data, KEY).checkpoint.size == 300
