"""What the issuance worker and the console say to each other, and the only words that may cross:
de-identified ones.

Every field is a number, a code word or an instant with a pattern of its own, so that a name, an address or
free text cannot be put into one by a slip. Both ends use this module: `feed` formats, `machine` parses, and
the other way round for commands.

    POST /city/events         {"events": [{"request_id", "at", "step", "state", "duration_ms", "reason"?}, …]}
    PUT  /city/snapshot       {"log_size", "anchored_size", "lag_seconds", "queues": {word: number},
                               "seals", "leaves", "authorised", "lag_reason"?}
    GET  /city/commands       {"commands": [{"id", "kind": "revoke", "request_id", "reason", "case_number",
                               "asked_by", "confirmed_by"}, …]}
    POST /city/commands/acks  {"acks": [{"id", "outcome": "done" | "refused", "code"?}, …]}
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from app.staff.errors import StaffFormatError
from verifier.errors import FormatError
from verifier.formats.encoding import canonical_json, parse_json

MAX_MESSAGE_BYTES: Final = 256 << 10
MAX_EVENTS: Final = 500
MAX_COMMANDS: Final = 100
MAX_QUEUES: Final = 32
MAX_COUNT: Final = 1 << 50
MAX_DURATION_MS: Final = 400 * 24 * 3600 * 1000
TIMESTAMP_FORM: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", re.ASCII)
REQUEST_ID_FORM: Final = re.compile(r"[A-Za-z0-9_-]{4,64}", re.ASCII)
WORD_FORM: Final = re.compile(r"[a-z][a-z0-9_-]{0,31}", re.ASCII)
REASON_FORM: Final = re.compile(r"[a-z][a-z0-9_-]{0,63}", re.ASCII)
COMMAND_ID_FORM: Final = re.compile(r"[A-Za-z0-9_-]{22}", re.ASCII)
CASE_NUMBER_FORM: Final = re.compile(r"[A-Za-z0-9-]{0,32}", re.ASCII)
NAME_FORM: Final = re.compile(r"[a-z][a-z0-9._-]{1,31}", re.ASCII)
OUTCOMES: Final = ("done", "refused")


@dataclass(frozen=True, slots=True)
class Event:
    """One step of one request is over (or failed): which, when, how long, and into which state it brought the
    request.
    """

    request_id: str
    at: datetime
    step: str
    state: str
    duration_ms: int
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The worker's own count: `seals`, `leaves`, `authorised` of certificates (no dummy leaves).

    `lag_seconds` is the age of the oldest log entry that is not anchored yet, 0 if there is none; `lag_reason` says by a
    code word what it waits for, None if everything is anchored.
    """

    log_size: int
    anchored_size: int
    lag_seconds: int
    seals: int
    leaves: int
    authorised: int
    queues: Mapping[str, int] = field(default_factory=dict)
    lag_reason: str | None = None


@dataclass(frozen=True, slots=True)
class Command:
    """Something two people agreed on. The worker does it once, whatever number of times it is handed over."""

    id: str
    kind: str
    request_id: str
    reason: str
    case_number: str
    asked_by: str
    confirmed_by: str


@dataclass(frozen=True, slots=True)
class Ack:
    """What became of a command: `code` says why it was refused."""

    id: str
    outcome: str
    code: str | None = None


