"""What two members of staff revoke: certificate, copies, and what still lies at the door or is kept here."""

from __future__ import annotations

from app.issuance.walk import Walk
from app.revocation.revoke import revoke_certificate
from mobile_api.messages import Notice
from tests.integration.test_supersession import (  # noqa: F401  (rooms and walk are fixtures)
    ask,
    copies_of,
    invalid,
    issue,
    reasons,
    rooms,
    walk,
)
from tests.support.city_rooms import CityRooms


def revoke(house: CityRooms, request: str) -> bool:
    with house.store.begin() as connection:
        return revoke_certificate(connection, request, reason="key-lost", at=house.at)


def documents(house: CityRooms) -> list[tuple[int]]:
    return house.rows("SELECT count(*) FROM copies WHERE credential IS NOT NULL OR proof IS NOT NULL")


def test_certificate_and_copies_end_together_and_the_package_is_taken_back(
    rooms: CityRooms,  # noqa: F811
    walk: Walk,  # noqa: F811
) -> None:
    phone = rooms.registered(rooms.people[0])
    request, other = issue(rooms, walk, phone), issue(rooms, walk, phone)
    copies_of(rooms, request)
    assert revoke(rooms, request) and not revoke(rooms, request)
    assert reasons(rooms) == {request: "staff"}
    assert invalid(rooms) == 11
    package = dict(rooms.rows("SELECT request_id, package_id FROM certificates"))
    assert rooms.rows("SELECT item_id FROM outbox WHERE kind = 'withdrawal'") == [(package[request],)]
    assert package[other]
    assert documents(rooms) == [(0,)]
    told = [body for account, body in rooms.answers() if isinstance(body, Notice) and body.code == "revoked"]
    assert len(told) == 1
    # The words of staff are for the city alone.
    assert "key-lost" not in str(told)


def test_copies_of_a_wallet_are_revoked_once_they_were_handed_over(rooms: CityRooms) -> None:  # noqa: F811
    phone = rooms.registered(rooms.people[0])
    wallet, waiting = ask(rooms, phone), ask(rooms, phone)
    copies_of(rooms, wallet)
    copies_of(rooms, waiting, released=False)
    assert revoke(rooms, wallet) and not revoke(rooms, waiting)
    assert reasons(rooms) == {wallet: "staff"}
    assert invalid(rooms) == 10
    assert documents(rooms) == [(10,)], "those that wait for their hand-over are still there"
