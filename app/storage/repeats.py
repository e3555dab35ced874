"""Which handled messages may be asked again, how often, and the refusals that ended them.

A street door may lose the city's answer after it has confirmed it; then the phone posts the same envelope once more.
Only the very same bytes count, and each time is counted by one statement here. What the answer is, is decided in
`app.issuance.repeats`. A row stays as long as `handled_messages`: a hash, times and a count.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from sqlalchemy import Connection, case, insert, or_, select, update

from app.storage.inbox import Envelope
from app.storage.tables import repeats
from mobile_api.messages import Refused, format_answer_body, parse_answer_body
from verifier.formats.encoding import canonical_json, parse_canonical_json

DAY_SECONDS: Final = 86400


def _hash(envelope: Envelope) -> str:
    return sha256(envelope.body).hexdigest()


def note_repeatable(
    connection: Connection, account: str, message_id: str, envelope: Envelope, *, at: int
) -> None:
    """This message may be asked again, as exactly this envelope. Noted once; a second time changes nothing."""
    known = connection.execute(
        select(repeats.c.account).where(repeats.c.account == account, repeats.c.message_id == message_id)
    ).first()
    if known is None:
        connection.execute(
            insert(repeats).values(
                account=account, message_id=message_id, envelope_hash=_hash(envelope), answered_at=at
            )
        )


def note_answer(
    connection: Connection, account: str, message_id: str, *, refused: Refused | None, at: int
) -> None:
    """The message was answered now; `refused` ends it. Nothing happens to a message that cannot be repeated."""
    values: dict[str, object] = {"answered_at": at}
    if refused is not None:
        values["refusal"] = canonical_json(format_answer_body(refused)[1]).decode("utf-8")
    connection.execute(
        update(repeats)
        .where(repeats.c.account == account, repeats.c.message_id == message_id)
        .values(**values)
    )


def claim_repeat(
    connection: Connection,
    account: str,
    message_id: str,
    envelope: Envelope,
    *,
    at: int,
    pause: int,
    a_day: int,
) -> bool:
    """Count one repetition, in one statement. False: other bytes, not repeatable, too soon, or enough for today.

    `pause` seconds must have gone by since the last answer; `a_day` repetitions are answered on one UTC day.
    """
    today = at // DAY_SECONDS
    result = connection.execute(
        update(repeats)
        .where(
            repeats.c.account == account,
            repeats.c.message_id == message_id,
            repeats.c.envelope_hash == _hash(envelope),
            repeats.c.answered_at <= at - pause,
            or_(repeats.c.day != today, repeats.c.repeated < a_day),
        )
        .values(
            answered_at=at,
            day=today,
            repeated=case((repeats.c.day == today, repeats.c.repeated + 1), else_=1),
        )
    )
    return result.rowcount == 1


def find_refusal(connection: Connection, account: str, message_id: str) -> Refused | None:
    """The refusal that ended a message, word for word."""
    text = connection.execute(
        select(repeats.c.refusal).where(repeats.c.account == account, repeats.c.message_id == message_id)
    ).scalar()
    if text is None:
        return None
    body = parse_answer_body("refused", parse_canonical_json(text.encode("utf-8")))
    return body if isinstance(body, Refused) else None


def forget_refusals(connection: Connection, *, before: int) -> None:
    """Forget the words of refusals older than `before`; what is asked again then is answered as gone."""
    connection.execute(
        update(repeats)
        .where(repeats.c.refusal.is_not(None), repeats.c.answered_at < before)
        .values(refusal=None)
    )
