"""Reading one JSON object strictly: each field by name and type, unknown fields refused, every error naming
its path.

Knows nothing of taxes. Amounts are integer yen; booleans, floats and text are not amounts.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from datetime import date
from typing import Any, Final

from app.claims.errors import RecordError

MAX_YEN: Final = 999_999_999_999
MAX_TEXT: Final = 200
MAX_AGE: Final = 150


class Fields:
    """A view of `data` at `path` that remembers which keys were asked for; `done()` refuses the others."""

    def __init__(self, data: Any, path: str = "") -> None:
        if not isinstance(data, dict):
            raise RecordError(path or "record", "must be an object")
        self._data = data
        self._path = path
        self._known: set[str] = set()

    def path(self, name: str) -> str:
        return f"{self._path}.{name}" if self._path else name

    def has(self, name: str) -> bool:
        """True if the field is there and not null (null means "not given")."""
        self._known.add(name)
        return self._data.get(name) is not None

    def raw(self, name: str) -> Any:
        self._known.add(name)
        return self._data.get(name)

    def yen(self, name: str, *, signed: bool = False) -> int:
        """An amount, 0 if absent; negative only if `signed`."""
        return self.optional_yen(name, signed=signed) or 0

    def optional_yen(self, name: str, *, signed: bool = False) -> int | None:
        value = self.raw(name)
        if value is None:
            return None
        if type(value) is not int:
            raise RecordError(self.path(name), "must be an integer number of yen")
        if value < 0 and not signed:
            raise RecordError(self.path(name), "must not be negative")
        if abs(value) > MAX_YEN:
            raise RecordError(self.path(name), f"must not exceed {MAX_YEN} yen")
        return value

    def flag(self, name: str, default: bool = False) -> bool:
        value = self.raw(name)
        if value is None:
            return default
        if type(value) is not bool:
            raise RecordError(self.path(name), "must be true or false")
        return value

    def optional_flag(self, name: str) -> bool | None:
        return self.flag(name) if self.has(name) else None

    def choice(self, name: str, allowed: Iterable[str], default: str | None = None) -> str | None:
        value = self.raw(name)
        if value is None:
            return default
        options = list(allowed)
        if not isinstance(value, str) or value not in options:
            raise RecordError(self.path(name), f"must be one of {', '.join(options)}")
        return value

    def integer(self, name: str, low: int, high: int) -> int | None:
        value = self.raw(name)
        if value is None:
            return None
        if type(value) is not int or not low <= value <= high:
            raise RecordError(self.path(name), f"must be an integer from {low} to {high}")
        return value

    def day(self, name: str) -> date | None:
        value = self.raw(name)
        if value is None:
            return None
        try:
            day = date.fromisoformat(value)
        except (TypeError, ValueError):
            day = None
        if day is None or day.isoformat() != value:
            raise RecordError(self.path(name), "must be a date YYYY-MM-DD")
        return day

    def text(self, name: str) -> str | None:
        value = self.raw(name)
        if value is None:
            return None
        if not isinstance(value, str) or not value or len(value) > MAX_TEXT:
            raise RecordError(self.path(name), f"must be text of 1 to {MAX_TEXT} characters")
        if any(
            ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 or 0xD800 <= ord(char) < 0xE000 for char in value
        ):
            raise RecordError(self.path(name), "must not contain control characters")
        return value

    def child(self, name: str) -> Fields:
        """The object below `name`, empty if absent."""
        value = self.raw(name)
        return Fields({} if value is None else value, self.path(name))

    def done(self) -> None:
        """Refuse fields nobody asked for, with the nearest known name."""
        for name in self._data:
            if name in self._known:
                continue
            if not isinstance(name, str):
                raise RecordError(self._path or "record", "keys must be text")
            near = difflib.get_close_matches(name, sorted(self._known), n=1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise RecordError(self.path(name[:60]), f"unknown field{hint}")
