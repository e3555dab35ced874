"""Bringing public files to the street: data before checkpoint, and never an older checkpoint after a newer one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chain.checkpoint_key import SoftwareSigner
from chain.errors import LogUnavailable
from chain.log import Log, create_log
from chain.publisher import Publisher
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
