"""Drafts of copies: everything but the signature, stored before one is asked for, dropped when the copies are released.

Whoever has to make a set again after a crash finds these texts and asks for signatures of the very same digests, so that
the register gate never has to authorise more digests than copies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, select

from app.errors import ConflictError
from app.storage.once import insert_once
from app.storage.wallet_tables import copy_drafts
from verifier.formats.encoding import canonical_json, parse_canonical_json


@dataclass(frozen=True, slots=True)
class CopyDraft:
    """One copy without its signature: certificate.json, JWS signing input (ASCII), disclosures in their order."""

    copy_id: bytes
    data: bytes
    signing_input: str
    disclosures: tuple[str, ...]


def store_drafts(connection: Connection, request_id: str, drafts: Sequence[CopyDraft]) -> None:
    """Keep the drafts of all copies of a request, once. Raises ConflictError("drafts") if somebody else's are there."""
    for draft in drafts:
        if not insert_once(
            connection,
            copy_drafts,
            copy_id=draft.copy_id.hex(),
            request_id=request_id,
            data=draft.data,
            signing_input=draft.signing_input,
            disclosures=canonical_json(list(draft.disclosures)).decode("ascii"),
        ):
            raise ConflictError("drafts", request_id)


def find_drafts(connection: Connection, request_id: str) -> dict[bytes, CopyDraft]:
    """The drafts of a request by copy id; none if it has none."""
    d = copy_drafts.c
    rows = connection.execute(
        select(d.copy_id, d.data, d.signing_input, d.disclosures).where(d.request_id == request_id)
    )
    found = {}
    for row in rows:
        copy_id = bytes.fromhex(row.copy_id)
        disclosures = parse_canonical_json(row.disclosures.encode("ascii"), max_bytes=1 << 20)
        found[copy_id] = CopyDraft(copy_id, bytes(row.data), row.signing_input, tuple(disclosures))
    return found


def drop_drafts(connection: Connection, request_id: str) -> None:
    """Forget the drafts of a request."""
    connection.execute(delete(copy_drafts).where(copy_drafts.c.request_id == request_id))
