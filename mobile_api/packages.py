"""Packages for a phone: fetched with its proof, deleted by the phone or a set time after pick-up."""

from __future__ import annotations

from flask import Blueprint, Response

from mobile_api.accounts import authenticate
from mobile_api.door import the_door
from mobile_api.errors import Problem
from mobile_api.forms import account_id, bytes_answer, item_id
from mobile_api.store import mailbox
from verifier.formats.names import PACKAGE_TYPE

blueprint = Blueprint("packages", __name__)


@blueprint.get("/v1/accounts/<account>/packages/<package_id>")
def fetch(account: str, package_id: str) -> Response:
    """The package's bytes; the first fetch starts its deletion time."""
    door = the_door()
    authenticate(door, account_id(account), b"")
    with door.store.write() as connection:
        body = mailbox.fetch_package(connection, account, item_id(package_id), door.minute())
    if body is None:
        raise Problem(404, "no-package", "not here, or its time is over")
    return bytes_answer(body, PACKAGE_TYPE)


@blueprint.delete("/v1/accounts/<account>/packages/<package_id>")
def delete(account: str, package_id: str) -> Response:
    """The phone has it: 204, also when it was gone already."""
    door = the_door()
    authenticate(door, account_id(account), b"")
    with door.store.write() as connection:
        mailbox.delete_package(connection, account, item_id(package_id))
    return Response(status=204)
