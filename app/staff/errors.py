"""What can go wrong in the staff console, as one small tree.

StaffError
├── StaffSettingsError         a variable is missing or has no usable value; nothing starts
├── StaffFormatError           a message of the machine side is not what it claims to be
├── LoginRefusedError          wrong name, password or code, or too many attempts
├── RevocationRefusedError     the two-person rule or the state of the request forbids it
├── StaffUsageError            the command line was used wrongly
└── FeedError                  the worker's client got no usable answer
    ├── FeedUnavailableError   the console cannot be reached now or is busy; trying later helps
    └── FeedRefusedError       the console refused the message or the token; trying again does not help
"""

from __future__ import annotations


class StaffError(Exception):
    """Base of every error of this room. `code` is a short stable ASCII word; neither part holds secrets."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.detail = detail


class StaffSettingsError(StaffError):
    """The environment does not describe a console that may start."""


class StaffFormatError(StaffError):
    """A message is malformed, too large, or carries something that de-identified data must not carry."""


class LoginRefusedError(StaffError):
    """Nobody is logged in by this attempt. Codes: wrong-login, too-many-attempts."""


class RevocationRefusedError(StaffError):
    """The revocation was not recorded. Codes: same-person, already-open, not-open, unknown-request, …"""


class StaffUsageError(StaffError):
    """The caller's own mistake on the command line."""


class FeedError(StaffError):
    """The worker could not talk to the console."""


class FeedUnavailableError(FeedError):
    """No answer, or 503: keep the events and try again after `retry_after` seconds."""

    def __init__(self, code: str, detail: str = "", *, retry_after: int = 5) -> None:
        super().__init__(code, detail)
        self.retry_after = retry_after


class FeedRefusedError(FeedError):
    """A 4xx answer or an answer that is not ours."""
