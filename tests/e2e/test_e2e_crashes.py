"""kill -9 of every process at random moments while phones ask: each wish still ends in exactly one certificate.

Slow (about 90 s): some thirty processes are killed and started again under load. AKASHI_SOAK_MINUTES makes it longer
(`make soak`).
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from app.house.people import PASSWORDS
from app.house.setup import log_verifier_key
from app.house.witnesses import WITNESSES
from app.registers.gate import METADATA_REQUEST
from app.sealing.signer_audit import verify_audit
from chain.client import LogClient
from chain.files import FileTree
from chain.fsck import check_log
from mobile_api.errors import CityRefused, DoorRefused, DoorUnavailable, NoAnswerYet
from tests.support.running_house import (
    Holder,
    RunningHouse,
    certificate_of,
    is_valid,
    pid_is_alive,
    wait_for,
)
from verifier.formats.tiles import entries_path, list_tiles, parse_entries

pytestmark = pytest.mark.slow

VICTIMS = ("door", "worker", "gate", "signer", "log", "chain", "trust-services", "jpki", "staff", *WITNESSES)
PHONES = 6
SECONDS = 50.0
LEAST_KILLS = 20
RESUMED = "went on with"
LONGER_SECONDS = 180.0
SETTLE_SECONDS = 90.0
ANCHOR_SECONDS = 60.0


def duration() -> float:
    """Seconds of killing."""
    return max(SECONDS, 60 * float(os.environ.get("AKASHI_SOAK_MINUTES") or 0))


@dataclass
class Storm:
    """What was killed, what was asked, what became of it."""

    house: RunningHouse
    holders: list[Holder]
    kills: list[tuple[str, int, int]] = field(default_factory=list)
    wishes: list[tuple[Holder, str]] = field(default_factory=list)
    troubles: Counter[str] = field(default_factory=Counter)
    over: threading.Event = field(default_factory=threading.Event)

    def rage(self, seed: int) -> None:
        """Kill one process after the other at random moments; each is started again before the next is killed."""
        dice = random.Random(seed)
        bag: list[str] = []
        end = time.monotonic() + duration()
        latest = end + LONGER_SECONDS
        # not by the clock alone: a busy machine kills more slowly, and what has to be seen must have a chance to happen
        while time.monotonic() < (end if self.is_enough() else latest):
            if not bag:
                # Everybody's turn comes; the worker, which does most, comes twice.
                bag = [*VICTIMS, "worker"]
                dice.shuffle(bag)
            name = bag.pop()
            time.sleep(dice.uniform(0.0, 0.8))
            pid = self.house.house.processes.pid(name)
            assert pid_is_alive(pid)
            under_way = self.under_way()
            self.house.kill(name)
            assert not pid_is_alive(pid)
            self.kills.append((name, pid, under_way))
            time.sleep(dice.choice((0.0, 0.0, 0.3, 1.0)))
            self.house.restart(name)
        self.over.set()

    def is_enough(self) -> bool:
        """Enough kills, and a worker has gone on with what a killed one had begun."""
        return len(self.kills) >= LEAST_KILLS and RESUMED in self.house.log_text("worker")

    def under_way(self) -> int:
        """Wishes between the phone's first word and the package."""
        return sum(1 for holder, wish in list(self.wishes) if not is_fetched(holder, wish))

    def ask(self, number: int) -> None:
        """One phone: wish after wish, each until it is fetched, whatever happens meanwhile."""
        holder, count = self.holders[number], 0
        while not self.over.is_set():
            wish = f"storm {number} / {count}"
            count += 1
            self.wishes.append((holder, wish))
            end = time.monotonic() + duration() + LONGER_SECONDS + SETTLE_SECONDS
            while not is_fetched(holder, wish):
                assert time.monotonic() < end, f"{wish}: {holder.phone.requests()[-1]}"
                self._try(holder, wish)

    def _try(self, holder: Holder, wish: str) -> None:
        try:
            request = holder.request(wish)
            holder.wait(request, timeout=20)
            holder.phone.fetch_package(request)
        except (NoAnswerYet, DoorUnavailable, DoorRefused, CityRefused) as trouble:
            self.troubles[f"{type(trouble).__name__} {trouble.code}"] += 1
            # Only what says that trying again helps may have been refused.
            assert not isinstance(trouble, CityRefused) or trouble.retry, trouble
            assert not isinstance(trouble, DoorRefused), trouble
            time.sleep(0.2)


