"""Registering this phone: with a card, or as a demonstration with the counter's QR code (模擬/MOCK).

The message is written down before it goes out, so that a kill at any point ends in one registration and the card signs
once.
"""

from __future__ import annotations

from collections.abc import Callable

from mobile_api.errors import DoorRefused
from mobile_api.messages import NO_REQUEST, DeviceBody, Register, RegisterByCode
from mobile_api.phone_account import PhoneAccount
from mobile_api.phone_correspondence import Correspondence
from mobile_api.phone_counterparts import Card, CardPasswords
from mobile_api.phone_home import PhoneHome


class PhoneRegistration:
    """`Phone` holds one. Raises CityRefused, NoAnswerYet (call again), DoorUnavailable, DoorRefused, and the card's."""

    def __init__(self, home: PhoneHome, letters: Correspondence, account: PhoneAccount) -> None:
        self._home = home
        self._letters = letters
        self._account = account

    @property
    def is_done(self) -> bool:
        """Whether the city has confirmed it."""
        return (self._home.state["registration"] or {}).get("state") == "registered"

    def by_card(self, card: Card, passwords: CardPasswords, mail: str | None, timeout: float) -> None:
        """Let the card sign for this phone's keys, and wait for the city's word."""
        self._bind(lambda: self._register_body(card, passwords, mail), timeout)

    def by_code(self, code: str, timeout: float) -> None:
        """Hand the counter's code to the city, and wait for its word."""
        public = self._home.signing_key.public_key(), self._home.encryption_key.public_key()
        self._bind(lambda: RegisterByCode(*public, code), timeout)

    def _bind(self, make_body: Callable[[], DeviceBody], timeout: float) -> None:
        if self.is_done:
            return
        self._account.open()
        state = self._home.state
        try:
            if state["registration"] is None:
                state["registration"] = {"message": self._letters.write(make_body()), "state": "sent"}
                self._home.save()
            message = state["registration"]["message"]
            self._letters.post(message)
            self._letters.await_outcome(message, timeout)
        except DoorRefused as error:
            if error.status == 401:
                # This account is not ours to the door (it gave us somebody else's, or forgot it): the next call asks
                # for one anew.
                state.update(account=None, registration=None)
                self._home.save()
            raise

    def _register_body(self, card: Card, passwords: CardPasswords, mail: str | None) -> Register:
        statement = self._account.statement("register", NO_REQUEST)
        data = statement.encode("utf-8")
        by_signature = card.sign_document(passwords.signature, data)
        by_authentication = card.authenticate(passwords.authentication, data)
        return Register(
            self._home.signing_key.public_key(),
            self._home.encryption_key.public_key(),
            statement,
            by_signature.certificate,
            by_signature.signature,
            by_authentication.certificate,
            by_authentication.signature,
            mail,
        )
