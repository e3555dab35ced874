"""What the counter does, in the gate's store: one-time codes, device locks, and a line for every act of its staff."""

from __future__ import annotations

from sqlalchemy import Connection, delete, insert, or_, select, update

from app.registers.mandate_store import code_hash
from app.registers.mandate_tables import counter_acts, counter_codes, device_locks


def note_act(
    connection: Connection, *, what: str, resident_id: str, staff: str, second: str, reason: str, at: int
) -> None:
    """One act of the counter's staff; `second` empty where one person is enough."""
    connection.execute(
        insert(counter_acts).values(
            what=what, resident_id=resident_id, staff=staff, second=second, reason=reason, at=at
        )
    )


def store_code(connection: Connection, code: str, resident_id: str, *, at: int, expires_at: int) -> None:
    """Remember a printed code by its hash."""
    connection.execute(
        insert(counter_codes).values(
            code_hash=code_hash(code), resident_id=resident_id, made_at=at, expires_at=expires_at
        )
    )


def use_code(connection: Connection, code: str, *, used_by: str, at: int) -> str | None:
    """Use a code up, in one statement; the resident, or None if it is unknown, too old, or used by another phone."""
    row = connection.execute(
        update(counter_codes)
        .where(
            counter_codes.c.code_hash == code_hash(code),
            counter_codes.c.expires_at >= at,
            or_(counter_codes.c.used_by.is_(None), counter_codes.c.used_by == used_by),
        )
        .values(used_by=used_by, used_at=at)
        .returning(counter_codes.c.resident_id)
    ).first()
    return None if row is None else str(row.resident_id)


def lock(connection: Connection, binding: str, *, at: int) -> bool:
    """Lock the adding of devices; False if it was locked."""
    if is_locked(connection, binding):
        return False
    connection.execute(insert(device_locks).values(binding=binding, locked_at=at))
    return True


def unlock(connection: Connection, binding: str) -> bool:
    """Take the lock away; False if there was none."""
    result = connection.execute(delete(device_locks).where(device_locks.c.binding == binding))
    return result.rowcount == 1


def is_locked(connection: Connection, binding: str) -> bool:
    """Whether adding devices is locked to the counter."""
    found = connection.execute(
        select(device_locks.c.locked_at).where(device_locks.c.binding == binding)
    ).first()
    return found is not None
