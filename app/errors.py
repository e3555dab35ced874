"""What can go wrong in the city, as one small tree.

CityError
├── SettingsError      a process was started with missing or contradictory settings
├── Refusal            a resident's wish that is answered with no: a code and a sentence in two languages
├── UnavailableError   another process or counterpart did not answer; the same step is tried again later
├── ConflictError      somebody else moved the request on; the work in hand is discarded
├── CrossingError      a message that no row of the zone table allows
└── GateError          the finished bundle did not pass the verifier, or the page does not show its data

Parsers of the rooms have their own small trees; the corridor turns them into one of these.
"""

from __future__ import annotations


class CityError(Exception):
    """Base. `code` is a short stable ASCII word; `detail` never holds personal data or secrets."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.detail = detail


class SettingsError(CityError):
    """The process must not start like this."""


class Refusal(CityError):  # noqa: N818  (the domain's word: a refusal is an answer, not a fault)
    """The answer is no. `ja` and `en` are for the resident; `retry` says whether trying later helps."""

    def __init__(self, code: str, ja: str, en: str, *, retry: bool = False) -> None:
        super().__init__(code, en)
        self.ja = ja
        self.en = en
        self.retry = retry


class UnavailableError(CityError):
    """Somebody did not answer: nothing is lost, the step is repeated."""


class ConflictError(CityError):
    """The stored row is not in the state this work started from."""


class CrossingError(CityError):
    """No row of the zone table allows this message."""


class GateError(CityError):
    """Nothing leaves the city that the verifier has not accepted."""
