"""What a witness does and refuses, without its HTTP door.

It cosigns a checkpoint that the log has signed and that extends the last one it cosigned; it stores before it
answers, in one transaction with the check; it signs anchor statements only for checkpoints it has cosigned. So
everything it ever signs for a log lies on one line of history, and two witnesses' words can be added up.

Refusals are C2SP tlog-witness's: 400 malformed or old > size, 403 no signature of the log, 404 unknown origin, 409
another size is recorded (the answer tells it), 422 the proof does not hold or one size has two roots.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from chain import bls
from chain.errors import ChainError
from chain.transactions import compute_origin_id
from chain.witness_keys import WitnessKeys
from chain.witness_protocol import (
    AddCheckpoint,
    StatementAnswer,
    StatementRequest,
    checkpoint_path,
    parse_add_checkpoint,
    parse_statement_request,
)
from chain.witness_store import Recorded, WitnessStore
from verifier.errors import FormatError
from verifier.formats.checkpoint import Checkpoint, parse_checkpoint_text
from verifier.formats.merkle import HASH_BYTES, ProofError, verify_consistency
from verifier.formats.signed_note import (
    SignatureLine,
    SignedNote,
    VerifierKey,
    build_signature_line,
    format_note,
    parse_note,
    verify_known,
)

REMEMBERED_STATEMENTS: Final = 256
_In = TypeVar("_In")
_Out = TypeVar("_Out")


class WitnessRefusal(ChainError):  # noqa: N818 - an answer of the protocol, not a fault of this program
    """An answer other than 200; `recorded` is the size that a 409 tells."""

    def __init__(self, status: int, code: str, detail: str, recorded: int | None = None) -> None:
        super().__init__(code, detail)
        self.status = status
        self.recorded = recorded


@dataclass(frozen=True, slots=True)
class AnchorTarget:
    """A contract for which anchor statements are signed."""

    chain_id: int
    contract: bytes  # 20 bytes


class Witness:
    """One witness; any thread may ask it."""

    def __init__(
        self,
        keys: WitnessKeys,
        store: WitnessStore,
        logs: Sequence[VerifierKey],
        clock: Callable[[], int],
        targets: Sequence[AnchorTarget] = (),
    ) -> None:
        """`logs`: the key of each log it watches, named by the origin. `clock` gives Unix seconds."""
        self.keys = keys
        self._store = store
        self._logs: Mapping[str, VerifierKey] = {key.name: key for key in logs}
        self._paths = {checkpoint_path(key.name): key.name for key in logs}
        self._clock = clock
        self._targets = frozenset(targets)
        self._bls_key = bls.public_key(keys.bls_secret)
        # the same statement is asked for again and again while a transaction waits
        self._sign = functools.lru_cache(REMEMBERED_STATEMENTS)(
            functools.partial(bls.sign_statement, keys.bls_secret)
        )

    def add_checkpoint(self, body: bytes) -> SignatureLine:
        """Judge a request of `POST /add-checkpoint`; the cosignature if it is taken.

        Raises: WitnessRefusal, LogUnavailable("store-away").
        """
        request = _parsed(parse_add_checkpoint, body)
        note, checkpoint, log_line = self._read_signed(request.note)
        if request.old_size > checkpoint.size:
            raise WitnessRefusal(400, "old-size-too-large", "the old size is larger than the checkpoint's")
        self._note_contradiction(checkpoint, note.text, log_line)
        time = self._clock()
        line = self.keys.cosign(note.text, time)
        shown = format_note(SignedNote(note.text, (log_line, line)))

        def decide(recorded: Recorded) -> Recorded:
            if request.old_size != recorded.size:
                raise WitnessRefusal(
                    409, "other-size-recorded", f"size {recorded.size} is recorded", recorded.size
                )
            _check_extension(recorded, checkpoint, request)
            return Recorded(checkpoint.size, checkpoint.root, shown)

        self._store.extend(checkpoint.origin, decide, time)
        return line

    def sign_statement(self, body: bytes) -> StatementAnswer:
        """Judge a request of `POST /anchor-statement`; the BLS signature if it is taken.

        Raises: WitnessRefusal, LogUnavailable("store-away").
        """
        request = _parsed(parse_statement_request, body)
        note, checkpoint, log_line = self._read_signed(request.note)
        if AnchorTarget(request.chain_id, request.contract) not in self._targets:
            raise WitnessRefusal(404, "unknown-contract", "this witness does not sign for that contract")
        if request.previous_size >= checkpoint.size:
            raise WitnessRefusal(400, "size-does-not-grow", "the previous size is not below the checkpoint's")
        root = self._store.cosigned_root(checkpoint.origin, checkpoint.size)
        if root is None:
            recorded = self._store.read(checkpoint.origin).size
            raise WitnessRefusal(
                409, "not-cosigned", "this witness has not cosigned that checkpoint", recorded
            )
        if root != checkpoint.root:
            self._note_contradiction(checkpoint, note.text, log_line)
            raise WitnessRefusal(422, "other-root", "another root of that size was cosigned")
        self._check_previous(request, checkpoint)
        return StatementAnswer(self._bls_key, self._sign(_statement(request, checkpoint)))

    def shown(self, path: str) -> bytes | None:
        """The newest cosigned checkpoint at `path` (`/<hex of SHA-256(origin)>/checkpoint`), None if there is none.

        Raises: LogUnavailable("store-away").
        """
        origin = self._paths.get(path)
        return (self._store.read(origin).note or None) if origin is not None else None

    def _read_signed(self, data: bytes) -> tuple[SignedNote, Checkpoint, SignatureLine]:
        note = _parsed(parse_note, data)
        checkpoint = _parsed(parse_checkpoint_text, note.text)
        key = self._logs.get(checkpoint.origin)
        if key is None:
            raise WitnessRefusal(404, "unknown-origin", "this witness does not know that log")
        try:
            verify_known(note, [key])
        except FormatError as error:
            raise WitnessRefusal(403, "not-signed", "no valid signature by the key of that log") from error
        line = next(line for line in note.signatures if (line.name, line.key_id) == (key.name, key.key_id))
        # only what was checked is kept and shown
        return note, checkpoint, build_signature_line(key, line.signature)

    def _check_previous(self, request: StatementRequest, checkpoint: Checkpoint) -> None:
        seen = self._store.cosigned_root(checkpoint.origin, request.previous_size)
        if seen is not None and request.previous_size and seen != request.previous_root:
            raise WitnessRefusal(422, "other-previous-root", "another root of the previous size was cosigned")
        try:
            _verify(
                request.previous_size,
                request.previous_root,
                checkpoint.size,
                checkpoint.root,
                request.proof,
            )
        except ProofError as error:
            raise WitnessRefusal(422, error.code, f"the previous checkpoint: {error.detail}") from error

    def _note_contradiction(self, checkpoint: Checkpoint, text: str, line: SignatureLine) -> None:
        # two roots for one size, both with the log's signature: nobody can explain that away
        root = self._store.cosigned_root(checkpoint.origin, checkpoint.size)
        if root is None or root == checkpoint.root:
            return
        note = format_note(SignedNote(text, (line,)))
        if self._store.keep_evidence(
            checkpoint.origin, checkpoint.size, checkpoint.root, note, self._clock()
        ):
            print(
                f"witness: FORK: {checkpoint.origin} has signed two roots for size {checkpoint.size}",
                file=sys.stderr,
            )


def _check_extension(recorded: Recorded, checkpoint: Checkpoint, request: AddCheckpoint) -> None:
    if recorded.size == checkpoint.size and recorded.root != checkpoint.root:
        raise WitnessRefusal(422, "other-root", "another root of this size was cosigned")
    try:
        _verify(recorded.size, recorded.root, checkpoint.size, checkpoint.root, request.proof)
    except ProofError as error:
        raise WitnessRefusal(422, error.code, error.detail) from error


def _verify(old_size: int, old_root: bytes, size: int, root: bytes, proof: Sequence[bytes]) -> None:
    if old_size == 0 < size:
        # everything extends the empty tree: there is nothing to prove, and nothing may be claimed
        if proof:
            raise ProofError("path-too-long", "the first checkpoint comes without proof")
        return
    verify_consistency(old_size, old_root, size, root, proof)


def _statement(request: StatementRequest, checkpoint: Checkpoint) -> bls.AnchorStatement:
    return bls.AnchorStatement(
        chain_id=request.chain_id,
        contract=request.contract,
        origin_id=compute_origin_id(checkpoint.origin),
        size=checkpoint.size,
        root=checkpoint.root,
        previous_size=request.previous_size,
        # the contract has no root where there is no checkpoint
        previous_root=request.previous_root if request.previous_size else bytes(HASH_BYTES),
    )


def _parsed(parse: Callable[[_In], _Out], data: _In) -> _Out:
    try:
        return parse(data)
    except FormatError as error:
        raise WitnessRefusal(400, error.code, error.detail) from error
