"""Certificates: id, salts, status index and log position, reserved before anything is sealed.

Salts are stored before the log is asked to append (walls.md section 4.3): a crash in between can then still be proven
and repaired. `artifacts` holds the plain documents only while a request is under way.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select, update

from app.storage.revocations import refuse_revoked
from app.storage.status_entries import draw_places
from app.storage.tables import artifacts, certificates


@dataclass(frozen=True, slots=True)
class Reservation:
    """What is fixed for a certificate before it exists. Salts are 32 bytes each."""

    certificate_id: bytes
    request_id: str
    issued_at: int
    valid_until: str
    status_list: int
    status_index: int
    salt_data: bytes
    salt_page: bytes
    salt_credential: bytes


@dataclass(frozen=True, slots=True)
class Artifacts:
    """The documents of a request under way; None until the step that makes them."""

    purpose: str
    evidence: str
    page: bytes | None
    data: bytes | None
    credential: str | None
    proof: str | None


def find_reservation(connection: Connection, request_id: str) -> Reservation | None:
    """The reservation of a request, if it has one."""
    c = certificates.c
    row = connection.execute(
        select(
            c.certificate_id,
            c.request_id,
            c.issued_at,
            c.valid_until,
            c.status_list,
            c.status_index,
            c.salt_data,
            c.salt_page,
            c.salt_credential,
        ).where(c.request_id == request_id)
    ).first()
    if row is None:
        return None
    return Reservation(
        bytes.fromhex(row.certificate_id),
        row.request_id,
        row.issued_at,
        row.valid_until,
        row.status_list,
        row.status_index,
        bytes(row.salt_data),
        bytes(row.salt_page),
        bytes(row.salt_credential),
    )


def reserve(connection: Connection, request_id: str, *, issued_at: int, valid_until: str) -> Reservation:
    """Fix id, salts and a random free status entry for a request; the same request always gets the same ones.

    Raises ConflictError("revoked"), UnavailableError("status-lists-full").
    """
    known = find_reservation(connection, request_id)
    if known is not None:
        return known
    refuse_revoked(connection, request_id)
    (place,) = draw_places(connection, request_id, last_day=valid_until, count=1)
    reservation = Reservation(
        certificate_id=secrets.token_bytes(16),
        request_id=request_id,
        issued_at=issued_at,
        valid_until=valid_until,
        status_list=place.status_list,
        status_index=place.status_index,
        salt_data=secrets.token_bytes(32),
        salt_page=secrets.token_bytes(32),
        salt_credential=secrets.token_bytes(32),
    )
    values = {name: getattr(reservation, name) for name in Reservation.__slots__}
    connection.execute(
        insert(certificates).values({**values, "certificate_id": reservation.certificate_id.hex()})
    )
    return reservation


def store_intake(connection: Connection, request_id: str, *, purpose: str, evidence: str) -> None:
    """Keep what the later steps need of the accepted request: its purpose text and the card's evidence."""
    connection.execute(insert(artifacts).values(request_id=request_id, purpose=purpose, evidence=evidence))


def find_artifacts(connection: Connection, request_id: str) -> Artifacts | None:
    """The documents of a request under way."""
    c = artifacts.c
    row = connection.execute(
        select(c.purpose, c.evidence, c.page, c.data, c.credential, c.proof).where(c.request_id == request_id)
    ).first()
    if row is None:
        return None
    page = None if row.page is None else bytes(row.page)
    data = None if row.data is None else bytes(row.data)
    return Artifacts(row.purpose, row.evidence, page, data, row.credential, row.proof)


def store_sealed(
    connection: Connection, request_id: str, *, page: bytes, data: bytes, credential: str, entry: bytes
) -> None:
    """Keep the sealed documents and the log entry they give."""
    connection.execute(
        update(artifacts)
        .where(artifacts.c.request_id == request_id)
        .values(page=page, data=data, credential=credential)
    )
    connection.execute(
        update(certificates).where(certificates.c.request_id == request_id).values(entry=entry.hex())
    )


def find_entry(connection: Connection, request_id: str) -> bytes:
    """The log entry of a sealed request (32 bytes)."""
    value = connection.execute(
        select(certificates.c.entry).where(certificates.c.request_id == request_id)
    ).scalar_one()
    return bytes.fromhex(value)


def store_proof(connection: Connection, request_id: str, *, proof: str, log_index: int) -> None:
    """Keep the inclusion proof the log answered with."""
    connection.execute(update(artifacts).where(artifacts.c.request_id == request_id).values(proof=proof))
    connection.execute(
        update(certificates).where(certificates.c.request_id == request_id).values(log_index=log_index)
    )


def store_release(
    connection: Connection, request_id: str, *, package_id: str, package_hash: str, at: int
) -> None:
    """The package is made: remember its hash, forget the plain documents."""
    connection.execute(
        update(certificates)
        .where(certificates.c.request_id == request_id)
        .values(package_id=package_id, package_hash=package_hash, released_at=at)
    )
    drop_artifacts(connection, request_id)


def drop_artifacts(connection: Connection, request_id: str) -> None:
    """Delete the plain documents of a request."""
    connection.execute(delete(artifacts).where(artifacts.c.request_id == request_id))


def find_package_id(connection: Connection, request_id: str) -> tuple[str, str] | None:
    """(package id, SHA-256 hex) of a released request."""
    row = connection.execute(
        select(certificates.c.package_id, certificates.c.package_hash).where(
            certificates.c.request_id == request_id
        )
    ).first()
    return None if row is None or row.package_id is None else (row.package_id, row.package_hash)
