"""What can go wrong in this package outside of parsing, as one small tree.

MobileError
├── SettingsError        the process must not start like this
├── Problem              the street door answers with an RFC 9457 problem (`problems`)
└── PhoneError           the reference phone (`client`) could not go on
    ├── DoorUnavailable    the street door did not answer; nothing is lost, try later
    ├── DoorRefused        the street door said no: its own word, never the city's
    ├── DoorDistrusted     the street door handed over something that fails a check
    ├── CityRefused        the city said no, signed
    ├── NoAnswerYet        the wait ended before the city answered
    │   └── PackageMissing   the street door has not got the announced package; the city is asked for it again
    ├── PackageLost        … and has not got it after the city put it there again: the request is dropped
    ├── RequestDistrusted  a submission request that must not be answered
    └── StateError         the phone's own directory is not usable

Parsers raise `verifier.errors.FormatError` and `LimitError` only.
"""

from __future__ import annotations


class MobileError(Exception):
    """Base. `code` is a short stable ASCII word; `detail` never holds personal data or secrets."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.detail = detail


class SettingsError(MobileError):
    """A setting is missing, unknown or contradictory."""


class Problem(MobileError):  # noqa: N818
    """An answer of the street door that is not a success. `status` is the HTTP status.

    `retry_after` in seconds goes into the Retry-After header.
    """

    def __init__(self, status: int, code: str, detail: str = "", *, retry_after: int | None = None) -> None:
        super().__init__(code, detail)
        self.status = status
        self.retry_after = retry_after


class PhoneError(MobileError):
    """Base of what the reference phone raises."""


class DoorUnavailable(PhoneError):  # noqa: N818
    """No connection, a time-out, or 5xx until the last attempt."""


class DoorRefused(PhoneError):  # noqa: N818
    """The street door answered 4xx. It is the door's word: whether the city refuses is another question."""

    def __init__(self, status: int, code: str, detail: str = "") -> None:
        super().__init__(code, detail)
        self.status = status


class DoorDistrusted(PhoneError):  # noqa: N818
    """What the street door handed over is not what the city signed."""


class CityRefused(PhoneError):  # noqa: N818
    """A refusal signed by the city. `ja` and `en` are for people; `retry` says whether trying later helps."""

    def __init__(self, code: str, ja: str, en: str, *, retry: bool) -> None:
        super().__init__(code, en)
        self.ja = ja
        self.en = en
        self.retry = retry


class NoAnswerYet(PhoneError):  # noqa: N818
    """The city has not answered within the wait; call again later, nothing is lost."""


class PackageMissing(NoAnswerYet):
    """The street door has not got the package that the city announced. `wait` asks the city for it again."""


class PackageLost(PhoneError):  # noqa: N818
    """The package cannot be had. The request is dropped: the same wish may be made anew."""


class RequestDistrusted(PhoneError):  # noqa: N818
    """The QR code or its descriptor is altered, expired or from somebody else than it says."""


class StateError(PhoneError):
    """The state directory is in use by another process, damaged or of another version."""
