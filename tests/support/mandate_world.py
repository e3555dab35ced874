"""A giver, an agent and their phones over `city_rooms`, and the steps of a mandate by messages."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from mobile_api.messages import (
    AcceptMandate,
    AnswerBody,
    ConfirmMandate,
    EndMandate,
    GiveMandate,
    ListMandates,
    MandateCode,
    MandateCodeWish,
    MandateEntry,
    MandateRecord,
    Mandates,
    MandateWish,
    Refused,
    RequestByMandate,
    new_message_id,
)
from tests.support.city_rooms import KIND, YEAR, CityRooms, Device
from tests.support.door_house import CITY, PASSWORDS

PURPOSE = "扶養の確認のため"


def word(answers: list[tuple[str, AnswerBody]], account: str) -> str:
    """Code of the one refusal or notice to this account, else the kind of answer."""
    (body,) = [body for to, body in answers if to == account]
    return str(getattr(body, "code", type(body).__name__)) if not isinstance(body, MandateCode) else body.code


@dataclass
class MandateWorld:
    """Two residents with phones that were registered a while ago."""

    rooms: CityRooms
    giver: Device
    agent: Device

    @classmethod
    def make(cls, rooms: CityRooms, *, age_days: int = 10) -> MandateWorld:
        """Both registered, `age_days` before now."""
        world = cls(rooms, rooms.registered(rooms.people[0]), rooms.registered(rooms.people[1]))
        rooms.clock.forward(days=age_days)
        return world

    @property
    def today(self) -> date:
        return self.rooms.clock().date()

    def code(self, agent: Device | None = None) -> str:
        """A hand-over code of the agent."""
        asker = agent or self.agent
        return word(asker.send(MandateCodeWish()), asker.account)

    def record(self, code: str, **changes: Any) -> MandateRecord:
        """A record that fits."""
        made = MandateRecord(
            new_message_id(os.urandom), CITY, code, KIND, (YEAR,), PURPOSE, self.today,
            date(2027, 3, 31), self.rooms.clock(),
        )  # fmt: skip
        return replace(made, **changes)

    def give_body(
        self, record: MandateRecord, *, giver: Device | None = None, nonce: str = "", **changes: Any
    ) -> GiveMandate:
        """The record signed by the giver's card."""
        phone = giver or self.giver
        text = phone.statement("mandate", record.digest(), nonce or self.rooms.nonce(), **changes)
        signed = phone.card.sign_document(PASSWORDS.signature, text.encode())
        return GiveMandate(record, text, signed.certificate, signed.signature)

    def give(self, record: MandateRecord, *, giver: Device | None = None, **changes: Any) -> str:
        """Offer it; the code of the answer."""
        phone = giver or self.giver
        return word(phone.send(self.give_body(record, giver=phone, **changes)), phone.account)

    def accept(self, mandate: str, agent: Device | None = None) -> str:
        phone = agent or self.agent
        return word(phone.send(AcceptMandate(mandate)), phone.account)

    def confirm(self, mandate: str, giver: Device | None = None, letter: str | None = None) -> str:
        phone = giver or self.giver
        return word(phone.send(ConfirmMandate(mandate, letter)), phone.account)

    def end(self, mandate: str, phone: Device) -> str:
        return word(phone.send(EndMandate(mandate)), phone.account)

    def in_force(self, **changes: Any) -> MandateRecord:
        """A mandate that was given, accepted and confirmed."""
        record = self.record(self.code(), **changes)
        assert self.give(record) == "mandate-offer-taken"
        assert self.accept(record.mandate) == "mandate-acceptance-taken"
        assert self.confirm(record.mandate) == "mandate-confirmation-taken"
        return record

    def request_body(
        self,
        mandate: str,
        *,
        agent: Device | None = None,
        year: int = YEAR,
        purpose: str = PURPOSE,
        key: str = "",
        **changes: Any,
    ) -> RequestByMandate:
        """A request under a mandate by the agent's card."""
        phone = agent or self.agent
        wish = MandateWish(KIND, year, purpose, key or new_message_id(os.urandom), mandate)
        text = phone.statement("request_by_mandate", wish.digest(), self.rooms.nonce(), **changes)
        signed = phone.card.authenticate(PASSWORDS.authentication, text.encode())
        return RequestByMandate(wish, text, signed.certificate, signed.signature)

    def request(self, mandate: str, *, agent: Device | None = None, **changes: Any) -> str:
        """Ask; the refusal's code or the kind of answer."""
        phone = agent or self.agent
        return word(phone.send(self.request_body(mandate, agent=phone, **changes)), phone.account)

    def listed(self, phone: Device) -> list[MandateEntry]:
        """The phone's list."""
        ((_, body),) = phone.send(ListMandates())
        assert isinstance(body, Mandates)
        return list(body.entries)

    def letter_code(self, mandate: str) -> str:
        """The code in the mock letter."""
        text = (Path(self.rooms.directory) / "letters" / f"mandate-{mandate}.txt").read_text("utf-8")
        assert "模擬/MOCK" in text
        return text.rsplit(": ", 1)[1].strip()


def refusals(answers: list[tuple[str, AnswerBody]]) -> list[Refused]:
    """The refusals among answers."""
    return [body for _, body in answers if isinstance(body, Refused)]
