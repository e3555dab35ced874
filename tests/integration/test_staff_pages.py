"""The pages of the staff console: monitor, search, revocation by two, strict headers, readable HTML."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select, text

from app.staff.errors import RevocationRefusedError
from app.staff.messages import Event, Snapshot
from app.staff.revocations import OPEN_SECONDS
from app.staff.tables import audit_line
from tests.support.staff_console import Console, csrf_of

AT = datetime(2026, 11, 20, 2, 59, 59, tzinfo=UTC)
EVENT = Event("req-0001", AT, "deliver", "released", 120)
SNAPSHOT = Snapshot(1234, 1200, 8, seals=3, leaves=3, authorised=3, queues={"seal": 2, "new_kind": 1})


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    made = Console(tmp_path)
    yield made
    made.close()


def _ask(browser: FlaskClient, request_id: str = "req-0001", **form: str) -> int:
    token = csrf_of(browser.get("/").text)
    data = {"csrf": token, "reason": "wrong-figures", "case_number": "R8-12"} | form
    return browser.post(f"/requests/{request_id}/revocations", data=data).status_code


def _confirm(browser: FlaskClient, identifier: str) -> int:
    form = {"csrf": csrf_of(browser.get("/").text), "request_id": "req-0001"}
    return browser.post(f"/revocations/{identifier}/confirm", data=form).status_code


def test_the_monitor_answers_its_three_questions_when_all_is_well(console: Console) -> None:
    console.doors.events.record([EVENT])
    console.doors.events.put_snapshot(SNAPSHOT, console.clock())
    page = console.person("hanako").get("/").text
    assert page.count('✓ <span lang="ja">なし</span>') == 3
    for figure in ("1,234", "1,200", "new_kind", "120 ms"):
        assert figure in page, figure
    assert 'class="notice bad"' not in page


def test_the_monitor_says_why_the_log_is_behind(console: Console) -> None:
    browser = console.person("hanako")
    for code, words in (
        ("chain-away", "node does not answer"),
        ("seen-fork", "signing has stopped"),
        ("odd", "odd"),
    ):
        console.doors.events.put_snapshot(replace(SNAPSHOT, lag_reason=code), console.clock())
        page = browser.get("/").text
        assert words in page, code
        assert f"<code>{code}</code>" in page
    console.doors.events.put_snapshot(SNAPSHOT, console.clock())
    assert "<code>odd</code>" not in browser.get("/").text


def test_the_monitor_shows_stuck_slow_wrong_and_alarm(console: Console) -> None:
    stuck = replace(EVENT, request_id="req-stuck", state="sealed", step="seal", duration_ms=9_000)
    failed = replace(EVENT, request_id="req-failed", state="failed", step="log", reason="log-away")
    console.doors.events.record([stuck, failed])
    console.doors.events.put_snapshot(replace(SNAPSHOT, leaves=4), console.clock())
    browser = console.person("hanako")
    console.clock.forward(300)
    page = browser.get("/").text
    assert "req-stuck" in page.split('id="stuck"')[1]
    assert "req-failed" not in page.split('id="stuck"')[1]
    assert re.search(r"9,000 ms.*✕", page, re.DOTALL)
    assert "log-away" in page
    assert "counts impossible" in page
    assert "the issuance worker is silent" in page


def test_periods_are_three_and_no_other(console: Console) -> None:
    browser = console.person("hanako")
    for period, status in (("1h", 200), ("1d", 200), ("14d", 200), ("9d", 404), ("", 404)):
        assert browser.get(f"/?period={period}").status_code == status


def test_search_finds_by_the_whole_number_only(console: Console) -> None:
    console.doors.events.record([EVENT])
    browser = console.person("hanako")
    assert browser.get("/requests?number=%20req-0001%20").headers["Location"] == "/requests/req-0001"
    missing = browser.get("/requests?number=req-000")
    assert missing.status_code == 404
    hostile = browser.get("/requests", query_string={"number": "<script>alert(1)</script>"})
    assert "<script>alert" not in hostile.text
    assert browser.get("/requests/req-000").status_code == 404


def test_lists_behind_the_numbers(console: Console) -> None:
    console.doors.events.record(
        [EVENT, replace(EVENT, request_id="req-0002", state="refused", reason="not-declared")]
    )
    browser = console.person("hanako")
    assert "req-0002" in browser.get("/issuances?reason=not-declared").text
    assert "req-0001" not in browser.get("/issuances?state=refused").text
    assert "req-0001" in browser.get("/issuances?state=released&period=14d").text
    assert browser.get("/issuances?state=Bad%20state").status_code == 404


def test_looking_at_a_request_leaves_a_line(console: Console) -> None:
    console.doors.events.record([EVENT])
    console.person("hanako").get("/requests/req-0001")
    with console.store.reading.begin() as connection:
        row = connection.execute(select(audit_line).where(audit_line.c.act == "request-view")).one()
    assert (row.who, row.subject) == ("hanako", "req-0001")


def test_two_people_revoke_and_one_person_cannot(console: Console) -> None:
    console.doors.events.record([EVENT])
    hanako, taro = console.person("hanako"), console.person("taro")
    assert _ask(hanako) == 303
    (asked,) = console.doors.revocations.select_open(console.clock())
    own = hanako.get("/requests/req-0001").text
    assert "/confirm" not in own
    assert "別の職員の確認を待っています" in own
    assert _confirm(hanako, asked.id) == 409
    assert console.doors.revocations.select_commands(9) == []
    assert "/confirm" in taro.get("/requests/req-0001").text
    assert _confirm(taro, asked.id) == 303
    assert [command.id for command in console.doors.revocations.select_commands(9)] == [asked.id]
    assert _confirm(taro, asked.id) == 409
    with console.store.reading.begin() as connection:
        lines = [(row.who, row.act, row.outcome) for row in connection.execute(select(audit_line))]
    assert ("hanako", "revocation-confirm", "same-person") in lines
    assert ("taro", "revocation-confirm", "done") in lines


def test_a_request_has_one_open_revocation(console: Console) -> None:
    console.doors.events.record([EVENT])
    hanako, taro = console.person("hanako"), console.person("taro")
    assert _ask(hanako) == 303
    assert _ask(taro) == 409
    (asked,) = console.doors.revocations.select_open(console.clock())
    form = {"csrf": csrf_of(taro.get("/").text), "request_id": "req-0001"}
    assert taro.post(f"/revocations/{asked.id}/withdraw", data=form).status_code == 303
    assert _ask(taro) == 303
    assert _confirm(hanako, asked.id) == 409


@pytest.mark.parametrize(
    "form",
    [{"reason": ""}, {"reason": "because"}, {"case_number": "佐藤花子"}, {"case_number": "9" * 33}],
)
def test_a_reason_is_chosen_and_free_text_has_no_place(console: Console, form: dict[str, str]) -> None:
    console.doors.events.record([EVENT])
    assert _ask(console.person("hanako"), **form) == 409
    assert console.doors.revocations.select_of("req-0001") == []


def test_an_unknown_request_cannot_be_revoked(console: Console) -> None:
    assert _ask(console.person("hanako"), "req-none") == 404
    with pytest.raises(RevocationRefusedError, match="unknown-request"):
        console.doors.revocations.ask("req-none", "wrong-figures", "", "hanako", console.clock())


def test_an_unconfirmed_revocation_lapses_after_a_day(console: Console) -> None:
    console.doors.events.record([EVENT])
    revocations = console.doors.revocations
    identifier = revocations.ask("req-0001", "wrong-figures", "", "hanako", console.clock())
    console.clock.forward(OPEN_SECONDS)
    assert revocations.select_open(console.clock()) == []
    with pytest.raises(RevocationRefusedError, match="not-open"):
        revocations.confirm(identifier, "taro", console.clock())
    revocations.ask("req-0001", "wrong-figures", "", "hanako", console.clock())


def test_many_confirmations_at_once_give_one_command(console: Console) -> None:
    console.doors.events.record([EVENT])
    revocations = console.doors.revocations
    identifier = revocations.ask("req-0001", "wrong-figures", "", "hanako", console.clock())
    done: list[str] = []
    start = threading.Barrier(6)

    def confirm(name: str) -> None:
        start.wait()
        try:
            revocations.confirm(identifier, name, console.clock())
        except RevocationRefusedError:
            return
        done.append(name)

    threads = [threading.Thread(target=confirm, args=(name,)) for name in ("taro", "jiro", "hanako") * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 1
    assert done != ["hanako"]
    assert len(revocations.select_commands(9)) == 1


def test_forms_without_the_session_token_change_nothing(console: Console) -> None:
    console.doors.events.record([EVENT])
    hanako, taro = console.person("hanako"), console.person("taro")
    foreign = csrf_of(taro.get("/").text)
    data = {"csrf": foreign, "reason": "wrong-figures", "case_number": ""}
    assert hanako.post("/requests/req-0001/revocations", data=data).status_code == 403
    assert console.doors.revocations.select_of("req-0001") == []


def test_every_answer_carries_the_strict_headers(console: Console) -> None:
    browser = console.person("hanako")
    for path in ("/", "/login", "/nowhere", "/static/monitor.mjs", "/healthz", "/city/events"):
        headers = browser.get(path).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy, path
        assert "unsafe" not in policy, path
        assert headers["X-Content-Type-Options"] == "nosniff", path
        assert headers["Cache-Control"] == ("no-cache" if path.startswith("/static") else "no-store"), path
        assert "Server" not in headers or "Python" not in headers["Server"], path


def test_a_store_that_is_away_is_told_apart_from_a_fault(console: Console) -> None:
    browser = console.person("hanako")
    with console.store.writing.begin() as connection:
        connection.execute(text("DROP TABLE snapshot"))
    away = browser.get("/")
    assert away.status_code == 503
    assert away.headers["Retry-After"] == "5"
    assert "Traceback" not in away.text
    assert browser.get("/readyz").status_code == 503
    assert browser.get("/healthz").status_code == 200


class _Page(HTMLParser):
    """What a page must have: labels for fields, names for headings, no inline code, no repeated id."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.labels: set[str] = set()
        self.fields: list[str] = []
        self.faults: list[str] = []
        self.headings: list[int] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        if given.get("id"):
            self.ids.append(given["id"] or "")
        if tag == "label":
            self.labels.add(given.get("for") or "")
        if tag in ("input", "select", "textarea") and given.get("type") != "hidden":
            self.fields.append(given.get("id") or "?")
        if tag in ("h1", "h2", "h3"):
            self.headings.append(int(tag[1]))
        if tag == "script" and not given.get("src"):
            self.faults.append("inline script")
        if tag == "th" and not given.get("scope"):
            self.faults.append("th without scope")
        self.faults += [f"{name} on {tag}" for name in given if name == "style" or name.startswith("on")]


