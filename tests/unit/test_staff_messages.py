"""The worker's messages: what crosses is de-identified by form; a wrong form is refused with our error."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.staff.errors import StaffFormatError
from app.staff.messages import (
    MAX_EVENTS,
    Ack,
    Command,
    Event,
    Snapshot,
    format_acks,
    format_commands,
    format_events,
    format_instant,
    format_snapshot,
    parse_acks,
    parse_commands,
    parse_events,
    parse_instant,
    parse_snapshot,
)

AT = datetime(2026, 11, 20, 1, 2, 3, 4000, tzinfo=UTC)
EVENT = Event("req-0001", AT, "seal", "sealed", 120)
SNAPSHOT = Snapshot(10, 8, 4, seals=3, leaves=3, authorised=3, queues={"seal": 2})
COMMAND = Command("A" * 22, "revoke", "req-0001", "wrong-figures", "R8-12", "hanako", "taro")


def test_each_message_comes_back_as_it_was() -> None:
    refused = Event("req-0002", AT, "figures", "refused", 5, "not-declared")
    assert parse_events(format_events([EVENT, refused])) == [EVENT, refused]
    assert parse_snapshot(format_snapshot(SNAPSHOT)) == SNAPSHOT
    behind = replace(SNAPSHOT, lag_reason="chain-away")
    assert parse_snapshot(format_snapshot(behind)) == behind
    assert parse_commands(format_commands([COMMAND])) == [COMMAND]
    acks = [Ack("A" * 22, "done"), Ack("B" * 22, "refused", "not-issued")]
    assert parse_acks(format_acks(acks)) == acks


def test_instant_is_utc_with_three_decimals() -> None:
    assert format_instant(AT) == "2026-11-20T01:02:03.004Z"
    assert parse_instant("2026-11-20T01:02:03.004Z") == AT


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-20T01:02:03Z",
        "2026-11-20T01:02:03.004+09:00",
        "2026-13-20T01:02:03.004Z",
        "2026-11-20 01:02:03.004Z",
        "2026-11-20T01:02:03.00٤Z",
        None,
        7,
    ],
)
def test_instant_of_another_form_is_refused(text: object) -> None:
    with pytest.raises(StaffFormatError):
        parse_instant(text)


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("request_id", "佐藤 花子"),
        ("request_id", "a b"),
        ("request_id", "x" * 65),
        ("state", "Sealed"),
        ("state", "見本"),
        ("step", ""),
        ("duration_ms", -1),
        ("duration_ms", True),
        ("duration_ms", "12"),
        ("reason", "shown to a person: 佐藤"),
        ("name", "extra"),
    ],
)
def test_event_with_a_foreign_member_or_free_text_is_refused(member: str, value: object) -> None:
    item = json.loads(format_events([EVENT]))["events"][0]
    item[member] = value
    with pytest.raises(StaffFormatError):
        parse_events(json.dumps({"events": [item]}).encode())


@pytest.mark.parametrize("member", ["request_id", "at", "step", "state", "duration_ms"])
def test_event_without_a_member_is_refused(member: str) -> None:
    item = json.loads(format_events([EVENT]))["events"][0]
    del item[member]
    with pytest.raises(StaffFormatError):
        parse_events(json.dumps({"events": [item]}).encode())


def test_batch_of_the_limit_passes_and_one_more_does_not() -> None:
    assert len(parse_events(format_events([EVENT] * MAX_EVENTS))) == MAX_EVENTS
    with pytest.raises(StaffFormatError):
        parse_events(format_events([EVENT] * (MAX_EVENTS + 1)))
    with pytest.raises(StaffFormatError):
        parse_events(format_events([]))


def test_ack_of_an_unknown_outcome_is_refused() -> None:
    with pytest.raises(StaffFormatError):
        parse_acks(json.dumps({"acks": [{"id": "A" * 22, "outcome": "maybe"}]}).encode())


@given(st.binary(max_size=200))
def test_any_bytes_give_only_our_error(data: bytes) -> None:
    for parse in (parse_events, parse_snapshot, parse_commands, parse_acks):
        with pytest.raises(StaffFormatError):
            parse(data)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(["events", "commands", "acks", "queues", "seals"]), _VALUES)
def test_any_json_gives_only_our_error(name: str, value: object) -> None:
    data = json.dumps({name: value}).encode()
    for parse in (parse_events, parse_snapshot, parse_acks):
        with pytest.raises(StaffFormatError):
            parse(data)
