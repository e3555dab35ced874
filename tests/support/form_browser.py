"""A small browser for tests: cookies, redirects, forms and links of plain HTML pages, over real HTTP.

It keeps to what a person's browser would do: a hidden field is sent as it stands, a button is pressed by its value, and a
redirect that leaves for an address of `stop` ends the way there (the test reads its query).
"""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Final
from urllib.parse import urlencode, urljoin, urlsplit

MAX_PAGE: Final = 1 << 20
MAX_REDIRECTS: Final = 10


@dataclass
class Form:
    """One form: where it goes, how, and what its fields hold."""

    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)
    choices: dict[str, list[str]] = field(default_factory=dict)


@dataclass
class Page:
    """What is on the screen."""

    address: str
    status: int
    text: str
    headers: dict[str, str]
    forms: list[Form]
    links: list[str]


class FormBrowser:
    """`stop`: the beginning of an address that is not fetched; reaching it is the end of the way.

    `at`: where an origin really listens on this machine, as a TLS front would pass it on.
    """

    def __init__(self, stop: str, *, at: Mapping[str, str] | None = None) -> None:
        self._stop = stop
        self._at = at or {}
        self.cookies: dict[str, dict[str, str]] = {}
        self.visited: list[str] = []
        self.page: Page | None = None
        self.reached: str | None = None

    def open(self, address: str) -> Page | None:
        """Go to an address, following redirects; None when the way ended at `stop`."""
        return self._go("GET", address, None)

    def send(self, **fields: str) -> Page | None:
        """Fill in the first form of the page and send it."""
        assert self.page is not None, "no page is open"
        assert self.page.forms, self.page.text
        form = self.page.forms[0]
        for name, value in fields.items():
            allowed = form.choices.get(name)
            assert allowed is None or value in allowed, f"{name} cannot be {value!r}: {allowed}"
        filled = form.fields | fields
        target = urljoin(self.page.address, form.action)
        return self._go(form.method.upper(), target, urlencode(filled))

    def follow_link(self) -> Page | None:
        """Follow the first link of the page."""
        assert self.page is not None, "no page is open"
        assert self.page.links, self.page.text
        return self.open(urljoin(self.page.address, self.page.links[0]))

    @property
    def query(self) -> str:
        """The query of the address at which the way ended."""
        assert self.reached is not None, self.page and self.page.text
        return urlsplit(self.reached).query

    def _go(self, method: str, address: str, body: str | None) -> Page | None:
        for _ in range(MAX_REDIRECTS):
            if address.startswith(self._stop):
                self.reached, self.page = address, None
                return None
            self.visited.append(address)
            status, headers, text = self._fetch(method, address, body)
            if status in (301, 302, 303, 307, 308):
                address = urljoin(address, headers["location"])
                if status == 303:
                    method, body = "GET", None
                continue
            reader = _Reader()
            reader.feed(text)
            self.page = Page(address, status, text, headers, reader.forms, reader.links)
            return self.page
        raise AssertionError("too many redirects")

    def _fetch(self, method: str, address: str, body: str | None) -> tuple[int, dict[str, str], str]:
        jar = self.cookies.setdefault("://".join(urlsplit(address)[:2]), {})
        for origin, real in self._at.items():
            if address.startswith(origin + "/"):
                address = real + address.removeprefix(origin)
        parts = urlsplit(address)
        assert parts.hostname is not None
        assert parts.scheme == "http", f"this browser has no TLS: {address}"
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=20)
        sent = {} if body is None else {"Content-Type": "application/x-www-form-urlencoded"}
        if jar:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in jar.items())
        try:
            connection.request(method, parts.path + ("?" + parts.query if parts.query else ""), body, sent)
            answer = connection.getresponse()
            text = answer.read(MAX_PAGE).decode("utf-8", "replace")
        finally:
            connection.close()
        for cookie in answer.headers.get_all("Set-Cookie") or []:
            name, _, value = cookie.partition(";")[0].partition("=")
            if value.strip():
                jar[name.strip()] = value.strip()
            else:
                jar.pop(name.strip(), None)
        return answer.status, {name.lower(): value for name, value in answer.headers.items()}, text


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.links: list[str] = []
        self._select: str | None = None
        self._option: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag == "form":
            self.forms.append(Form(given.get("action", ""), given.get("method", "get")))
        elif not self.forms:
            return
        elif tag == "input" and "name" in given:
            self.forms[-1].fields[given["name"]] = given.get("value", "")
        elif tag == "button" and "name" in given:
            self.forms[-1].choices.setdefault(given["name"], []).append(given.get("value", ""))
        elif tag == "select":
            self._select = given.get("name", "")
            self.forms[-1].choices[self._select] = []
        elif tag == "option":
            self._option = ""

    def handle_data(self, data: str) -> None:
        if self._option is not None:
            self._option += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "option" and self._option is not None and self._select is not None:
            self.forms[-1].choices[self._select].append(self._option.strip())
            self._option = None
        elif tag == "select":
            self._select = None
