"""The log's side of witnessing: cosignatures for each checkpoint, BLS statements for each anchoring.

A log with a quorum publishes only checkpoints that the quorum has cosigned. All witnesses are asked at once; when the
quorum is there, the others get a little while longer; a witness that is slow or away holds up nobody and is brought
up to date by the next checkpoint. Lines stand below the log's own in the order of the policy.

What witnesses have seen is a floor below which the log must not sign (`floor`): a larger checkpoint, or another root,
**with the log's own signature on it**, ends the log's signing wherever it is seen. A witness that merely claims a
size convinces nobody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from chain import bls
from chain.errors import LogRefused, LogUnavailable, SettingsError
from chain.floor import HeadSource, SeenHead
from chain.transactions import compute_origin_id
from chain.witness_client import (
    DEFAULT_SECONDS,
    WitnessBehind,
    WitnessClient,
    WitnessRefused,
    append_cosignatures,
)
from chain.witness_protocol import AddCheckpoint, StatementRequest
from chain.witness_rounds import Rounds
from verifier.errors import FormatError
from verifier.formats.checkpoint import Checkpoint, parse_checkpoint_text
from verifier.formats.merkle import EMPTY_ROOT, HASH_BYTES
from verifier.formats.signed_note import SignatureLine, VerifierKey, format_note, parse_note, verify_exact
from verifier.formats.witness_policy import WitnessPolicy

SETTLE_SECONDS: Final = 0.1
_TRIES: Final = 3  # the recorded size may have to be learned, and may move once while it is


class LogHistory(Protocol):
    """What cosigning needs to know of the log: the tree that is being published, and every smaller one."""

    def path_from(self, old_size: int) -> tuple[bytes, ...]:
        """Consistency path from `old_size` to the tree being published."""

    def root_at(self, size: int) -> bytes:
        """Root of our tree at a size that is not larger. Raises: LogRefused for one that was never signed."""


@dataclass(frozen=True, slots=True)
class WitnessSet:
    """What a contract asks of a submission: how many of which keys (compressed), and the number of each."""

    threshold: int
    numbers: Mapping[bytes, int]  # active witnesses only


@dataclass(frozen=True, slots=True)
class Vouching:
    """The last two arguments of `AnchorRegistry.submit`."""

    signer_bitmap: int
    aggregate_signature: bytes  # EIP-2537; empty without signers


class Cosigning:
    """All witnesses of one log, and the policy that says how many of them are enough.

    For one thread to `cosign` and one to `collect`; both ask the witnesses in threads of their own.
    """

    def __init__(
        self,
        policy: WitnessPolicy,
        clients: Sequence[WitnessClient],
        log_key: VerifierKey,
        *,
        timeout: float = DEFAULT_SECONDS,
        settle: float = SETTLE_SECONDS,
    ) -> None:
        """`clients` in policy order. `timeout`, `settle` in seconds: for a round, and after its quorum is there."""
        self._policy = policy
        self._clients = tuple(clients)
        self._log_key = log_key
        self._timeout = timeout
        self._settle = settle
        self._known: dict[str, int] = {}  # size that each witness has recorded, as far as we know
        self._newest = 0
        self._lines: tuple[str, dict[str, SignatureLine]] = ("", {})
        self._vouched: tuple[bytes, dict[str, tuple[int, bytes]]] = (b"", {})
        self._rounds = {kind: Rounds(self.accuse) for kind in ("cosign", "head", "statement")}
        self._accusation: LogRefused | None = None
        self.heads: dict[str, SeenHead] = {}  # what each witness showed when last asked

    @property
    def sources(self) -> tuple[HeadSource, ...]:
        """For `floor.check_floor`: the quorum, which suffices to sign again, and each witness, which may accuse."""
        return (_QuorumHead(self), *(_WitnessHead(self, client.name) for client in self._clients))

    def cosign(self, note: bytes, history: LogHistory) -> bytes:
        """The note with the quorum's cosignatures below the log's line, in policy order.

        Raises: LogUnavailable("quorum-missing"), LogRefused("seen-larger", "seen-fork", "seen-unknown").
        """
        parsed = parse_note(note)
        checkpoint = parse_checkpoint_text(parsed.text)
        self._newest = max(self._newest, checkpoint.size)
        if self._lines[0] != parsed.text:
            self._lines = (parsed.text, {})
        lines = self._lines[1]  # what an earlier try for this very checkpoint has brought already

        def ask(client: WitnessClient) -> SignatureLine:
            return self._cosign_by(client, checkpoint, note, history)

        def is_enough(more: Mapping[str, SignatureLine]) -> bool:
            return self._is_quorum({*lines, *more})

        missing = [client for client in self._clients if client.name not in lines]
        found, reasons = self._rounds["cosign"].ask(missing, ask, is_enough, self._timeout, self._settle)
        lines.update(found)
        if self._accusation is not None:
            raise self._accusation
        if not self._is_quorum(lines):
            raise LogUnavailable(
                "quorum-missing",
                f"{len(lines)} of {len(self._clients)} witnesses have cosigned size {checkpoint.size}; "
                + "; ".join(reasons),
            )
        ordered = [lines[client.name] for client in self._clients if client.name in lines]
        cosigned = append_cosignatures(parsed, ordered)
        verify_exact(cosigned, [self._log_key], self._policy.keys)
        return format_note(cosigned)

    def is_cosigned(self, note: bytes, text: str) -> bool:
        """Whether `note` is the checkpoint `text` with a quorum, as `cosign` makes it."""
        try:
            parsed = parse_note(note)
            verified = verify_exact(parsed, [self._log_key], self._policy.keys)
        except FormatError:
            return False
        return parsed.text == text and self._policy.is_met_by({item.key for item in verified})

    def ask_heads(self) -> bool:
        """Ask every witness what it has seen (into `heads`); whether a quorum of them has answered."""

        def ask(client: WitnessClient) -> SeenHead:
            return client.latest(self._log_key)

        found, _ = self._rounds["head"].ask(self._clients, ask, lambda _: False, self._timeout, 0.0)
        self.heads = found
        self._known |= {name: head.size for name, head in found.items()}
        return self._is_quorum(found)

    def collect(
        self,
        chain_id: int,
        contract: bytes,
        note: bytes,
        previous: SeenHead,
        path: Sequence[bytes],
        witnesses: WitnessSet,
        history: LogHistory,
    ) -> Vouching:
        """The witnesses' statement that the published checkpoint in `note` may follow the contract's `previous`.

        `path`: the consistency path between the two.

        Raises: LogUnavailable("too-few-witnesses").
        """
        checkpoint = parse_checkpoint_text(parse_note(note).text)
        is_first = previous.size == 0
        statement = bls.AnchorStatement(
            chain_id=chain_id,
            contract=contract,
            origin_id=compute_origin_id(checkpoint.origin),
            size=checkpoint.size,
            root=checkpoint.root,
            previous_size=previous.size,
            previous_root=bytes(HASH_BYTES) if is_first else previous.root,
        )
        self._newest = max(self._newest, checkpoint.size)
        request = StatementRequest(
            chain_id=chain_id,
            contract=contract,
            previous_size=previous.size,
            previous_root=EMPTY_ROOT if is_first else previous.root,
            proof=() if is_first else tuple(path),
            note=note,
        )
        message = statement.message()
        if self._vouched[0] != message:
            self._vouched = (message, {})
        vouched = self._vouched[1]

        def ask(client: WitnessClient) -> tuple[int, bytes]:
            return self._vouch_by(client, checkpoint, request, statement, witnesses, history)

        def is_enough(more: Mapping[str, tuple[int, bytes]]) -> bool:
            return len({number for number, _ in (vouched | dict(more)).values()}) >= witnesses.threshold

        reasons: list[str] = []
        if witnesses.numbers:
            missing = [client for client in self._clients if client.name not in vouched]
            rounds = self._rounds["statement"]
            found, reasons = rounds.ask(missing, ask, is_enough, self._timeout, self._settle)
            numbers = [number for number, _ in (vouched | found).values()]
            # whoever repeats another's word has not given its own, and is asked again
            self._vouched = (
                message,
                {n: v for n, v in (vouched | found).items() if numbers.count(v[0]) == 1},
            )
            vouched = vouched | found
        # a witness may have been suspended since it vouched
        active = set(witnesses.numbers.values())
        signatures = {number: signature for number, signature in vouched.values() if number in active}
        if len(signatures) < witnesses.threshold:
            raise LogUnavailable(
                "too-few-witnesses",
                f"{len(signatures)} of {witnesses.threshold} witnesses vouch for size {checkpoint.size}; "
                + "; ".join(reasons),
            )
        if not signatures:
            return Vouching(0, b"")
        bitmap = sum(1 << number for number in signatures)
        return Vouching(bitmap, bls.encode_point(bls.aggregate(list(signatures.values()))))

    def _is_quorum(self, names: Mapping[str, object] | set[str]) -> bool:
        return self._policy.is_met_by({client.key for client in self._clients if client.name in names})

    def _cosign_by(
        self, client: WitnessClient, checkpoint: Checkpoint, note: bytes, history: LogHistory
    ) -> SignatureLine:
        text = parse_note(note).text
        for _ in range(_TRIES):
            old = self._known.get(client.name, 0)
            if old > checkpoint.size:
                break
            proof = history.path_from(old) if 0 < old < checkpoint.size else ()
            try:
                line = client.add_checkpoint(AddCheckpoint(old, proof, note), text)
            except WitnessBehind as answer:
                self._known[client.name] = answer.recorded
                if answer.recorded == old:
                    break
                continue
            except WitnessRefused:
                self._check_head(client, checkpoint, history)
                raise
            self._known[client.name] = checkpoint.size
            return line
        recorded = self._known.pop(client.name, 0)
        self._check_head(client, checkpoint, history)
        raise WitnessBehind(client.name, recorded)

    def _check_head(self, client: WitnessClient, checkpoint: Checkpoint, history: LogHistory) -> None:
        """What the witness shows, against our own history; only our own signature can accuse us."""
        head = client.latest(self._log_key)
        accusation = None
        if head.size > self._newest:
            accusation = LogRefused(
                "seen-larger", f"{client.name} has seen {head.size} entries, we have {self._newest}"
            )
        elif 0 < head.size <= checkpoint.size:
            root = checkpoint.root if head.size == checkpoint.size else history.root_at(head.size)
            if root != head.root:
                accusation = LogRefused(
                    "seen-fork", f"{client.name} has seen another root for size {head.size}"
                )
        if accusation is not None:
            raise accusation

    def _vouch_by(
        self,
        client: WitnessClient,
        checkpoint: Checkpoint,
        request: StatementRequest,
        statement: bls.AnchorStatement,
        witnesses: WitnessSet,
        history: LogHistory,
    ) -> tuple[int, bytes]:
        try:
            answer = client.statement(request)
        except WitnessBehind as behind:
            if behind.recorded >= checkpoint.size:
                raise  # it was away when this checkpoint was cosigned, and has gone on since
            self._known[client.name] = behind.recorded
            self._cosign_by(client, checkpoint, request.note, history)
            answer = client.statement(request)
        number = witnesses.numbers.get(answer.public_key)
        if number is None:
            raise LogUnavailable("not-registered", f"the contract does not know the key of {client.name}")
        try:
            bls.verify_statement(answer.public_key, statement, answer.signature)
        except FormatError as error:
            raise LogUnavailable("witness-unusable", f"the statement of {client.name} is wrong") from error
        return number, answer.signature

    def accuse(self, refusal: LogRefused) -> None:
        """Somebody has shown our own signature on another history; every later `cosign` says so."""
        self._accusation = self._accusation or refusal


class _QuorumHead:
    """All witnesses together as a source of the floor: when a quorum has answered, the log may sign again."""

    name = "the witness quorum"
    is_binding = True

    def __init__(self, cosigning: Cosigning) -> None:
        self._cosigning = cosigning

    def seen_head(self) -> SeenHead:
        if not self._cosigning.ask_heads():
            raise LogUnavailable("witnesses-away", "no quorum of witnesses answers")
        return max(self._cosigning.heads.values(), key=lambda head: head.size)


class _WitnessHead:
    """One witness's answer to the question that `_QuorumHead` has just asked: even without quorum it may accuse."""

    is_binding = False

    def __init__(self, cosigning: Cosigning, name: str) -> None:
        self._cosigning = cosigning
        self._witness = name
        self.name = f"witness {name}"

    def seen_head(self) -> SeenHead:
        head = self._cosigning.heads.get(self._witness)
        if head is None:
            raise LogUnavailable("witness-away", f"{self.name} does not answer")
        return head


def build_cosigning(
    policy: WitnessPolicy, urls: Mapping[str, str], log_key: VerifierKey, timeout: float = DEFAULT_SECONDS
) -> Cosigning | None:
    """The witnesses of a policy at their addresses; None when the policy asks for no quorum.

    Raises: SettingsError("bad-address", "missing-setting").
    """
    if policy.quorum is None:
        return None
    missing = [name for name, _ in policy.witnesses if name not in urls]
    if missing:
        raise SettingsError("missing-setting", f"no address for the witness {missing[0]}")
    clients = [WitnessClient(name, key, urls[name], timeout) for name, key in policy.witnesses]
    return Cosigning(policy, clients, log_key, timeout=timeout)
