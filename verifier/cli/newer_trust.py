"""Asking the city of a file for its next trust list, while a verdict is being made with a network."""

from __future__ import annotations

import argparse

from verifier.cli.inputs import make_sources
from verifier.cli.terminal import tell
from verifier.errors import SourceError
from verifier.trust import TrustList
from verifier.trust_store import TrustStore
from verifier.trust_update import follow_city


def has_newer_list(options: argparse.Namespace, lists: tuple[TrustList, ...], city: str | None) -> bool:
    """Whether the city has published a newer trust list, which now lies in the trust directory.

    Asked only for the city that the file names. A city that does not answer, or answers with a list that must not
    follow, changes nothing: the known list speaks until its end.
    """
    known = next((trust for trust in lists if trust.content.city == city), None)
    if known is None:
        return False
    update = follow_city(TrustStore(options.trust), known, make_sources(options, lists))
    if update.gained:
        tell(
            f"信頼リストを第{update.trust.version}版にしました / trust list updated to version {update.trust.version}"
        )
    if isinstance(update.failure, SourceError):
        tell(
            f"信頼リストの新しい版をたずねられませんでした / no answer about a newer trust list: {update.failure.code}"
        )
    elif update.failure is not None:
        tell(f"信頼リストの次の版は認められません / the next trust list is refused: {update.failure}")
    return update.gained > 0
