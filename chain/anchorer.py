"""The anchorer: gathers what `anchoring.decide` looks at, carries out what it says, writes receipts.

Nothing is kept in memory that matters: after a crash at any line the next round gathers the same facts from
outbox and chain. Order in each action: the database first where losing the step would be worse, the chain
first where doing it twice is harmless (`Broadcast`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from chain.anchoring import (
    Action,
    Broadcast,
    Finish,
    Halt,
    Lose,
    Reopen,
    Rules,
    Settle,
    Submit,
    View,
    Wait,
    WriteReceipt,
    decide,
)
from chain.checkpoint_key import CheckpointSigner, sign_note
from chain.cosigning import Cosigning, Vouching, WitnessSet
from chain.errors import ChainError, EthereumError, EthereumUnavailable, LogRefused
from chain.floor import SeenHead
from chain.log import Log
from chain.outbox import FINAL, LOST, MINED, REVERTED, Attempt, Outbox
from chain.transactions import (
    Fees,
    Identity,
    Inclusion,
    SignedTransaction,
    Submission,
    compute_origin_id,
)
from verifier.formats.chain_anchor import AnchorReceipt, format_receipt_text

RECEIPT_RETRY_SECONDS: Final = 30
MAX_ACTIONS_A_ROUND: Final = 200


class AnchoringChain(Protocol):
    """What anchoring needs of a chain; `ethereum.EthereumClient` is it, tests have a worse one."""

    @property
    def contract(self) -> bytes:
        """Address of the registry."""

    def identity(self) -> Identity: ...
    def has_contract(self) -> bool: ...
    def head(self, origin_id: bytes) -> SeenHead: ...
    def witnesses(self) -> WitnessSet: ...
    def nonce(self) -> int: ...
    def latest_block(self) -> int: ...
    def block_hash(self, number: int) -> bytes | None: ...
    def fees(self) -> Fees: ...
    def sign_submission(self, submission: Submission, nonce: int, fees: Fees) -> SignedTransaction: ...
    def broadcast(self, transaction: SignedTransaction) -> None: ...
    def find_inclusion(self, tx_hash: bytes) -> Inclusion | None: ...


class Anchorer:
    """Keeps the contract at the log's newest checkpoint; one thread at a time."""

    def __init__(
        self,
        log: Log,
        chain: AnchoringChain,
        chain_id: int,
        signer: CheckpointSigner,
        clock: Callable[[], int],
        rules: Rules,
        cosigning: Cosigning | None = None,
    ) -> None:
        """`clock` gives Unix seconds. `cosigning`: witnesses who vouch for submissions, if the log has any."""
        self._log = log
        self._chain = chain
        self._chain_id = chain_id
        self._signer = signer
        self._clock = clock
        self._rules = rules
        self._cosigning = cosigning
        self._origin_id = compute_origin_id(log.origin)
        self._outbox: Outbox | None = None
        self._receipts_from = 0
        self._agreed: SeenHead | None = None  # the last head of the contract that is ours for sure
        self.reason = "not-asked: the chain was not asked yet"  # for the monitor, as `Wait` words it
        self.anchored: SeenHead | None = None  # the contract's head as last seen

    def run(self) -> None:
        """Act until there is nothing to do now.

        Raises: LogRefused (the log has been told too). Whatever else goes wrong becomes `reason`.
        """
        for _ in range(MAX_ACTIONS_A_ROUND):
            try:
                action = self.step()
            except LogRefused:
                raise
            except ChainError as error:
                self.reason = str(error)
                return
            if isinstance(action, Wait):
                self.reason = action.reason
                return
        self.reason = "busy: more to do than one round allows"

    def step(self) -> Action:
        """Gather, decide, act once; answers what was done.

        Raises: EthereumError, LogRefused, LogUnavailable, SigningError.
        """
        outbox = self._open_outbox()
        action = decide(self._gather(outbox), self._rules)
        self._act(outbox, action)
        return action

    def _open_outbox(self) -> Outbox:
        identity = self._chain.identity()
        if identity.chain_id != self._chain_id:
            raise EthereumError(
                "other-chain", f"the node serves chain {identity.chain_id}, not {self._chain_id}"
            )
        if not self._chain.has_contract():
            raise EthereumError("contract-missing", "there is no contract at the configured address")
        if self._outbox is None or self._outbox.identity != identity:
            # block 0 changed: another chain under the same id (a demo chain that was reset) has its own
            # outbox
            self._outbox = Outbox(self._log.engine, identity, self._chain.contract)
        return self._outbox

    def _gather(self, outbox: Outbox) -> View:
        # the contract before the log: what it holds was published before, so it can never be ahead of what is
        # read next
        head = self._chain.head(self._origin_id)
        chain_nonce = self._chain.nonce()
        published = self._log.published
        self.anchored = head
        is_head_ours = (
            head.size == 0 or head.size > published.size or self._log.root_at(head.size) == head.root
        )
        open_attempts = tuple(outbox.of_lowest_open_nonce())
        mined, newest_final = tuple(outbox.mined()), outbox.newest_final()
        watched = mined if newest_final is None else (*mined, newest_final)
        now = self._clock()
        return View(
            now=now,
            published_size=published.size,
            head=head,
            is_head_ours=is_head_ours,
            chain_nonce=chain_nonce,
            latest_block=self._chain.latest_block(),
            fees=self._chain.fees(),
            open_attempts=open_attempts,
            mined=mined,
            newest_final=newest_final,
            gone_back=tuple(outbox.settled_from(chain_nonce)),
            unreceipted=tuple(outbox.without_receipt()) if now >= self._receipts_from else (),
            newest=outbox.newest(),
            inclusions={
                attempt.transaction.tx_hash: self._chain.find_inclusion(attempt.transaction.tx_hash)
                for attempt in open_attempts
            },
            block_hashes={
                attempt.block_number: self._chain.block_hash(attempt.block_number)
                for attempt in watched
                if attempt.block_number is not None
            },
        )

    def _act(self, outbox: Outbox, action: Action) -> None:
        match action:
            case Halt(code, detail):
                refusal = LogRefused(code, detail)
                self._log.refuse(refusal)
                raise refusal
            case Reopen(attempts):
                outbox.reopen(attempts, self._clock())
            case Settle(attempt, inclusion, others, is_anchored):
                outbox.settle(attempt, inclusion, MINED if is_anchored else REVERTED, others)
            case Lose(attempts):
                outbox.set_state(attempts, LOST)
            case Finish(attempt):
                outbox.set_state([attempt], FINAL)
            case Broadcast(attempt):
                self._broadcast(outbox, attempt)
            case WriteReceipt(attempt):
                self._write_receipt(outbox, attempt)
            case Submit(nonce, fees, _):
                self._submit(outbox, nonce, fees)
            case Wait():
                pass

    def _submit(self, outbox: Outbox, nonce: int, fees: Fees) -> None:
        head = self._chain.head(self._origin_id)
        published, path = self._log.consistency_path(head.size)
        vouching = Vouching(0, b"")
        if self._cosigning is not None:
            vouching = self._cosigning.collect(
                self._chain_id,
                self._chain.contract,
                published.checkpoint,
                head,
                path,
                self._chain.witnesses(),
                self._log.history(),
            )
        submission = Submission(
            self._origin_id,
            published.size,
            published.root,
            path,
            vouching.signer_bitmap,
            vouching.aggregate_signature,
        )
        signed = self._chain.sign_submission(submission, nonce, fees)
        # Kept before the transaction is: once it is mined, everybody needs this checkpoint, and the signer
        # would not sign it again when the log has grown.
        self._log.files.create([(f"checkpoints/{published.size}", published.checkpoint)])
        outbox.add(nonce, fees, published.size, published.root, signed, self._clock())

    def _broadcast(self, outbox: Outbox, attempt: Attempt) -> None:
        try:
            self._chain.broadcast(attempt.transaction)
        except EthereumUnavailable:
            raise  # sent or not, nobody knows: the next round sends the same bytes again
        except EthereumError:
            # a refusal: try again `resend_after` later, and let receipts decide what happened
            outbox.mark_sent(attempt, self._clock())
            raise
        outbox.mark_sent(attempt, self._clock())

    def _write_receipt(self, outbox: Outbox, attempt: Attempt) -> None:
        if attempt.block_number is None or attempt.block_hash is None or attempt.log_index is None:
            raise LogRefused("outbox-damaged", f"the anchor of size {attempt.size} names no block")
        text = format_receipt_text(
            AnchorReceipt(
                chain_id=self._chain_id,
                contract=self._chain.contract,
                origin=self._log.origin,
                size=attempt.size,
                root=attempt.root,
                block_number=attempt.block_number,
                block_hash=attempt.block_hash,
                transaction=attempt.transaction.tx_hash,
                log_index=attempt.log_index,
            )
        )
        path = f"receipts/{attempt.size}"
        note = self._log.files.find(path)
        if note is None or not note.startswith(f"{text}\n".encode()):
            try:
                note = sign_note(text, self._log.key, self._signer)
            except ChainError:
                self._receipts_from = (
                    self._clock() + RECEIPT_RETRY_SECONDS
                )  # anchoring itself goes on meanwhile
                raise
            # a block that was replaced, or a chain that was begun anew, leaves a receipt that leads nowhere
            self._log.files.replace(path, note)
        self._log.store.queue_replacement(path, note)
        checkpoint = self._log.files.find(f"checkpoints/{attempt.size}")
        if checkpoint is not None:
            # Receipt first, pointer then: whoever reads `anchored` finds the receipt it leads to.
            self._log.store.queue_upload(f"checkpoints/{attempt.size}")
            self._log.files.replace("anchored", checkpoint)
            self._log.store.queue_replacement("anchored", checkpoint)
        outbox.mark_receipt(attempt)
