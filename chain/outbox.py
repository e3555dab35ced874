"""The outbox: each transaction is stored, signed, before it is sent, and is never forgotten.

An attempt is open (stored; perhaps sent), mined (seen in a block, not deep enough), final, reverted (used its
nonce
for nothing) or lost (another transaction has its nonce). Attempts belong to a target: chain id, contract,
block 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from chain.database import outbox, target
from chain.transactions import Fees, Identity, Inclusion, SignedTransaction

OPEN: Final = "open"
MINED: Final = "mined"
FINAL: Final = "final"
REVERTED: Final = "reverted"
LOST: Final = "lost"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One stored transaction."""

    number: int
    nonce: int
    fees: Fees
    size: int
    root: bytes
    transaction: SignedTransaction
    state: str
    created: int  # Unix seconds
    sent: int | None  # when last broadcast
    block_number: int | None
    block_hash: bytes | None
    log_index: int | None
    has_receipt: bool


class Outbox:
    """Attempts of one target."""

    def __init__(self, engine: Engine, identity: Identity, contract: bytes) -> None:
        self._engine = engine
        self.identity = identity
        values = {"chain_id": identity.chain_id, "contract": contract, "genesis": identity.genesis}
        query = sa.select(target.c.id).where(*(target.c[name] == value for name, value in values.items()))
        with engine.begin() as connection:
            found = connection.execute(query).scalar_one_or_none()
            if found is None:
                found = connection.execute(
                    sa.insert(target).values(values).returning(target.c.id)
                ).scalar_one()
        self._target_id: int = found

    def add(
        self, nonce: int, fees: Fees, size: int, root: bytes, signed: SignedTransaction, now: int
    ) -> Attempt:
        """Store an attempt before anybody sees it; the same transaction again answers the stored one."""
        row = {
            "target_id": self._target_id,
            "nonce": nonce,
            "max_fee": str(fees.max_fee),
            "priority_fee": str(fees.priority_fee),
            "size": size,
            "root": root,
            "raw": signed.raw,
            "tx_hash": signed.tx_hash,
            "state": OPEN,
            "created": now,
            "has_receipt": False,
        }
        stored = sa.select(outbox).where(outbox.c.tx_hash == signed.tx_hash)
        with self._engine.begin() as connection:
            found = connection.execute(stored).mappings().one_or_none()
            if found is None:
                connection.execute(sa.insert(outbox).values(row))
                found = connection.execute(stored).mappings().one()
        return _attempt(found)

    def of_lowest_open_nonce(self) -> list[Attempt]:
        """The open attempts that compete for the lowest open nonce, oldest first."""
        lowest = (
            sa.select(sa.func.min(outbox.c.nonce))
            .where(outbox.c.target_id == self._target_id, outbox.c.state == OPEN)
            .scalar_subquery()
        )
        return self._find(outbox.c.state == OPEN, outbox.c.nonce == lowest)

    def mined(self) -> list[Attempt]:
        """Attempts in a block that is not deep enough yet."""
        return self._find(outbox.c.state == MINED)

    def settled_from(self, nonce: int) -> list[Attempt]:
        """Attempts thought settled whose nonce the chain has not used: it has gone back behind them."""
        return self._find(outbox.c.state != OPEN, outbox.c.nonce >= nonce)

    def without_receipt(self) -> list[Attempt]:
        """Final attempts whose receipt is not written yet, oldest first."""
        return self._find(outbox.c.state == FINAL, outbox.c.has_receipt.is_(False))

    def newest(self) -> Attempt | None:
        """The attempt stored last."""
        query = (
            sa.select(outbox)
            .where(outbox.c.target_id == self._target_id)
            .order_by(outbox.c.id.desc())
            .limit(1)
        )
        with self._engine.begin() as connection:
            row = connection.execute(query).mappings().one_or_none()
        return None if row is None else _attempt(row)

    def newest_final(self) -> Attempt | None:
        """The final attempt of the highest nonce."""
        query = (
            sa.select(outbox)
            .where(outbox.c.target_id == self._target_id, outbox.c.state == FINAL)
            .order_by(outbox.c.nonce.desc(), outbox.c.id.desc())
            .limit(1)
        )
        with self._engine.begin() as connection:
            row = connection.execute(query).mappings().one_or_none()
        return None if row is None else _attempt(row)

    def mark_sent(self, attempt: Attempt, now: int) -> None:
        """It was broadcast."""
        self._update([attempt.number], sent=now)

    def settle(self, attempt: Attempt, inclusion: Inclusion, state: str, others: Sequence[Attempt]) -> None:
        """`attempt` is in a block as `state` says; its competitors for the nonce have lost."""
        values = {
            "state": state,
            "block_number": inclusion.block_number,
            "block_hash": inclusion.block_hash,
            "log_index": inclusion.log_index,
        }
        with self._engine.begin() as connection:
            connection.execute(sa.update(outbox).where(outbox.c.id == attempt.number).values(values))
            if others:
                numbers = [other.number for other in others]
                connection.execute(sa.update(outbox).where(outbox.c.id.in_(numbers)).values(state=LOST))

    def set_state(self, attempts: Sequence[Attempt], state: str) -> None:
        """Move attempts to a state that is not `OPEN`; `reopen` is for that."""
        self._update([attempt.number for attempt in attempts], state=state)

    def reopen(self, attempts: Sequence[Attempt], now: int) -> None:
        """These attempts, and those that lost their nonce to them, are open again, as if they were made `now`.

        As far as anyone knows they were sent to nobody, any of them may be the one in a block, and what was written
        about a block of theirs has to be written again. Their age counts anew, so that the same bytes have their
        chance before a replacement: what replaces an anchor leaves its receipt without a block.
        """
        change = (
            sa.update(outbox)
            .where(
                outbox.c.target_id == self._target_id,
                outbox.c.nonce.in_({attempt.nonce for attempt in attempts}),
            )
            .values(
                state=OPEN,
                created=now,
                sent=None,
                block_number=None,
                block_hash=None,
                log_index=None,
                has_receipt=False,
            )
        )
        with self._engine.begin() as connection:
            connection.execute(change)

    def mark_receipt(self, attempt: Attempt) -> None:
        """Its receipt is written."""
        self._update([attempt.number], has_receipt=True)

    def _update(self, numbers: Sequence[int], **values: Any) -> None:
        with self._engine.begin() as connection:
            connection.execute(sa.update(outbox).where(outbox.c.id.in_(numbers)).values(values))

    def _find(self, *conditions: Any) -> list[Attempt]:
        query = (
            sa.select(outbox).where(outbox.c.target_id == self._target_id, *conditions).order_by(outbox.c.id)
        )
        with self._engine.begin() as connection:
            return [_attempt(row) for row in connection.execute(query).mappings()]


def _attempt(row: Any) -> Attempt:
    return Attempt(
        number=row["id"],
        nonce=row["nonce"],
        fees=Fees(int(row["max_fee"]), int(row["priority_fee"])),
        size=row["size"],
        root=row["root"],
        transaction=SignedTransaction(row["raw"], row["tx_hash"]),
        state=row["state"],
        created=row["created"],
        sent=row["sent"],
        block_number=row["block_number"],
        block_hash=row["block_hash"],
        log_index=row["log_index"],
        has_receipt=row["has_receipt"],
    )
