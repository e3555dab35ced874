"""The worker's side of the console: token, idempotent events, commands until acknowledged, limits, outages.

Then the same through the worker's client against a real server on a free port.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from sqlalchemy import func, select, text
from werkzeug.serving import make_server

from app.staff.errors import FeedRefusedError, FeedUnavailableError
from app.staff.feed import StaffFeed
from app.staff.messages import Ack, Event, Snapshot, format_events, format_snapshot
from app.staff.tables import event, metadata
from tests.support.staff_console import TOKEN, Console

AT = datetime(2026, 11, 20, 2, 59, tzinfo=UTC)
EVENT = Event("req-0001", AT, "seal", "sealed", 120)
SNAPSHOT = Snapshot(10, 8, 4, seals=3, leaves=3, authorised=3, queues={"seal": 2})


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    made = Console(tmp_path)
    yield made
    made.close()


@pytest.fixture
def server(console: Console) -> Iterator[str]:
    made = make_server("127.0.0.1", 0, console.app, threaded=True)
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{made.server_port}"
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/city/events"),
        ("PUT", "/city/snapshot"),
        ("GET", "/city/commands"),
        ("POST", "/city/commands/acks"),
    ],
)
@pytest.mark.parametrize("token", ["", "x", TOKEN[:-1], TOKEN + "x", "見本"])
def test_without_the_token_nothing_is_done(console: Console, method: str, path: str, token: str) -> None:
    header = {"Authorization": f"Bearer {token}".encode().decode("latin-1")}
    answer = console.browser().open(path, method=method, data=b"{}", headers=header)
    assert answer.status_code == 401
    assert answer.mimetype == "application/problem+json"
    assert answer.get_json()["code"] == "bad-token"
    assert TOKEN not in answer.text


def test_a_session_of_staff_is_no_token(console: Console) -> None:
    assert console.person("hanako").get("/city/commands").status_code == 401


def test_a_repeated_batch_is_recorded_once(console: Console) -> None:
    later = replace(EVENT, at=AT + timedelta(seconds=1), step="log", state="logged")
    body = format_events([EVENT, later])
    assert console.worker("POST", "/city/events", body).get_json() == {"recorded": 2, "received": 2}
    assert console.worker("POST", "/city/events", body).get_json() == {"recorded": 0, "received": 2}
    with console.store.reading.begin() as connection:
        assert connection.execute(select(func.count()).select_from(event)).scalar_one() == 2


def test_the_newest_event_decides_whatever_the_order_of_arrival(console: Console) -> None:
    later = replace(EVENT, at=AT + timedelta(seconds=1), step="log", state="logged")
    earlier = replace(EVENT, at=AT - timedelta(seconds=1), step="page", state="reserved")
    for item in (later, EVENT, earlier):
        console.worker("POST", "/city/events", format_events([item]))
    found = console.doors.events.find_issuance("req-0001")
    assert found is not None
    assert (found.state, found.step) == ("logged", "log")
    assert (found.first_at, found.last_at) == ("2026-11-20T02:58:59.000Z", "2026-11-20T02:59:01.000Z")


def test_one_bad_event_refuses_the_whole_batch(console: Console) -> None:
    items = json.loads(format_events([EVENT, replace(EVENT, state="logged")]))
    items["events"][1]["state"] = "佐藤"
    answer = console.worker("POST", "/city/events", json.dumps(items).encode())
    assert (answer.status_code, answer.get_json()["code"]) == (400, "bad-member")
    assert "佐藤" not in answer.text
    assert console.doors.events.find_issuance("req-0001") is None


def test_a_body_over_the_limit_is_refused(console: Console) -> None:
    answer = console.worker("POST", "/city/events", b" " * ((256 << 10) + 1))
    assert answer.status_code == 413
    assert answer.mimetype == "application/problem+json"


def test_a_store_that_is_away_is_503_with_retry_after_and_the_client_says_try_later(
    console: Console, server: str
) -> None:
    with console.store.writing.begin() as connection:
        connection.execute(text("DROP TABLE event"))
    answer = console.worker("POST", "/city/events", format_events([EVENT]))
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    with pytest.raises(FeedUnavailableError) as caught:
        StaffFeed(server, TOKEN).push_events([EVENT])
    assert caught.value.retry_after == 5


def test_the_upgraded_store_has_exactly_the_tables_of_the_module(console: Console) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with console.store.reading.begin() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        connection.execute(text("DROP INDEX command_waiting"))
        assert compare_metadata(MigrationContext.configure(connection), metadata) != []
        connection.rollback()


def test_every_table_carries_the_city_code() -> None:
    assert [table.name for table in metadata.sorted_tables if "city" not in table.c] == []


def test_the_client_walks_the_whole_way(console: Console, server: str) -> None:
    feed = StaffFeed(server + "/", TOKEN)
    feed.push_events([replace(EVENT, request_id=f"req-{number:04d}") for number in range(501)])
    assert console.doors.events.find_issuance("req-0500") is not None
    feed.put_snapshot(SNAPSHOT)
    received = console.doors.events.find_snapshot()
    assert received is not None
    assert received.snapshot == SNAPSHOT
    assert feed.wait_commands(0) == []
    now = console.clock()
    identifier = console.doors.revocations.ask("req-0001", "wrong-figures", "R8-12", "hanako", now)
    assert feed.wait_commands(0) == []
    console.doors.revocations.confirm(identifier, "taro", now)
    (command,) = feed.wait_commands(0)
    assert (command.kind, command.request_id, command.reason) == ("revoke", "req-0001", "wrong-figures")
    assert (command.asked_by, command.confirmed_by, command.case_number) == ("hanako", "taro", "R8-12")
    assert feed.wait_commands(0) == [command]
    feed.acknowledge([Ack(command.id, "done")])
    feed.acknowledge([Ack(command.id, "refused", "too-late")])
    assert feed.wait_commands(0) == []
    assert [item.state for item in console.doors.revocations.select_of("req-0001")] == ["done"]
    feed.acknowledge([])


def test_a_waiting_worker_hears_of_a_command_that_comes_meanwhile(console: Console, server: str) -> None:
    StaffFeed(server, TOKEN).push_events([EVENT])
    identifier = console.doors.revocations.ask("req-0001", "device-lost", "", "hanako", console.clock())
    heard: list[object] = []
    waiting = threading.Thread(target=lambda: heard.extend(StaffFeed(server, TOKEN).wait_commands(20)))
    waiting.start()
    console.doors.revocations.confirm(identifier, "taro", console.clock())
    waiting.join(timeout=20)
    assert len(heard) == 1


def test_the_client_names_its_errors(server: str) -> None:
    with pytest.raises(FeedRefusedError, match="bad-token") as caught:
        StaffFeed(server, "wrong").put_snapshot(SNAPSHOT)
    assert "wrong" not in str(caught.value)
    with pytest.raises(FeedRefusedError):
        StaffFeed(server, TOKEN).acknowledge([Ack("A" * 22, "done")])
    with pytest.raises(FeedUnavailableError):
        StaffFeed("http://127.0.0.1:9", TOKEN).put_snapshot(SNAPSHOT)
    with pytest.raises(FeedRefusedError):
        StaffFeed("file:///etc/hostname", TOKEN)
    assert TOKEN not in repr(StaffFeed(server, TOKEN))


class _Hostile(BaseHTTPRequestHandler):
    answer = b"{}"
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.send_header("Location", "http://127.0.0.1:9/elsewhere")
        self.send_header("Content-Length", str(len(self.answer)))
        self.end_headers()
        self.wfile.write(self.answer)

    def log_message(self, *_args: object) -> None:
        return


@pytest.mark.parametrize(
    ("status", "answer"),
    [(200, b"<html>"), (200, b'{"commands":[{}]}'), (302, b""), (200, b" " * ((256 << 10) + 9))],
)
def test_an_answer_that_is_not_ours_is_refused(status: int, answer: bytes) -> None:
    handler = type("_Handler", (_Hostile,), {"answer": answer, "status": status})
    hostile = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=hostile.handle_request, daemon=True)
    thread.start()
    with pytest.raises(FeedRefusedError):
        StaffFeed(f"http://127.0.0.1:{hostile.server_port}", TOKEN).wait_commands(0)
    thread.join()
    hostile.server_close()


def test_snapshot_of_an_odd_form_is_refused(console: Console) -> None:
    body = json.loads(format_snapshot(SNAPSHOT))
    for change in (
        {"seals": -1},
        {"queues": {"見本": 1}},
        {"queues": []},
        {"extra": 1},
        {"lag_seconds": 0.5},
        {"lag_reason": "the node of Mr Sato does not answer"},
        {"lag_reason": ""},
    ):
        assert console.worker("PUT", "/city/snapshot", json.dumps(body | change).encode()).status_code == 400
    assert console.worker("PUT", "/city/snapshot", json.dumps(body).encode()).status_code == 200


def test_the_start_of_an_inequality_is_kept_while_it_lasts(console: Console) -> None:
    def since() -> int | None:
        received = console.doors.events.find_snapshot()
        assert received is not None
        return received.unequal_since

    begin = int(console.clock().timestamp())
    for seals, expected in ((3, None), (2, begin + 2), (2, begin + 2), (3, None), (2, begin + 5)):
        console.clock.forward(1)
        console.doors.events.put_snapshot(replace(SNAPSHOT, seals=seals), console.clock())
        assert since() == expected