def is_fetched(holder: Holder, wish: str) -> bool:
    return any(r["purpose"] == wish and r["state"] == "fetched" for r in holder.phone.requests())


@pytest.fixture(scope="module")
def storm(house: RunningHouse) -> Iterator[Storm]:
    """The storm, and the calm after it: every process lives, every wish is fetched."""
    quick: dict[str, Any] = {"attempts": 3, "sleep": lambda seconds: time.sleep(min(seconds, 0.5))}
    holders = [house.holder(f"storm-{number}", **quick) for number in range(PHONES)]
    for holder in holders:
        holder.phone.sign_up(holder.card, PASSWORDS, timeout=60)
    made = Storm(house, holders)
    try:
        with ThreadPoolExecutor(PHONES + 1) as pool:
            raging = pool.submit(made.rage, int(os.environ.get("AKASHI_SOAK_SEED") or 20261120))
            asking = [pool.submit(made.ask, number) for number in range(PHONES)]
            with suppress(BaseException):
                raging.result()
            made.over.set()
            for done in (raging, *asking):
                done.result()
        yield made
    finally:
        house.make_whole()


def mine(storm: Storm, query: str) -> list[tuple[Any, ...]]:
    """Rows of the worker's store that belong to the storm's phones."""
    accounts = ",".join(f"'{holder.phone.account}'" for holder in storm.holders)
    return storm.house.rows("worker", query.format(accounts=accounts))


def test_the_kills_hit(storm: Storm) -> None:
    """Every process was killed at least once, most of them while somebody was waiting for a certificate."""
    killed = Counter(name for name, _, _ in storm.kills)
    assert set(killed) == set(VICTIMS), killed
    assert len(storm.kills) >= LEAST_KILLS
    assert len({pid for _, pid, _ in storm.kills}) == len(storm.kills)
    assert sum(1 for _, _, under_way in storm.kills if under_way) >= len(storm.kills) // 2
    assert storm.troubles or "waits" in storm.house.log_text("worker")
    assert RESUMED in storm.house.log_text("worker")


def test_each_wish_ended_in_exactly_one_certificate(storm: Storm) -> None:
    rows = mine(
        storm,
        "SELECT r.request_id, r.state, c.certificate_id, c.entry, c.status_list, c.status_index, c.log_index, c.package_id"
        " FROM requests r LEFT JOIN certificates c ON c.request_id = r.request_id WHERE r.account IN ({accounts})",
    )
    assert len(rows) == len(storm.wishes) >= PHONES
    assert {row[1] for row in rows} == {"released"}
    for column in (2, 3, 6, 7):
        assert len({row[column] for row in rows}) == len(rows)
        assert None not in {row[column] for row in rows}
    every = storm.house.rows("worker", "SELECT status_list, status_index FROM certificates")
    assert len(set(every)) == len(every)
    assert storm.house.rows("worker", "SELECT count(*) FROM artifacts WHERE page IS NOT NULL") == [(0,)]


def test_the_signer_sealed_no_serial_for_two_requests(storm: Storm) -> None:
    """The audit's chain of lines is whole; every seal belongs to one request, one serial, one authorisation."""
    assert verify_audit(storm.house.home.signer / "signer-audit.jsonl") > 0
    seals = [
        e
        for e in storm.house.audit()
        if e.get("op") == "sign"
        and e["purpose"] in ("page_seal", "credential")
        # The city's metadata for wallets is of no request.
        and e["request_id"] != METADATA_REQUEST
    ]
    serials: dict[str, set[str]] = {}
    requests: dict[str, set[str]] = {}
    for event in seals:
        serials.setdefault(event["request_id"], set()).add(event["serial"])
        requests.setdefault(event["serial"], set()).add(event["request_id"])
    assert {len(found) for found in serials.values()} == {1}
    assert {len(found) for found in requests.values()} == {1}
    known = dict(storm.house.rows("worker", "SELECT request_id, certificate_id FROM certificates"))
    assert {request: min(found) for request, found in serials.items()}.items() <= known.items()
    jtis = [event["jti"] for event in storm.house.audit() if event.get("op") == "sign"]
    assert len(set(jtis)) == len(jtis)
    made = {row[0] for row in storm.house.rows("gate", "SELECT jti FROM authorisations")}
    assert set(jtis) <= made


