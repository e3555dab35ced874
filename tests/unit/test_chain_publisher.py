"""Bringing public files to the street: data before checkpoint, and never an older checkpoint after a newer one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chain.checkpoint_key import SoftwareSigner
from chain.errors import LogRefused, LogUnavailable
from chain.log import Log, create_log
from chain.publisher import DirectoryFiles, Publisher
from verifier.formats.signed_note import build_vkey

ORIGIN = "door.mihon.example/992011/log/1"
PRIVATE = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)
KEY = build_vkey(ORIGIN, PRIVATE.public_key().public_bytes_raw())


class Street:
    """Takes files, notes their order, and fails or dies when it is told to."""

    def __init__(self) -> None:
        self.puts: list[tuple[str, bytes]] = []
        self.fail_at: int | None = None

    def put(self, path: str, data: bytes, replace: bool) -> None:
        if self.fail_at == len(self.puts):
            self.fail_at = None
            raise LogUnavailable("street-away", "test")
        self.puts.append((path.removeprefix("992011/log/1/"), data))

    def find(self, path: str) -> bytes | None:
        found = [data for name, data in self.puts if path.endswith(name)]
        return found[-1] if found else None

    def sizes(self) -> list[int]:
        return [int(data.split(b"\n")[1]) for path, data in self.puts if path == "checkpoint"]


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    create_log(tmp_path / "log", ORIGIN)
    log = Log(tmp_path / "log", KEY, SoftwareSigner(PRIVATE), padding=1)
    yield log
    log.close()


def append(log: Log, *numbers: int) -> None:
    for number in numbers:
        log.append([number.to_bytes(32)])


def test_of_several_checkpoints_that_wait_the_newest_goes_after_all_data(log: Log) -> None:
    append(log, 1, 2, 3)
    street = Street()
    Publisher(log, street, "992011/log/1").run()
    assert street.sizes() == [3]
    assert street.puts[-1][0] == "checkpoint"
    assert {path for path, _ in street.puts[:-1]} >= {"tile/0/000.p/1", "tile/0/000.p/2", "tile/0/000.p/3"}
    assert log.store.count_uploads() == 0


def test_after_a_crash_the_street_does_not_go_back(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process dies between the put and the note that it is done; more was logged meanwhile."""
    street = Street()
    publisher = Publisher(log, street, "992011/log/1")
    append(log, 1, 2)

    class Crash(BaseException):
        """The process dies here."""

    def die(_through: int) -> None:
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(log.store, "finish_uploads", die)
        with pytest.raises(Crash):
            publisher.run()
    append(log, 3)
    Publisher(log, street, "992011/log/1").run()
    assert street.sizes() == [2, 3]


@pytest.mark.parametrize("number", range(9))
def test_a_street_that_fails_gets_the_rest_later_and_in_order(log: Log, number: int) -> None:
    append(log, 1, 2, 3)
    street = Street()
    street.fail_at = number
    publisher = Publisher(log, street, "992011/log/1")
    publisher.run()
    assert bool(publisher.trouble) == (number < 7)
    publisher.run()
    assert publisher.trouble == ""
    assert street.sizes() == [3]
    assert [path for path, _ in street.puts].count("tile/0/000.p/2") == 1


def test_a_restored_backup_does_not_take_the_street_back(tmp_path: Path) -> None:
    """It has an older checkpoint still to upload; the street's newer one is the proof that history was lost, and stays."""
    create_log(tmp_path / "log", ORIGIN)
    log = Log(tmp_path / "log", KEY, SoftwareSigner(PRIVATE), padding=1)
    append(log, 1)
    log.close()
    shutil.copytree(tmp_path / "log", tmp_path / "backup")
    log = Log(tmp_path / "log", KEY, SoftwareSigner(PRIVATE), padding=1)
    append(log, 2)
    street = DirectoryFiles(tmp_path / "street")
    Publisher(log, street, "992011/log/1").run()
    newest = log.published.checkpoint
    log.close()
    restored = Log(tmp_path / "backup", KEY, SoftwareSigner(PRIVATE), padding=1)
    assert restored.store.count_uploads() > 0
    with pytest.raises(LogRefused, match="seen-larger"):
        Publisher(restored, street, "992011/log/1").run()
    assert street.find("992011/log/1/checkpoint") == newest
    with pytest.raises(LogRefused, match="seen-larger"):
        append(restored, 3)
    restored.close()


def test_another_history_on_the_street_stops_the_log(tmp_path: Path) -> None:
    street = DirectoryFiles(tmp_path / "street")
    for name, number in (("one", 1), ("two", 2)):
        create_log(tmp_path / name, ORIGIN)
        log = Log(tmp_path / name, KEY, SoftwareSigner(PRIVATE), padding=1)
        append(log, number)
        if name == "one":
            Publisher(log, street, "992011/log/1").run()
            checkpoint = log.published.checkpoint
            log.close()
    with pytest.raises(LogRefused, match="seen-fork"):
        Publisher(log, street, "992011/log/1").run()
    assert street.find("992011/log/1/checkpoint") == checkpoint
    log.close()


def test_what_is_not_our_checkpoint_accuses_nobody(log: Log, tmp_path: Path) -> None:
    """Whoever runs the street may put anything there; only our own signature can stop us."""
    street = DirectoryFiles(tmp_path / "street")
    street.put("992011/log/1/checkpoint", b"door.mihon.example/992011/log/1\n99\n", True)
    append(log, 1)
    Publisher(log, street, "992011/log/1").run()
    assert street.find("992011/log/1/checkpoint") == log.published.checkpoint
    assert log.refusal is None
