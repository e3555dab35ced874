"""Why a certificate is no longer valid. The code stays in the city; a status list says valid or invalid only."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """The one list of reasons.

    STAFF        two members of staff decided so; their words are kept beside it
    WITHDRAWN    protection or a death became known before the package was fetched
    SUPERSEDED   the figures of its fiscal year were corrected (更正)
    DELETED      the holder deleted it: a wallet said so for its copies
    """

    STAFF = "staff"
    WITHDRAWN = "withdrawn"
    SUPERSEDED = "superseded"
    DELETED = "deleted"
