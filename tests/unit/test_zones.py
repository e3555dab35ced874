"""The zone table: what is not a row does not pass, sizes are exact, the traffic line says kinds and sizes only."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.errors import CrossingError
from app.mailbox import CityMailbox
from app.zones import CROSSINGS, Crossing, Guard, Zone
from tests.support.door_house import CITY
from verifier.formats.encoding import canonical_json

NOW = datetime(2026, 11, 20, 1, 2, 3, 456789, tzinfo=UTC)
MESSAGES = sorted({crossing.message for crossing in CROSSINGS})
LISTED = {(c.source, c.target, c.message) for c in CROSSINGS}
ALL = [(s, t, m) for s in Zone for t in Zone for m in [*MESSAGES, "gate.everything", "", "gate.record\nx"]]


def key(crossing: Crossing) -> str:
    return f"{crossing.source}-{crossing.target}-{crossing.message}"


def test_every_listed_crossing_passes_up_to_its_size(tmp_path: Path) -> None:
    guard = Guard(tmp_path / "traffic.log")
    for c in CROSSINGS:
        guard.check(c.source, c.target, c.message, 0, now=NOW)
        guard.check(c.source, c.target, c.message, c.max_bytes, now=NOW)
        with pytest.raises(CrossingError) as no:
            guard.check(c.source, c.target, c.message, c.max_bytes + 1, now=NOW)
        assert no.value.code == "refused-too-large"


def test_every_triple_that_is_not_listed_is_refused(tmp_path: Path) -> None:
    guard = Guard(tmp_path / "traffic.log")
    refused = 0
    for source, target, message in ALL:
        if (source, target, message) in LISTED:
            continue
        with pytest.raises(CrossingError) as no:
            guard.check(source, target, message, 0, now=NOW)
        assert no.value.code == "refused-unlisted"
        refused += 1
    assert refused == len(ALL) - len(LISTED) > 800


def test_no_row_twice_and_each_with_a_size_and_a_reason() -> None:
    assert len(LISTED) == len(CROSSINGS)
    for c in CROSSINGS:
        assert 0 < c.max_bytes <= 8 << 20, key(c)
        assert c.why, key(c)


def test_who_may_connect_to_whom() -> None:
    """The directions of the house: nobody connects into the city, the number-using zone and the signer call nobody."""
    pairs = {(c.source, c.target) for c in CROSSINGS}
    assert not [pair for pair in pairs if pair[0] is Zone.INTERNET]
    assert not [pair for pair in pairs if pair[0] in (Zone.NUMBER_USING, Zone.SIGNER, Zone.COUNTERPART)]
    assert {pair[0] for pair in pairs if pair[1] is Zone.NUMBER_USING} == {Zone.CITY}
    assert {pair[0] for pair in pairs if pair[1] is Zone.CITY} == {Zone.CITY}
    # The log never hears of a person: 32-byte entries and a question for its state.
    assert {c.message for c in CROSSINGS if c.target is Zone.DMZ} == {"log.append", "log.state"}


def test_one_line_a_crossing_with_kind_and_size_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "traffic.log"
    guard = Guard(file)
    guard.check(Zone.CITY, Zone.NUMBER_USING, "gate.record", 123, now=NOW)
    for target, size in ((Zone.NUMBER_USING, 1 << 30), (Zone.DMZ, 1)):
        with pytest.raises(CrossingError):
            guard.check(Zone.CITY, target, "gate.record", size, now=NOW)
    assert file.read_bytes().decode("ascii").splitlines() == [
        "2026-11-20T01:02:03+00:00 city-lgwan number-using gate.record 123 allowed",
        f"2026-11-20T01:02:03+00:00 city-lgwan number-using gate.record {1 << 30} refused-too-large",
        "2026-11-20T01:02:03+00:00 city-lgwan city-dmz gate.record 1 refused-unlisted",
    ]


def test_a_refusal_names_the_crossing_and_no_content() -> None:
    with pytest.raises(CrossingError) as no:
        Guard(None).check(Zone.INTERNET, Zone.CITY, "mailbox.inbox", 7, now=NOW)
    assert str(no.value) == "refused-unlisted: internet to city-lgwan: mailbox.inbox, 7 bytes"


def mailbox(zone: Zone, sent: list[str], traffic: Path) -> CityMailbox:
    from cryptography.hazmat.primitives.asymmetric import ec

    def send(request: object, _timeout: float) -> tuple[int, dict[str, str], bytes]:
        sent.append(request.get_method())  # type: ignore[attr-defined]
        return 200, {}, canonical_json({"left": 5, "messages": []})

    return CityMailbox(
        "http://127.0.0.1:1",
        ec.generate_private_key(ec.SECP256R1()),
        city=CITY,
        guard=Guard(traffic),
        zone=zone,
        send=send,
    )


def test_the_mailbox_asks_before_anything_leaves(tmp_path: Path) -> None:
    traffic, sent = tmp_path / "traffic.log", []
    city = mailbox(Zone.CITY, sent, traffic)
    city.take(wait=0)
    city.acknowledge(["m" * 22])
    city.put_nonces(["n" * 32])
    city.put_answer("a" * 22, "i" * 22, b"answer")
    city.put_package("a" * 22, "p" * 32, b"package")
    city.put_public(f"{CITY}/status/1", b"list")
    asked = [line.split()[3] for line in traffic.read_text("ascii").splitlines()]
    assert asked == [
        "mailbox.inbox",
        "mailbox.ack",
        "mailbox.nonces",
        "mailbox.answer",
        "mailbox.package",
        "public.put",
    ]
    assert len(sent) == 6


@pytest.mark.parametrize("zone", [zone for zone in Zone if zone is not Zone.CITY])
def test_a_mailbox_in_another_zone_sends_nothing(zone: Zone, tmp_path: Path) -> None:
    sent: list[str] = []
    other = mailbox(zone, sent, tmp_path / "traffic.log")
    with pytest.raises(CrossingError):
        other.put_answer("a" * 22, "i" * 22, b"answer")
    with pytest.raises(CrossingError):
        other.put_package("a" * 22, "p" * 32, b"package")
    assert sent == []


def test_too_much_for_a_crossing_is_not_sent(tmp_path: Path) -> None:
    sent: list[str] = []
    city = mailbox(Zone.CITY, sent, tmp_path / "traffic.log")
    with pytest.raises(CrossingError, match="refused-too-large"):
        city.put_answer("a" * 22, "i" * 22, bytes((64 << 10) + 1))
    assert sent == []


SOURCES = Path(__file__).resolve().parents[2]
ASKED = {
    # message family → the modules that ask the guard for it: the city's own doors at both ends, the others at the city's
    "gate": ("app/registers/gate_client.py", "app/registers/gate_door.py"),
    "mailbox": ("app/mailbox.py",),
    "log": ("app/issuance/log_door.py",),
}


@pytest.mark.parametrize("family", sorted(ASKED))
def test_the_ends_of_a_crossing_call_the_guard(family: str) -> None:
    for name in ASKED[family]:
        text = (SOURCES / name).read_text("utf-8")
        assert re.search(r"guard\.check\(", text), f"{name} does not ask the guard"
        assert f"{family}." in text, name


def test_the_worker_gives_its_guard_to_every_door_it_opens() -> None:
    """The process that crosses most: no client of another zone is made without the guard."""
    text = (SOURCES / "app" / "worker_process.py").read_text("utf-8")
    for made in ("GateClient(", "LogDoor(", "CityMailbox.from_key_file("):
        assert "guard=guard" in text[text.index(made) :][:220], made
