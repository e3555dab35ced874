"""Copies of a certificate for foreign wallets: N a request, each with its own key, salts, leaf and status entry.

Reserved before anything is sealed, like a phone certificate, and the same keys always get the same reservations. Nothing
that a reader of one copy sees (id, index, list, salts) says which other copies belong to it. What stays after hand-over
are commitments, salts and the public keys; the credential texts go with `drop_copy_documents`.
Revoking is for all documents of a request together: `app.storage.revocations`.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, insert, select, update

from app.errors import ConflictError
from app.storage.revocations import refuse_revoked
from app.storage.status_entries import draw_places
from app.storage.tables import copies
from verifier.formats.encoding import JSON, canonical_json
from verifier.formats.jose import format_jwk, parse_jwk, thumbprint

MAX_COPIES: Final = 64


@dataclass(frozen=True, slots=True)
class CopyReservation:
    """What is fixed for a copy before it exists.

    copy_id 16 bytes; position from 0, in the order of the keys; holder_jwk canonical JSON of a public P-256 key;
    issued_at Unix seconds; valid_until ISO date; salts 32 bytes each.
    """

    copy_id: bytes
    request_id: str
    position: int
    holder_jwk: str
    issued_at: int
    valid_until: str
    status_list: int
    status_index: int
    salt_data: bytes
    salt_page: bytes
    salt_credential: bytes


@dataclass(frozen=True, slots=True)
class SealedCopy:
    """A copy's credential (SD-JWT text) and the log entry (32 bytes) that commits to it."""

    copy_id: bytes
    credential: str
    entry: bytes


