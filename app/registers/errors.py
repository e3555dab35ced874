"""What can go wrong in the registers, as one small tree.

RegisterError
├── RegisterFileError  a register file that is not in the documented shape; names line and field
│   └── RegisterFileLimit  a line or file beyond a documented limit
├── UnknownResident    an event for a resident there is not
└── StoreInUse         a city was to be created or imported into a store that already holds one

"No resident fits" is a result of `match`, not an error.
"""

from __future__ import annotations


class RegisterError(Exception):
    """Base of every error this room raises on purpose; `code` is a stable ASCII word, `detail` a sentence."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class RegisterFileError(RegisterError):
    """`line` counts from 1, `field` is a path in that line (`resident.birthdate`); no value is repeated
    here.
    """

    def __init__(self, line: int, field: str, detail: str, code: str = "bad-register-file") -> None:
        super().__init__(code, f"line {line}: {field}: {detail}")
        self.line = line
        self.field = field


class RegisterFileLimit(RegisterFileError):  # noqa: N818 - a limit is named as a limit
    """The file exceeds a limit of `register_file`."""

    def __init__(self, line: int, detail: str) -> None:
        super().__init__(line, "file", detail, "register-file-too-large")


class UnknownResident(RegisterError):  # noqa: N818
    """There is no such resident."""

    def __init__(self, resident_id: str) -> None:
        super().__init__("unknown-resident", f"no resident {resident_id}")


class StoreInUse(RegisterError):  # noqa: N818
    """The store already holds residents; nothing was changed."""

    def __init__(self) -> None:
        super().__init__("store-in-use", "the register store already holds residents")
