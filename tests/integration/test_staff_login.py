"""Logging in to the staff console: cookies, CSRF, throttling, sessions that end, audit lines."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from app.staff.errors import StaffUsageError
from app.staff.logins import FAILURE_WINDOW_SECONDS, FAILURES_PER_ADDRESS, FAILURES_PER_NAME
from app.staff.passwords import build_totp
from app.staff.tables import audit_line, staff_login, staff_session
from tests.support.staff_console import PASSWORD, Console, csrf_of, login


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    made = Console(tmp_path)
    yield made
    made.close()


def test_every_page_but_the_login_needs_a_session(console: Console) -> None:
    browser = console.browser()
    for path in ("/", "/issuances", "/requests?number=abcd", "/requests/abcd"):
        answer = browser.get(path)
        assert (answer.status_code, answer.headers.get("Location")) == (303, "/login"), path
    for path in (
        "/logout",
        "/requests/abcd/revocations",
        "/revocations/x/confirm",
        "/revocations/x/withdraw",
    ):
        assert browser.post(path).status_code == 403, path


def test_every_rule_of_the_application_is_guarded_or_named_here(console: Console) -> None:
    open_paths = {"/healthz", "/readyz", "/login", "/static/<path:filename>"}
    for rule in console.app.url_map.iter_rules():
        if rule.rule in open_paths:
            continue
        path = rule.rule.replace("<request_id>", "abcd").replace("<identifier>", "abcd")
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            answer = console.browser().open(path, method=method)
            assert answer.status_code in (303, 401, 403), (method, path)


def test_right_password_opens_and_wrong_one_does_not(console: Console) -> None:
    browser = console.person("hanako")
    page = browser.get("/")
    assert page.status_code == 200
    assert "hanako" in page.text
    assert "これは見本です。" in page.text
    other = console.browser()
    assert login(other, "hanako", PASSWORD + "x").status_code == 403
    assert other.get("/").status_code == 303


def test_the_same_words_for_a_wrong_name_and_a_wrong_password(console: Console) -> None:
    console.doors.logins.add("hanako", PASSWORD, console.clock())
    wrong_password = login(console.browser(), "hanako", "wrong wrong wrong").text
    wrong_name = login(console.browser(), "nobody", "wrong wrong wrong").text
    assert wrong_password.replace(csrf_of(wrong_password), "") == wrong_name.replace(csrf_of(wrong_name), "")


def test_session_cookie_is_for_this_host_and_for_no_script(console: Console) -> None:
    console.doors.logins.add("hanako", PASSWORD, console.clock())
    cookies = login(console.browser(), "hanako", PASSWORD).headers.getlist("Set-Cookie")
    session = next(cookie for cookie in cookies if cookie.startswith("akashi-staff="))
    assert "HttpOnly" in session
    assert "SameSite=Strict" in session
    assert "Domain" not in session


def test_in_production_the_cookie_is_pinned_to_tls(tmp_path: Path) -> None:
    console = Console(tmp_path, profile="production")
    browser = console.browser()
    cookie = browser.get("/login", base_url="https://staff.city").headers["Set-Cookie"]
    assert cookie.startswith("__Host-akashi-staff-login=")
    assert "Secure" in cookie
    assert "見本です" not in browser.get("/login", base_url="https://staff.city").text
    console.close()


def test_the_store_keeps_no_password_and_no_cookie(console: Console) -> None:
    browser = console.person("hanako")
    cookie = browser.get_cookie("akashi-staff")
    assert cookie is not None
    with console.store.reading.begin() as connection:
        text = repr(
            [connection.execute(select(table)).all() for table in (staff_login, staff_session, audit_line)]
        )
    assert cookie.value not in text
    assert PASSWORD not in text


def test_a_form_without_or_with_a_foreign_token_is_refused(console: Console) -> None:
    browser = console.browser()
    console.doors.logins.add("hanako", PASSWORD, console.clock())
    form = {"name": "hanako", "password": PASSWORD}
    assert browser.post("/login", data=form).status_code == 403
    token = csrf_of(browser.get("/login").text)
    assert browser.post("/login", data=form | {"csrf": token[:-1] + "_"}).status_code == 403
    crossed = browser.post("/login", data=form | {"csrf": token}, headers={"Sec-Fetch-Site": "cross-site"})
    assert crossed.status_code == 403
    assert browser.post("/login", data=form | {"csrf": token}).status_code == 303
    assert browser.post("/logout", data={"csrf": "x"}).status_code == 403
    assert browser.get("/").status_code == 200


def test_logging_out_ends_the_session_itself(console: Console) -> None:
    browser = console.person("hanako")
    cookie = browser.get_cookie("akashi-staff")
    assert cookie is not None
    browser.post("/logout", data={"csrf": csrf_of(browser.get("/").text)})
    thief = console.browser()
    thief.set_cookie("akashi-staff", cookie.value)
    assert thief.get("/").status_code == 303


def test_sessions_end_by_idleness_and_by_age(console: Console) -> None:
    browser = console.person("hanako")
    console.clock.forward(console.settings.idle_seconds - 1)
    assert browser.get("/").status_code == 200
    console.clock.forward(console.settings.idle_seconds)
    assert browser.get("/").status_code == 303
    login(browser, "hanako", PASSWORD)
    for _ in range(console.settings.session_seconds // 1500):
        console.clock.forward(1500)
        browser.get("/")
    console.clock.forward(1500)
    assert browser.get("/").status_code == 303


def test_a_disabled_login_and_a_new_password_end_sessions(console: Console) -> None:
    browser = console.person("hanako")
    console.doors.logins.set_password("hanako", "another good password", console.clock())
    assert browser.get("/").status_code == 303
    assert login(browser, "hanako", "another good password").status_code == 303
    console.doors.logins.disable("hanako", console.clock())
    assert browser.get("/").status_code == 303
    assert login(browser, "hanako", "another good password").status_code == 403


def test_after_five_wrong_tries_even_the_right_password_waits(console: Console) -> None:
    console.doors.logins.add("hanako", PASSWORD, console.clock())
    for _ in range(FAILURES_PER_NAME):
        assert login(console.browser(), "hanako", "wrong wrong wrong").status_code == 403
    assert login(console.browser(), "hanako", PASSWORD).status_code == 429
    console.clock.forward(FAILURE_WINDOW_SECONDS)
    assert login(console.browser(), "hanako", PASSWORD).status_code == 303


def test_a_success_forgets_the_failures_before_it(console: Console) -> None:
    console.doors.logins.add("hanako", PASSWORD, console.clock())
    for _ in range(2):
        for _ in range(FAILURES_PER_NAME - 1):
            assert login(console.browser(), "hanako", "wrong wrong wrong").status_code == 403
        assert login(console.browser(), "hanako", PASSWORD).status_code == 303


def test_one_address_may_not_try_many_names(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    # The cost of scrypt is not what this test is about.
    monkeypatch.setattr("app.staff.logins.is_password", lambda _password, _stored: False)
    answers = [
        login(console.browser(), f"name{number}", "wrong wrong wrong").status_code
        for number in range(FAILURES_PER_ADDRESS + 1)
    ]
    assert answers == [403] * FAILURES_PER_ADDRESS + [429]


def test_a_time_code_is_asked_for_where_set_and_works_once(console: Console) -> None:
    added = console.doors.logins.add("taro", PASSWORD, console.clock(), with_totp=True)
    assert added.totp_secret is not None
    code = build_totp(base64.b32decode(added.totp_secret), int(console.clock().timestamp()) // 30)
    assert login(console.browser(), "taro", PASSWORD).status_code == 403
    assert login(console.browser(), "taro", PASSWORD, code).status_code == 303
    assert login(console.browser(), "taro", PASSWORD, code).status_code == 403


def test_names_and_passwords_have_a_form(console: Console) -> None:
    logins, now = console.doors.logins, console.clock()
    for name in ("", "A", "hanako sato", "佐藤", "x" * 33):
        with pytest.raises(StaffUsageError, match="bad-name"):
            logins.add(name, PASSWORD, now)
    with pytest.raises(StaffUsageError, match="weak-password"):
        logins.add("hanako", "short", now)
    logins.add("hanako", PASSWORD, now)
    with pytest.raises(StaffUsageError, match="name-taken"):
        logins.add("hanako", PASSWORD, now)
    with pytest.raises(StaffUsageError, match="unknown-name"):
        logins.disable("taro", now)


def test_audit_lines_name_only_known_people(console: Console) -> None:
    console.person("hanako")
    login(console.browser(), "hanako", "wrong wrong wrong")
    login(console.browser(), "my-password-typed-here", "x")
    with console.store.reading.begin() as connection:
        lines = [
            (row.who, row.act, row.outcome) for row in connection.execute(select(audit_line).order_by("id"))
        ]
    assert lines == [
        ("cli", "staff-add", "done"),
        ("hanako", "login", "done"),
        ("hanako", "login", "refused"),
        ("?", "login", "refused"),
    ]