def test_every_package_opens_and_is_what_was_asked_for(storm: Storm) -> None:
    for holder, wish in storm.wishes:
        request = next(r for r in holder.phone.requests() if r["purpose"] == wish)
        bundle = holder.phone.open(request["id"])
        data = certificate_of(bundle)
        assert data["remarks"] == wish
        assert data["subject"]["name"] == holder.resident.name
        assert is_valid(storm.house, bundle)


# A request refused after its number was reserved keeps the row and never has an entry.
RELEASED = "FROM certificates JOIN requests USING (request_id) WHERE requests.state = 'released'"


def logged_entries(house: RunningHouse) -> list[bytes]:
    """Every entry of the log, read from its own files."""
    files = FileTree(house.home.log / "public")
    size = int(files.read("checkpoint").split(b"\n")[1])
    found: list[bytes] = []
    for level, number, width in list_tiles(size):
        if level == 0:
            found += parse_entries(files.read(entries_path(number, width)), width)
    return found


def test_the_log_is_whole_and_holds_each_certificate_once(storm: Storm) -> None:
    report = check_log(storm.house.home.log / "public", log_verifier_key(storm.house.home))
    assert report.findings == ()
    leaves = Counter(logged_entries(storm.house))
    assert max(leaves.values()) == 1
    entries = {bytes.fromhex(row[0]) for row in storm.house.rows("worker", f"SELECT entry {RELEASED}")}
    assert entries <= set(leaves)
    # What the door serves is what the log holds.
    served = (storm.house.home.public / "992011" / "log" / "1" / "checkpoint").read_bytes()
    assert wait_for(
        lambda: (
            served.split(b"\n")[0]
            == (storm.house.home.log / "public" / "checkpoint").read_bytes().split(b"\n")[0]
        ),
        10,
        "the checkpoint",
    )


def test_everything_is_anchored_soon(storm: Storm) -> None:
    """Within a minute the whole log is anchored, and each phone's bundle becomes VALID without asking anybody."""
    token = storm.house.home.token("log").read_text("ascii").strip()
    client = LogClient(storm.house.house.address("log"), token)
    highest = max(row[0] for row in storm.house.rows("worker", f"SELECT log_index {RELEASED}"))
    wait_for(lambda: int(client.state()["anchored_size"] or 0) > highest, ANCHOR_SECONDS, "the anchor")
    for holder in storm.holders:
        for request in holder.phone.requests()[:1] + holder.phone.requests()[-1:]:
            assert is_valid(storm.house, holder.anchored(request["id"], ANCHOR_SECONDS), "offline")


def test_seals_leaves_and_authorised_requests_agree(storm: Storm) -> None:
    """What the monitor compares, over everything this house has ever done."""
    house = storm.house
    leaves = house.rows("worker", "SELECT count(*) FROM certificates WHERE log_index IS NOT NULL")[0][0]
    seals = house.rows("worker", "SELECT count(*) FROM certificates WHERE entry IS NOT NULL")[0][0]
    authorised = house.rows(
        "gate", "SELECT count(DISTINCT request_id) FROM authorisations WHERE purpose = 'page_seal'"
    )[0][0]
    assert leaves == seals == authorised
    unsent = "SELECT count(*) FROM outbox WHERE sent_at IS NULL"
    wait_for(lambda: house.rows("worker", unsent)[0][0] == 0, 30, "the outbox to be empty")


def test_no_process_wrote_a_traceback_of_its_own_fault(storm: Storm) -> None:
    """Outages are one line each; a traceback in worker, gate or signer would be a defect that the storm found."""
    for name in ("worker", "gate", "signer"):
        text = storm.house.log_text(name)
        assert "unexpected" not in text, storm.house.log_tail(name, 60)
        assert "internal error" not in text
