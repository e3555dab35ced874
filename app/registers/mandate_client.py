"""The worker's side of the gate's door for mandates and devices: the same names and members as the gate's own desks.

Raises Refusal when the gate says no, UnavailableError when it does not answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from app.registers.gate_events import GateEvent
from mobile_api.messages import (
    MandateCode,
    MandateRecord,
    Mandates,
    MandateWish,
    format_record,
    parse_answer_body,
)
from verifier.formats.encoding import base64_encode

Call = Callable[..., dict[str, Any]]


class MandateClient:
    """`app.registers.mandates.MandateDesk` over the socket. `call`: (operation, **members) → answer."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def code(self, *, binding: str) -> MandateCode:
        """A hand-over code for this agent."""
        found: MandateCode = parse_answer_body(
            "mandate_code", self._call("mandate_code", binding=binding)["code"]
        )
        return found

    def give(
        self, *, binding: str, record: MandateRecord, statement: str, signature_cert: bytes, signature: bytes
    ) -> None:
        """Offer a mandate."""
        self._call(
            "mandate_give",
            binding=binding,
            record=format_record(record),
            statement=statement,
            signature_cert=base64_encode(signature_cert),
            signature=base64_encode(signature),
        )

    def accept(self, *, binding: str, mandate: str) -> None:
        """The agent takes it on."""
        self._call("mandate_accept", binding=binding, mandate=mandate)

    def confirm(self, *, binding: str, mandate: str, letter_code: str | None) -> None:
        """The giver confirms."""
        self._call("mandate_confirm", binding=binding, mandate=mandate, letter_code=letter_code)

    def letter(self, *, binding: str, mandate: str) -> bool:
        """Have the letter sent; False if this city sends none."""
        return bool(self._call("mandate_letter", binding=binding, mandate=mandate)["sent"])

    def end(self, *, binding: str, mandate: str) -> None:
        """Giver or agent ends it."""
        self._call("mandate_end", binding=binding, mandate=mandate)

    def entries(self, *, binding: str) -> Mandates:
        """The mandates of this binding."""
        answer = self._call("mandate_entries", binding=binding)["mandates"]
        found: Mandates = parse_answer_body("mandates", answer)
        return found

    def open_request(
        self, *, request_id: str, wish: MandateWish, statement: str, auth_cert: bytes, auth_signature: bytes
    ) -> None:
        """Have one request authorised under a mandate."""
        self._call(
            "mandate_request",
            request_id=request_id,
            document_kind=wish.document_kind,
            fiscal_year=wish.fiscal_year,
            purpose=wish.purpose,
            idempotency_key=wish.idempotency_key,
            mandate=wish.mandate,
            statement=statement,
            auth_cert=base64_encode(auth_cert),
            auth_signature=base64_encode(auth_signature),
        )

    def events(self, *, after: int) -> list[GateEvent]:
        """What happened to any binding after line `after`."""
        return _events(self._call("events", after=after))

    def lines(self, *, binding: str) -> list[GateEvent]:
        """The history of one binding."""
        return _events(self._call("lines", binding=binding))


class CounterClient:
    """What the worker may ask of `app.registers.counter.CounterDesk`."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def lock_devices(self, *, binding: str) -> None:
        """Lock the adding of devices to the counter."""
        self._call("lock_devices", binding=binding)

    def is_locked(self, *, binding: str) -> bool:
        """Whether it is locked."""
        return bool(self._call("is_locked", binding=binding)["locked"])

    def register_by_code(self, *, code: str, used_by: str) -> str:
        """The binding of a printed code's resident."""
        return str(self._call("register_by_code", code=code, used_by=used_by)["binding"])


def _events(answer: dict[str, Any]) -> list[GateEvent]:
    return [
        GateEvent(int(number), str(binding), str(what), str(mandate), int(at))
        for number, binding, what, mandate, at in answer["events"]
    ]
