"""How far others have seen the log: the floor below which it must never sign.

A log restored from an old backup would sign a second, different history. Before the first signature of a
process each source is asked for the newest checkpoint it knows of. A larger size than our own, or another
root at a size of our own, is fatal. A source that is `binding` (the contract; later a quorum of witnesses)
must answer before anything is signed; the others (the street door's copy) can only accuse: whoever runs them
can answer too little.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from chain.errors import LogRefused, LogUnavailable
from verifier.errors import FormatError, SourceError
from verifier.formats.checkpoint import verify_public_checkpoint
from verifier.formats.signed_note import VerifierKey


@dataclass(frozen=True, slots=True)
class SeenHead:
    """The newest checkpoint that somebody has of this log; size 0 if they have none."""

    size: int
    root: bytes


class HeadSource(Protocol):
    """Somebody who remembers the log's newest checkpoint."""

    @property
    def name(self) -> str:
        """For messages."""

    @property
    def is_binding(self) -> bool:
        """Whether its answer suffices to sign again."""

    def seen_head(self) -> SeenHead:
        """The newest checkpoint it knows.

        Raises: LogUnavailable.
        """


class PublicCopy:
    """The checkpoint on the street door: signed by us, so a larger one there proves that we have lost
    history.
    """

    name = "public copy"
    is_binding = False

    def __init__(self, fetch: Callable[[str], bytes], key: VerifierKey) -> None:
        self._fetch = fetch
        self._key = key

    def seen_head(self) -> SeenHead:
        try:
            checkpoint = verify_public_checkpoint(self._fetch("checkpoint"), self._key).checkpoint
        except (SourceError, FormatError) as error:
            raise LogUnavailable("public-copy-away", "no checkpoint of ours can be had there") from error
        return SeenHead(checkpoint.size, checkpoint.root)


def check_floor(
    sources: Sequence[HeadSource], size: int, root_at: Callable[[int], bytes]
) -> tuple[SeenHead, ...]:
    """Compare what every source has seen with our own log of `size`; `root_at` computes our root at a smaller
    size.

    With no source at all there is nothing to compare (a demo without a chain).
    Raises: LogRefused("seen-larger", "seen-fork"), LogUnavailable("nobody-to-ask").
    """
    seen: list[SeenHead] = []
    is_bound = not sources
    for source in sources:
        try:
            head = source.seen_head()
        except LogUnavailable:
            continue
        if head.size > size:
            raise LogRefused("seen-larger", f"{source.name} has seen {head.size} entries, we have {size}")
        if head.size > 0 and root_at(head.size) != head.root:
            raise LogRefused("seen-fork", f"{source.name} has seen another root for size {head.size}")
        seen.append(head)
        is_bound = is_bound or source.is_binding
    if not is_bound:
        names = ", ".join(source.name for source in sources if source.is_binding)
        raise LogUnavailable("nobody-to-ask", f"{names} does not answer, so nothing may be signed yet")
    return tuple(seen)
