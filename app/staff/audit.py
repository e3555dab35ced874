"""Who did what on the console: one append-only row and one JSON line a deed.

Lines carry staff names, request numbers and code words; never a password, a token or anything of a resident.
"""

from __future__ import annotations

import json
import logging
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, insert

from app.staff.tables import audit_line

AUDIT_LOGGER: Final = "akashi.staff.audit"


def append_audit(
    connection: Connection,
    city: str,
    now: datetime,
    *,
    who: str,
    act: str,
    subject: str = "",
    outcome: str = "done",
) -> None:
    """Write the row inside the caller's transaction, so that no deed commits without its line."""
    row = {
        "city": city,
        "at": int(now.timestamp()),
        "who": who[:32],
        "act": act,
        "subject": subject,
        "outcome": outcome,
    }
    connection.execute(insert(audit_line).values(**row))
    logging.getLogger(AUDIT_LOGGER).info(json.dumps(row, ensure_ascii=True, sort_keys=True))
