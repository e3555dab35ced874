"""A member of staff at the console, for the demo and tests: logs in over HTTP, asks, confirms; forms and cookies."""

from __future__ import annotations

import http.cookiejar
import re
import urllib.parse
import urllib.request
from typing import Final

TIMEOUT_SECONDS: Final = 10.0
_TOKEN: Final = re.compile(r'name="csrf" value="([^"]+)"')
_CONFIRM: Final = re.compile(r'action="([^"]*confirm[^"]*)"')


class StaffBrowser:
    """One person's browser at the console `base_url`."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url.rstrip("/")
        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self._opener = urllib.request.build_opener(cookies, urllib.request.ProxyHandler({}))

    def log_in(self, name: str, password: str) -> None:
        """Log in; raises OSError (an HTTP error) when it is refused."""
        self._post("/login", "/login", name=name, password=password, code="")

    def page(self, path: str) -> str:
        """One page's HTML."""
        with self._opener.open(self._base_url + path, timeout=TIMEOUT_SECONDS) as response:
            return response.read().decode("utf-8")

    def ask_revocation(self, request_id: str, reason: str, case_number: str) -> str:
        """Ask for a revocation; returns the page that says so."""
        page = f"/requests/{request_id}"
        target = _form_action(self.page(page), "reason")
        return self._post(page, target, request_id=request_id, reason=reason, case_number=case_number)

    def confirm_revocation(self, request_id: str) -> str:
        """Confirm what somebody else asked for."""
        page = f"/requests/{request_id}"
        target = _CONFIRM.search(self.page(page))
        if target is None:
            raise OSError("nothing to confirm on this page")
        return self._post(page, target.group(1), request_id=request_id)

    def _post(self, page: str, target: str, **fields: str) -> str:
        token = _TOKEN.search(self.page(page))
        if token is None:
            raise OSError("a page without a form")
        body = urllib.parse.urlencode({"csrf": token.group(1), **fields}).encode()
        request = urllib.request.Request(self._base_url + target, data=body)  # noqa: S310
        with self._opener.open(request, timeout=TIMEOUT_SECONDS) as response:
            return response.read().decode("utf-8")


def _form_action(html: str, field: str) -> str:
    for form in re.findall(r"<form.*?</form>", html, re.S):
        action = re.search(r'action="([^"]+)"', form)
        if f'name="{field}"' in form and action is not None:
            return action.group(1)
    raise OSError("the page has no such form")