def test_pages_are_well_formed_for_readers_and_policy(console: Console) -> None:
    console.doors.events.record([EVENT, replace(EVENT, request_id="req-0002", state="sealed")])
    console.doors.events.put_snapshot(SNAPSHOT, console.clock())
    browser = console.person("hanako")
    _ask(browser)
    console.clock.forward(200)
    pages = [
        "/",
        "/issuances",
        "/requests/req-0001",
        "/requests/req-0002",
        "/requests?number=none",
        "/nowhere",
    ]
    for answer in [*(browser.get(path) for path in pages), console.browser().get("/login")]:
        page = _Page()
        page.feed(answer.text)
        assert page.faults == [], answer.request.path
        assert len(set(page.ids)) == len(page.ids), answer.request.path
        assert set(page.fields) <= page.labels, answer.request.path
        assert page.headings[0] == 1, answer.request.path
        assert all(
            after <= before + 1 for before, after in zip(page.headings, page.headings[1:], strict=False)
        )
        assert '<html lang="ja">' in answer.text
        assert "mock-band" in answer.text


def _luminance(colour: str) -> float:
    parts = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: str, other: str) -> float:
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_contrast_of_text_is_enough_in_both_themes(console: Console, theme: int) -> None:
    css = console.browser().get("/static/staff.css").text
    block = css.split(":root {")[theme + 1].split("}")[0]
    colour = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", block))
    for text_role, ground_role in [
        ("text", "ground"),
        ("text", "section"),
        ("text", "error-ground"),
        ("warning-text", "warning-ground"),
        ("primary", "ground"),
        ("ground", "primary"),
        ("ground", "primary-hover"),
        ("success", "section"),
        ("error", "section"),
    ]:
        assert _contrast(colour[text_role], colour[ground_role]) >= 4.5, (text_role, ground_role)
