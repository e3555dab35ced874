"""The phone's wishes for offers to wallets: one key for one wish under way, until the city has answered it.

Works on the phone's state and letters; the card is lent. A wish that was cut short at any point is gone on with: the city
answers it with the same offer. One that was answered has ended, and the next is a new one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mobile_api.messages import OfferReady, RequestOffer, WalletWish, parse_instant
from mobile_api.phone_correspondence import Correspondence
from mobile_api.phone_counterparts import Card
from mobile_api.phone_home import PhoneHome


@dataclass(frozen=True, slots=True)
class OfferWish:
    """What is wished for a wallet. `fiscal_year` of the Common Era; profile p1 or p2; copies 1 to 20."""

    fiscal_year: int
    purpose: str = ""
    profile: str = "p1"
    copies: int = 10
    by_reference: bool = False
    document_kind: str = "income_certificate"


class PhoneOffers:
    """Offers of one phone. `statement`: makes the text for the card from purpose and digest."""

    def __init__(
        self,
        home: PhoneHome,
        letters: Correspondence,
        *,
        statement: Callable[[str, str], str],
        new_key: Callable[[], str],
    ) -> None:
        self._home = home
        self._letters = letters
        self._statement = statement
        self._new_key = new_key

    def request(self, wish: OfferWish, card: Card, pin: str, *, timeout: float) -> OfferReady:
        """Ask the city for an offer and wait for it. Raises: CityRefused, NoAnswerYet (call again), DoorUnavailable."""
        entry = self._entry(wish)
        self._home.save()
        if entry["message"] is None:
            signed = WalletWish(
                wish.document_kind, wish.fiscal_year, wish.purpose, entry["key"], wish.profile, wish.copies
            )
            text = self._statement("request", signed.digest())
            by_card = card.authenticate(pin, text.encode("utf-8"))
            body = RequestOffer(signed, text, by_card.certificate, by_card.signature, wish.by_reference)
            entry["message"] = self._letters.write(body)
            self._home.save()
        message = entry["message"]
        try:
            self._letters.post(message)
            self._letters.await_outcome(message, timeout)
        finally:
            if self._home.state["messages"][message]["outcome"] is not None:
                self._offers().remove(entry)
                self._home.save()
                self._letters.forget(message)
        offer = self._home.state["messages"][message]["offer"]
        return OfferReady(offer["offer"], offer["tx_code"], parse_instant(offer["expires"]))

    def _entry(self, wish: OfferWish) -> dict[str, Any]:
        wanted = {name: getattr(wish, name) for name in OfferWish.__slots__}
        for entry in self._offers():
            if entry["wish"] == wanted:
                return entry
        self._offers().append({"key": self._new_key(), "message": None, "wish": wanted})
        return self._offers()[-1]

    def _offers(self) -> list[dict[str, Any]]:
        # A phone of before has no such list yet.
        offers: list[dict[str, Any]] = self._home.state.setdefault("offers", [])
        return offers
