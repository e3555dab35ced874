"""The phone's account at the street door, and the statement that a card signs for this phone.

The account is a random id, asked for once. A statement names the city, the purpose, both device keys, what is asked, one
nonce of the city and the phone's time; the door only hands the nonce over.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from mobile_api.door_client import DoorClient, ProofKey
from mobile_api.errors import DoorDistrusted, StateError
from mobile_api.messages import CardStatement, format_statement
from mobile_api.phone_correspondence import read_members
from mobile_api.phone_home import PhoneHome
from verifier.formats.encoding import canonical_json
from verifier.formats.jose import format_jwk, thumbprint


class PhoneAccount:
    """One phone's account in one city; `Phone` holds one."""

    def __init__(
        self, home: PhoneHome, door: DoorClient, proof: ProofKey, *, city: str, clock: Callable[[], datetime]
    ) -> None:
        self._home = home
        self._door = door
        self._proof = proof
        self._city = city
        self._clock = clock

    def current(self) -> str:
        """The account. Raises: StateError("no-account")."""
        account = self._home.state["account"]
        if account is None:
            raise StateError("no-account", "sign up first")
        return str(account)

    def open(self) -> None:
        """Ask the door for an account, unless there is one. Raises: DoorUnavailable, DoorRefused, DoorDistrusted."""
        if self._home.state["account"] is not None:
            return
        body = canonical_json({"signing_jwk": format_jwk(self._home.signing_key.public_key())})
        reply = self._door.call("POST", "/v1/accounts", body, proof=self._proof)
        account = read_members(reply.body, "account")["account"]
        if not isinstance(account, str) or len(account) != 22:
            raise DoorDistrusted("bad-door-answer", "the door gave no account")
        self._home.state["account"] = account
        self._home.save()

    def statement(self, purpose: str, request_digest: str) -> str:
        """A fresh statement for a card to sign. Raises: DoorUnavailable, DoorRefused, DoorDistrusted."""
        body = canonical_json({"account": self.current()})
        reply = self._door.call("POST", "/v1/nonces", body, proof=self._proof)
        nonces = read_members(reply.body, "nonces")["nonces"]
        if not isinstance(nonces, list) or len(nonces) != 1 or not isinstance(nonces[0], str):
            raise DoorDistrusted("bad-door-answer", "the door gave no nonce")
        statement = CardStatement(
            self._city,
            purpose,
            thumbprint(self._home.signing_key.public_key()),
            thumbprint(self._home.encryption_key.public_key()),
            request_digest,
            nonces[0],
            self._clock(),
        )
        return format_statement(statement)
