"""Whom a verifier may ask, as one small interface. The protocol knows no network; `verifier.http` does.

Every method raises SourceError when there is no usable answer: an outage, never a forgery. What comes back
is not trusted: checks verify it like the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from verifier.errors import SourceError
from verifier.formats.encoding import JSON
from verifier.formats.trust_list import ChainTrust


class Sources(Protocol):
    """The outside, as far as a verdict may need it.

    All addresses come from the trust list, none from the file.
    """

    def status_list(self, uri: str) -> bytes:
        """The present status list token at `uri`. Raises: SourceError."""

    def public_file(self, public_url: str, path: str) -> bytes:
        """A public static file of the city (`/992011/log/1/checkpoint`). Raises: SourceError."""

    def chain(self, chain: ChainTrust, method: str, params: Sequence[JSON]) -> JSON:
        """The result of one JSON-RPC call to a node of `chain`. Raises: SourceError."""


class OfflineSources:
    """Nobody can be asked."""

    def status_list(self, uri: str) -> bytes:
        raise SourceError("offline", "the status list was not asked")

    def public_file(self, public_url: str, path: str) -> bytes:
        raise SourceError("offline", "the public files were not asked")

    def chain(self, chain: ChainTrust, method: str, params: Sequence[JSON]) -> JSON:
        raise SourceError("offline", "the chain was not asked")


@dataclass(frozen=True, slots=True)
class StaticSources:
    """Answers from memory, for tests and for files that were fetched before.

    files       address → bytes, for status lists and public files alike
    chain_calls  method → result, or a function of the parameters
    """

    files: Mapping[str, bytes] = field(default_factory=dict)
    chain_calls: Mapping[str, JSON] = field(default_factory=dict)

    def status_list(self, uri: str) -> bytes:
        return self._file(uri)

    def public_file(self, public_url: str, path: str) -> bytes:
        return self._file(public_url + path)

    def chain(self, chain: ChainTrust, method: str, params: Sequence[JSON]) -> JSON:
        if method not in self.chain_calls:
            raise SourceError("unreachable", "no node answers")
        answer = self.chain_calls[method]
        return answer(*params) if callable(answer) else answer

    def _file(self, address: str) -> bytes:
        if address not in self.files:
            raise SourceError("unreachable", "nobody answers")
        return self.files[address]
