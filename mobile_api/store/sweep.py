"""Deleting what has had its time. Idempotent, in small transactions, safe beside a running door."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, delete, or_, select

from mobile_api.settings import Settings
from mobile_api.store.engine import Store
from mobile_api.store.tables import (
    answers,
    envelopes,
    nonces,
    packages,
    presentations,
    requests,
    submissions,
    used_tokens,
)
from mobile_api.store.wallet_exchanges import sweep_exchanges
from mobile_api.store.wallet_grants import sweep_grants


@dataclass(frozen=True, slots=True)
class Swept:
    """How many rows went."""

    packages: int
    answers: int
    envelopes: int
    nonces: int
    submissions: int
    presentations: int
    requests: int
    tokens: int
    wallets: int


def to_minute(now: datetime) -> int:
    """Unix seconds rounded down to the minute: the only clock the store knows."""
    return int(now.timestamp()) // 60 * 60


def sweep(store: Store, settings: Settings, now: datetime) -> Swept:
    """Delete packages fetched or never fetched, old answers, envelopes and nonces, ended requests with all
    under them.
    """
    minute = to_minute(now)
    statements = {
        "packages": delete(packages).where(
            or_(
                packages.c.fetched_minute <= minute - settings.keep_fetched_package,
                packages.c.stored_minute <= minute - settings.keep_package,
            )
        ),
        "answers": delete(answers).where(answers.c.stored_minute <= minute - settings.keep_answer),
        "envelopes": delete(envelopes).where(envelopes.c.received_minute <= minute - settings.keep_envelope),
        "nonces": delete(nonces).where(nonces.c.added_minute <= minute - settings.keep_nonce),
        "submissions": delete(submissions).where(
            or_(
                submissions.c.fetched_minute <= minute - settings.keep_fetched_submission,
                submissions.c.request_id.in_(
                    select(requests.c.request_id).where(requests.c.expires_minute <= minute)
                ),
            )
        ),
        "presentations": delete(presentations).where(
            or_(
                and_(presentations.c.expires_minute <= minute, presentations.c.answer.is_(None)),
                presentations.c.expires_minute <= minute - settings.keep_presentation,
                presentations.c.fetched_minute <= minute - settings.keep_fetched_presentation,
            )
        ),
        "tokens": delete(used_tokens).where(used_tokens.c.until_minute < minute),
    }
    gone = {}
    for name, statement in statements.items():
        with store.write() as connection:
            gone[name] = connection.execute(statement).rowcount
    with store.write() as connection:
        # A submission that came in between keeps its request one more round (foreign key).
        ended = delete(requests).where(
            requests.c.expires_minute <= minute,
            requests.c.request_id.not_in(select(submissions.c.request_id)),
        )
        gone["requests"] = connection.execute(ended).rowcount
    with store.write() as connection:
        gone["wallets"] = sweep_grants(connection, minute) + sweep_exchanges(connection, minute)
    return Swept(**gone)
