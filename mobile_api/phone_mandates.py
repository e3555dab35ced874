"""Mandates on the phone: give, accept, confirm, end, and the list. A request under one is `Phone.request_certificate`.

What the giver's card signs is written down before the card is asked, so that the same wish after a kill is the same
mandate and the agent's code, which is good once, is not lost.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from typing import Any, Final

from mobile_api.messages import (
    AcceptMandate,
    ConfirmMandate,
    EndMandate,
    GiveMandate,
    ListMandates,
    MandateCodeWish,
    MandateRecord,
    format_record,
    new_message_id,
    parse_record,
)
from mobile_api.phone_account import PhoneAccount
from mobile_api.phone_correspondence import Correspondence
from mobile_api.phone_counterparts import Card
from mobile_api.phone_home import PhoneHome

MAX_OFFERS: Final = 50
"""How many given records the phone remembers."""


class PhoneMandates:
    """`Phone` holds one. Every call raises CityRefused, NoAnswerYet, DoorUnavailable, DoorRefused."""

    def __init__(
        self,
        home: PhoneHome,
        letters: Correspondence,
        account: PhoneAccount,
        *,
        city: str,
        clock: Callable[[], datetime],
        random: Callable[[int], bytes],
    ) -> None:
        self._home = home
        self._letters = letters
        self._account = account
        self._city = city
        self._clock = clock
        self._random = random

    def code(self, timeout: float) -> dict[str, Any]:
        """{"code", "expires"}: what the agent tells the giver."""
        return dict(self._letters.ask(MandateCodeWish(), timeout)["result"])

    def give(
        self,
        agent_code: str,
        fiscal_years: tuple[int, ...],
        purpose: str,
        valid_from: date,
        valid_until: date,
        card: Card,
        password: str,
        *,
        document_kind: str,
        timeout: float,
    ) -> str:
        """Sign a mandate with the card and offer it; its id. Raises also: FormatError, what the card raises."""
        record = self._record(agent_code, fiscal_years, purpose, valid_from, valid_until, document_kind)
        statement = self._account.statement("mandate", record.digest())
        signed = card.sign_document(password, statement.encode("utf-8"))
        self._letters.ask(GiveMandate(record, statement, signed.certificate, signed.signature), timeout)
        return record.mandate

    def accept(self, mandate: str, timeout: float) -> None:
        """Take a mandate on, as its agent."""
        self._letters.ask(AcceptMandate(mandate), timeout)

    def confirm(self, mandate: str, letter_code: str | None, timeout: float) -> None:
        """Confirm a mandate, as its giver."""
        self._letters.ask(ConfirmMandate(mandate, letter_code), timeout)

    def end(self, mandate: str, timeout: float) -> None:
        """End a mandate, as its giver or its agent."""
        self._letters.ask(EndMandate(mandate), timeout)

    def list(self, timeout: float) -> list[dict[str, Any]]:
        """Every mandate given or held, oldest first."""
        found: list[dict[str, Any]] = self._letters.ask(ListMandates(), timeout)["result"]["mandates"]
        return found

    def _record(
        self,
        agent_code: str,
        fiscal_years: tuple[int, ...],
        purpose: str,
        valid_from: date,
        valid_until: date,
        document_kind: str,
    ) -> MandateRecord:
        offers: list[Any] = self._home.state.setdefault("mandate_offers", [])
        record = MandateRecord(
            new_message_id(self._random),
            self._city,
            agent_code,
            document_kind,
            tuple(sorted(set(fiscal_years))),
            purpose,
            valid_from,
            valid_until,
            self._clock(),
        )
        written = format_record(record)
        parse_record(written)
        for known in offers:
            if {**known, "mandate": "", "created": ""} == {**written, "mandate": "", "created": ""}:
                return parse_record(known)
        self._home.state["mandate_offers"] = [*offers, written][-MAX_OFFERS:]
        self._home.save()
        return record
