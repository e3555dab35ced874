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

    Raises: UsageError when the store cannot be written.
    """
    newest, city = known, known.content.city
    for gained in range(MAX_UPDATES):
        path = f"/{city}/trust/{newest.version + 1}.root.json"
        try:
            data = sources.public_file(newest.content.public_url, path)
            newest = store.update(city, [data])
        except SourceError as error:
            return Update(newest, gained, None if error.code == NOT_THERE else error)
        except (TrustError, FormatError) as error:
            return Update(newest, gained, error)
    return Update(newest, MAX_UPDATES, TrustError("too-many-versions", "update again to go on"))
