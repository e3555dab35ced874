"""What to do next so that the newest checkpoint stands in the contract: a pure decision over what is known.

`decide` looks at a `View` (our log, our outbox, the chain) and answers one action. It asks nobody and changes
nothing; `chain.anchorer` gathers the view and carries the action out. Rules, in the order in which they are
asked:

  1  the contract knows more than we, or another history: halt
  2  the chain has gone back behind attempts that were settled: open them again (same bytes, same nonces)
  3  the block of a mined attempt, or of the newest final one, is not the chain's block any more: open it again
     (a replaced block takes every later one with it, so the final ones before follow one by one); deep enough: final
  4  attempts for the lowest open nonce: one is in a block → settle; the nonce is used by something else →
  lost
     after a while; never sent, or long ago → send the same bytes; waited long → replace (same nonce, higher
     fee, newest checkpoint); above a gap for long → as if it were not there
  5  a final attempt without receipt: write it
  6  nothing in flight and the log is ahead of the contract: submit the newest checkpoint
  7  otherwise wait, and say for what

One nonce is in flight at a time. Every crash leaves a view from which the same rules go on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from chain.floor import SeenHead
from chain.outbox import Attempt
from chain.transactions import Fees, Inclusion


@dataclass(frozen=True, slots=True)
class Rules:
    """Settings of anchoring; times in seconds."""

    interval: int = 10  # at least this long between two submissions
    confirmations: int = 1  # blocks, the transaction's own included, until an anchor counts as final
    resend_after: int = 30
    replace_after: int = 120
    lost_after: int = 60  # how long a receipt may be missing although the nonce is used
    max_attempts: int = 20  # for one nonce
    max_fee: int = 500 * 10**9  # wei a gas


@dataclass(frozen=True, slots=True)
class View:
    """Everything a decision depends on."""

    now: int  # Unix seconds
    published_size: int
    head: SeenHead  # the contract's
    is_head_ours: bool  # our root at that size is the same
    chain_nonce: int
    latest_block: int
    fees: Fees  # suggested now
    open_attempts: tuple[Attempt, ...]  # those of the lowest open nonce, oldest first
    mined: tuple[Attempt, ...]
    newest_final: Attempt | None  # by nonce; its block is looked at again however deep it lies
    gone_back: tuple[Attempt, ...]  # settled attempts with a nonce the chain has not used
    unreceipted: tuple[Attempt, ...]
    newest: Attempt | None
    inclusions: Mapping[bytes, Inclusion | None]  # by transaction hash, of the open attempts
    block_hashes: Mapping[
        int, bytes | None
    ]  # by number, of the blocks of the mined attempts and the newest final one


@dataclass(frozen=True, slots=True)
class Halt:
    """The contract contradicts our log: nothing is signed or sent any more."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Reopen:
    """These attempts are not in the chain any more, or not where they were."""

    attempts: tuple[Attempt, ...]


@dataclass(frozen=True, slots=True)
class Settle:
    """This attempt is in a block; with the right event or without."""

    attempt: Attempt
    inclusion: Inclusion
    others: tuple[Attempt, ...]
    is_anchored: bool


@dataclass(frozen=True, slots=True)
class Lose:
    """Another transaction has used the nonce of these attempts."""

    attempts: tuple[Attempt, ...]


@dataclass(frozen=True, slots=True)
class Finish:
    """This mined attempt is deep enough."""

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class Broadcast:
    """Send these stored bytes, for the first time or again."""

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class WriteReceipt:
    """Write and publish the receipt of this final attempt."""

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class Submit:
    """Sign and store a submission of the newest checkpoint with this nonce."""

    nonce: int
    fees: Fees
    replaces: Attempt | None


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing can be done now; `reason` is for the monitor: a code word, a colon and words; empty when all is anchored."""

    reason: str


Action = Halt | Reopen | Settle | Lose | Finish | Broadcast | WriteReceipt | Submit | Wait


def decide(view: View, rules: Rules) -> Action:
    """The next action; see the module's list of rules."""
    if view.head.size > view.published_size:
        return Halt(
            "seen-larger", f"the contract has {view.head.size} entries, our log {view.published_size}"
        )
    if not view.is_head_ours:
        return Halt("seen-fork", f"the contract has another root for size {view.head.size}")
    if view.gone_back:
        return Reopen(view.gone_back)
    if view.newest_final is not None and _has_moved(view.newest_final, view):
        return Reopen((view.newest_final,))
    for attempt in view.mined:
        if attempt.block_number is None or _has_moved(attempt, view):
            return Reopen((attempt,))
        if view.latest_block - attempt.block_number + 1 >= rules.confirmations:
            return Finish(attempt)
    in_flight = _decide_in_flight(view, rules) if view.open_attempts else None
    if in_flight is not None:
        return in_flight
    if view.unreceipted:
        return WriteReceipt(view.unreceipted[0])
    if view.mined:
        return Wait("confirming: waiting for confirmations")
    if view.head.size == view.published_size:
        return Wait("")
    if view.newest is not None and view.now - view.newest.created < rules.interval:
        return Wait("interval: waiting for the next anchoring time")
    if view.fees.max_fee > rules.max_fee:
        return Wait("gas-dear: gas is dearer than the limit")
    return Submit(view.chain_nonce, view.fees, None)


def _has_moved(attempt: Attempt, view: View) -> bool:
    return attempt.block_number is None or view.block_hashes.get(attempt.block_number) != attempt.block_hash


def _decide_in_flight(view: View, rules: Rules) -> Action | None:
    attempts = view.open_attempts
    newest = attempts[-1]
    for attempt in attempts:
        inclusion = view.inclusions.get(attempt.transaction.tx_hash)
        if inclusion is not None:
            others = tuple(other for other in attempts if other is not attempt)
            # a transaction to an address without code succeeds too: only the event counts
            is_anchored = inclusion.is_success and (inclusion.size, inclusion.root) == (
                attempt.size,
                attempt.root,
            )
            return Settle(attempt, inclusion, others, is_anchored)
    if newest.nonce < view.chain_nonce:
        if view.now - max(attempt.sent or attempt.created for attempt in attempts) < rules.lost_after:
            return Wait("receipt-late: the nonce is used, its receipt is not there yet")
        return Lose(attempts)
    if newest.sent is None:
        return Broadcast(newest)
    if newest.nonce > view.chain_nonce:
        # a gap that nothing of ours fills (rule 2 would have): after a while go on as if there were no such attempt
        # (a lower nonce then comes first); until the account has got there it holds nobody up
        if view.now - newest.sent < rules.lost_after:
            return Wait("nonce-gap: an earlier nonce of the account is missing")
        return None
    if view.now - newest.created >= rules.replace_after and len(attempts) < rules.max_attempts:
        fees = _raised(newest.fees, view.fees)
        if fees.max_fee <= rules.max_fee and view.published_size > view.head.size:
            return Submit(newest.nonce, fees, newest)
    if view.now - newest.sent >= rules.resend_after:
        return Broadcast(newest)
    return Wait("in-flight: waiting for the transaction to be mined")


def _raised(before: Fees, suggested: Fees) -> Fees:
    # nodes take a replacement only for at least a tenth more on both fields
    return Fees(
        max(suggested.max_fee, before.max_fee + before.max_fee // 4 + 1),
        max(suggested.priority_fee, before.priority_fee + before.priority_fee // 4 + 1),
    )