@dataclass(frozen=True, slots=True)
class LoggedCopy:
    """Where a copy's entry stands in the log: index and C2SP tlog-proof text."""

    copy_id: bytes
    log_index: int
    proof: str


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy as it stands. None until the step that makes it; credential and proof None again after hand-over.

    released_at, forgotten_at: Unix seconds; when the wallet got it, when its documents were deleted here.
    """

    reservation: CopyReservation
    entry: bytes | None
    log_index: int | None
    credential: str | None
    proof: str | None
    released_at: int | None
    forgotten_at: int | None


_RESERVED = tuple(copies.c[name] for name in CopyReservation.__slots__)
_REST = tuple(copies.c[name] for name in Copy.__slots__[1:])


def reserve_copies(
    connection: Connection,
    request_id: str,
    holder_jwks: Sequence[Mapping[str, JSON]],
    *,
    issued_at: int,
    valid_until: str,
) -> tuple[CopyReservation, ...]:
    """Fix id, salts and a random status entry for each key; the same keys of a request always get the same ones.

    `holder_jwks`: 1 to MAX_COPIES different public P-256 keys. Raises FormatError("bad-jwk"), ConflictError:
    "number-of-copies", "same-key" (twice in the batch), "other-keys" (the request has copies for others), "revoked";
    UnavailableError("status-lists-full").
    """
    if not 1 <= len(holder_jwks) <= MAX_COPIES:
        raise ConflictError("number-of-copies", f"1 to {MAX_COPIES} copies a request")
    keys = [parse_jwk(dict(jwk)) for jwk in holder_jwks]
    thumbprints = [thumbprint(key) for key in keys]
    if len(set(thumbprints)) != len(thumbprints):
        raise ConflictError("same-key", "each copy has a key of its own")
    refuse_revoked(connection, request_id)
    jwks = [canonical_json(format_jwk(key)).decode("ascii") for key in keys]
    known = tuple(copy.reservation for copy in find_copies(connection, request_id))
    if known:
        if [copy.holder_jwk for copy in known] != jwks:
            raise ConflictError("other-keys", "this request has copies for other keys")
        return known
    places = draw_places(connection, request_id, last_day=valid_until, count=len(jwks))
    made = tuple(
        CopyReservation(
            copy_id=secrets.token_bytes(16),
            request_id=request_id,
            position=position,
            holder_jwk=jwk,
            issued_at=issued_at,
            valid_until=valid_until,
            status_list=place.status_list,
            status_index=place.status_index,
            salt_data=secrets.token_bytes(32),
            salt_page=secrets.token_bytes(32),
            salt_credential=secrets.token_bytes(32),
        )
        for position, (jwk, place) in enumerate(zip(jwks, places, strict=True))
    )
    for copy, print_ in zip(made, thumbprints, strict=True):
        values = {name: getattr(copy, name) for name in CopyReservation.__slots__}
        connection.execute(
            insert(copies).values({**values, "copy_id": copy.copy_id.hex(), "holder_thumbprint": print_})
        )
    return made


def find_copies(connection: Connection, request_id: str) -> tuple[Copy, ...]:
    """The copies of a request by position; none if it has none."""
    rows = connection.execute(
        select(*_RESERVED, *_REST).where(copies.c.request_id == request_id).order_by(copies.c.position)
    )
    return tuple(_copy(row) for row in rows)


def store_copies_sealed(connection: Connection, request_id: str, sealed: Sequence[SealedCopy]) -> None:
    """Keep the credentials and the entries they give: all copies of the request, none logged yet.

    In the same transaction as the request's move to its next state, so that of two makers one is believed.
    Raises ConflictError("copies").
    """
    _require_all(connection, request_id, [copy.copy_id for copy in sealed])
    for copy in sealed:
        result = connection.execute(
            update(copies)
            .where(
                copies.c.copy_id == copy.copy_id.hex(),
                copies.c.log_index.is_(None),
                copies.c.released_at.is_(None),
            )
            .values(credential=copy.credential, entry=copy.entry.hex())
        )
        _one(result.rowcount, request_id)


def store_copies_logged(connection: Connection, request_id: str, logged: Sequence[LoggedCopy]) -> None:
    """Keep the places the log answered with: all copies of the request. Raises ConflictError("copies")."""
    _require_all(connection, request_id, [copy.copy_id for copy in logged])
    for copy in logged:
        result = connection.execute(
            update(copies)
            .where(copies.c.copy_id == copy.copy_id.hex(), copies.c.entry.is_not(None))
            .values(log_index=copy.log_index, proof=copy.proof)
        )
        _one(result.rowcount, request_id)


def store_copies_released(connection: Connection, request_id: str, *, at: int) -> bool:
    """The wallet is given all copies of the request: noted once. False if it was noted before or they are not logged.

    Raises ConflictError("revoked").
    """
    refuse_revoked(connection, request_id)
    result = connection.execute(
        update(copies)
        .where(
            copies.c.request_id == request_id,
            copies.c.log_index.is_not(None),
            copies.c.released_at.is_(None),
        )
        .values(released_at=at)
    )
    return result.rowcount > 0


def has_released_copies(connection: Connection, request_id: str) -> bool:
    """Whether a wallet was given copies of this request."""
    found = connection.execute(
        select(copies.c.copy_id)
        .where(copies.c.request_id == request_id, copies.c.released_at.is_not(None))
        .limit(1)
    ).first()
    return found is not None


def drop_copy_documents(connection: Connection, request_id: str, *, at: int) -> None:
    """Forget the credentials and proofs of a request's copies; commitments, salts and keys stay."""
    connection.execute(
        update(copies)
        .where(copies.c.request_id == request_id, copies.c.forgotten_at.is_(None))
        .values(credential=None, proof=None, forgotten_at=at)
    )


def _require_all(connection: Connection, request_id: str, copy_ids: Sequence[bytes]) -> None:
    rows = connection.execute(select(copies.c.copy_id).where(copies.c.request_id == request_id))
    if sorted(row.copy_id for row in rows) != sorted(copy_id.hex() for copy_id in copy_ids) or not copy_ids:
        raise ConflictError("copies", f"not exactly the copies of {request_id}")


def _one(rowcount: int, request_id: str) -> None:
    if rowcount != 1:
        raise ConflictError("copies", f"a copy of {request_id} is not in the state this work started from")


def _copy(row: Row[Any]) -> Copy:
    values = {name: getattr(row, name) for name in CopyReservation.__slots__}
    for name in ("salt_data", "salt_page", "salt_credential"):
        values[name] = bytes(values[name])
    reservation = CopyReservation(**{**values, "copy_id": bytes.fromhex(row.copy_id)})
    return Copy(
        reservation,
        None if row.entry is None else bytes.fromhex(row.entry),
        row.log_index,
        row.credential,
        row.proof,
        row.released_at,
        row.forgotten_at,
    )