def format_instant(at: datetime) -> str:
    """`2026-11-20T01:02:03.004Z`; milliseconds, always UTC."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def parse_instant(text: object) -> datetime:
    """Inverse of `format_instant`. Raises: StaffFormatError(bad-instant)."""
    if not isinstance(text, str) or not TIMESTAMP_FORM.fullmatch(text):
        raise StaffFormatError("bad-instant")
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    except ValueError as error:
        raise StaffFormatError("bad-instant") from error


def format_events(events: list[Event]) -> bytes:
    """Body of POST /city/events."""
    return canonical_json({"events": [_event_json(event) for event in events]})


def parse_events(data: bytes) -> list[Event]:
    """Raises: StaffFormatError."""
    return [_parse_event(item) for item in _items(data, "events", MAX_EVENTS)]


def format_snapshot(snapshot: Snapshot) -> bytes:
    """Body of PUT /city/snapshot, and the text kept in the store."""
    reason = {} if snapshot.lag_reason is None else {"lag_reason": snapshot.lag_reason}
    return canonical_json(
        {
            **reason,
            "log_size": snapshot.log_size,
            "anchored_size": snapshot.anchored_size,
            "lag_seconds": snapshot.lag_seconds,
            "queues": dict(snapshot.queues),
            "seals": snapshot.seals,
            "leaves": snapshot.leaves,
            "authorised": snapshot.authorised,
        }
    )


def parse_snapshot(data: bytes) -> Snapshot:
    """Raises: StaffFormatError."""
    numbers = ("log_size", "anchored_size", "lag_seconds", "seals", "leaves", "authorised")
    item = _object(_read(data), {*numbers, "queues"}, {"lag_reason"})
    queues = item["queues"]
    if not isinstance(queues, dict) or len(queues) > MAX_QUEUES:
        raise StaffFormatError("bad-queues")
    return Snapshot(
        queues={_matching(name, WORD_FORM, "queue"): _count(size, "queue") for name, size in queues.items()},
        lag_reason=_matching(item["lag_reason"], REASON_FORM, "lag_reason") if "lag_reason" in item else None,
        **{name: _count(item[name], name) for name in numbers},
    )


def format_commands(commands: list[Command]) -> bytes:
    """Answer of GET /city/commands."""
    return canonical_json({"commands": [command_json(command) for command in commands]})


def command_json(command: Command) -> dict[str, str]:
    """One command as its JSON object."""
    names = ("id", "kind", "request_id", "reason", "case_number", "asked_by", "confirmed_by")
    return {name: getattr(command, name) for name in names}


def parse_commands(data: bytes) -> list[Command]:
    """Raises: StaffFormatError."""
    return [_parse_command(item) for item in _items(data, "commands", MAX_COMMANDS, least=0)]


def format_acks(acks: list[Ack]) -> bytes:
    """Body of POST /city/commands/acks."""
    return canonical_json(
        {
            "acks": [
                {"id": ack.id, "outcome": ack.outcome} | ({"code": ack.code} if ack.code is not None else {})
                for ack in acks
            ]
        }
    )


def parse_acks(data: bytes) -> list[Ack]:
    """Raises: StaffFormatError."""
    return [_parse_ack(item) for item in _items(data, "acks", MAX_COMMANDS)]


def _event_json(event: Event) -> dict[str, Any]:
    body: dict[str, Any] = {
        "request_id": event.request_id,
        "at": format_instant(event.at),
        "step": event.step,
        "state": event.state,
        "duration_ms": event.duration_ms,
    }
    return body if event.reason is None else body | {"reason": event.reason}


def _parse_event(value: object) -> Event:
    item = _object(value, {"request_id", "at", "step", "state", "duration_ms"}, {"reason"})
    return Event(
        request_id=_matching(item["request_id"], REQUEST_ID_FORM, "request_id"),
        at=parse_instant(item["at"]),
        step=_matching(item["step"], WORD_FORM, "step"),
        state=_matching(item["state"], WORD_FORM, "state"),
        duration_ms=_count(item["duration_ms"], "duration_ms", MAX_DURATION_MS),
        reason=_matching(item["reason"], REASON_FORM, "reason") if "reason" in item else None,
    )


def _parse_command(value: object) -> Command:
    item = _object(value, {"id", "kind", "request_id", "reason", "case_number", "asked_by", "confirmed_by"})
    return Command(
        id=_matching(item["id"], COMMAND_ID_FORM, "id"),
        kind=_matching(item["kind"], WORD_FORM, "kind"),
        request_id=_matching(item["request_id"], REQUEST_ID_FORM, "request_id"),
        reason=_matching(item["reason"], REASON_FORM, "reason"),
        case_number=_matching(item["case_number"], CASE_NUMBER_FORM, "case_number"),
        asked_by=_matching(item["asked_by"], NAME_FORM, "asked_by"),
        confirmed_by=_matching(item["confirmed_by"], NAME_FORM, "confirmed_by"),
    )


def _parse_ack(value: object) -> Ack:
    item = _object(value, {"id", "outcome"}, {"code"})
    if item["outcome"] not in OUTCOMES:
        raise StaffFormatError("bad-outcome")
    return Ack(
        id=_matching(item["id"], COMMAND_ID_FORM, "id"),
        outcome=item["outcome"],
        code=_matching(item["code"], REASON_FORM, "code") if "code" in item else None,
    )


def _read(data: bytes) -> object:
    try:
        return parse_json(data, max_bytes=MAX_MESSAGE_BYTES, max_depth=4)
    except FormatError as error:
        raise StaffFormatError(error.code, error.detail) from error


def _items(data: bytes, name: str, limit: int, *, least: int = 1) -> list[object]:
    items = _object(_read(data), {name})[name]
    if not isinstance(items, list) or not least <= len(items) <= limit:
        raise StaffFormatError(f"bad-{name}", f"{least} to {limit} of them")
    return items


def _object(value: object, needed: set[str], allowed: set[str] | None = None) -> dict[str, Any]:
    if (
        not isinstance(value, dict)
        or not needed <= value.keys()
        or value.keys() - needed - (allowed or set())
    ):
        raise StaffFormatError("bad-members", "members missing or unknown")
    return value


def _matching(value: object, form: re.Pattern[str], name: str) -> str:
    if not isinstance(value, str) or not form.fullmatch(value):
        raise StaffFormatError("bad-member", name)
    return value


def _count(value: object, name: str, limit: int = MAX_COUNT) -> int:
    if type(value) is not int or not 0 <= value <= limit:
        raise StaffFormatError("bad-member", name)
    return value
