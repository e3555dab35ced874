"""Newer versions of a trust list from the city's public files: `<city>/trust/<version>.root.json`, one after another.

The server is believed for nothing: each version is held against the one before it, as one from a file is. It can only
keep newer versions back, and then the known list ends on its day. This module asks nobody itself: `Sources` does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from verifier.errors import AkashiVerifierError, FormatError, SourceError, TrustError
from verifier.sources import Sources
from verifier.trust import TrustList
from verifier.trust_store import MAX_UPDATES, TrustStore

NOT_THERE: Final = "http-404"


@dataclass(frozen=True, slots=True)
class Update:
    """How far a city was followed.

    trust    the newest list that was accepted (it lies in the store)
    gained   how many versions it is ahead of the known one
    failure  why it went no further: SourceError (an outage), TrustError or FormatError (a list that must not follow);
             None = the city has no newer version
    """

    trust: TrustList
    gained: int
    failure: AkashiVerifierError | None


def follow_city(store: TrustStore, known: TrustList, sources: Sources) -> Update:
    """Ask the city of `known` for newer versions until there is none; each accepted one is stored at once.

    What somebody else has brought into the store since `known` was read counts like a version of the city.
    Raises: UsageError when the store cannot be written, FormatError and TrustError when what lies there is damaged.
    """
    newest, city = _stored(store, known), known.content.city
    for _ in range(MAX_UPDATES):
        path = f"/{city}/trust/{newest.version + 1}.root.json"
        failure: AkashiVerifierError
        try:
            data = sources.public_file(newest.content.public_url, path)
            newest = store.update(city, [data])
            continue
        except (SourceError, TrustError, FormatError) as error:
            failure = error
        # Somebody else may have been faster: an older list than the one that lies there must not be gone on with.
        present = _stored(store, newest)
        if present.version == newest.version:
            is_newest = isinstance(failure, SourceError) and failure.code == NOT_THERE
            return Update(newest, newest.version - known.version, None if is_newest else failure)
        newest = present
    failure = TrustError("too-many-versions", "update again to go on")
    return Update(newest, newest.version - known.version, failure)


def _stored(store: TrustStore, known: TrustList) -> TrustList:
    """What lies in the store, if it is newer."""
    present = store.find(known.content.city)
    return known if present is None or present.version <= known.version else present
