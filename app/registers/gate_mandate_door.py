"""The register gate's door for mandates and devices: members of a message become calls, results become members.

Part of `gate_door`, which checks token, version and zone, and turns refusals into answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from app.registers.gate import RegisterGate
from app.registers.gate_events import GateEvent
from mobile_api.messages import MandateWish, format_answer_body, parse_record
from verifier.formats.encoding import base64_decode

Answer = dict[str, Any]
Operation = Callable[[Mapping[str, Any]], Answer]


def mandate_operations(gate: RegisterGate) -> dict[str, Operation]:
    """The worker's operations on mandates and devices, by name."""
    mandates, counter = gate.mandates, gate.counter

    def code(m: Mapping[str, Any]) -> Answer:
        return {"code": format_answer_body(mandates.code(binding=str(m["binding"])))[1]}

    def give(m: Mapping[str, Any]) -> Answer:
        mandates.give(
            binding=str(m["binding"]),
            record=parse_record(m["record"]),
            statement=str(m["statement"]),
            signature_cert=base64_decode(m["signature_cert"]),
            signature=base64_decode(m["signature"]),
        )
        return {}

    def accept(m: Mapping[str, Any]) -> Answer:
        mandates.accept(binding=str(m["binding"]), mandate=str(m["mandate"]))
        return {}

    def confirm(m: Mapping[str, Any]) -> Answer:
        code = m["letter_code"]
        mandates.confirm(
            binding=str(m["binding"]),
            mandate=str(m["mandate"]),
            letter_code=None if code is None else str(code),
        )
        return {}

    def letter(m: Mapping[str, Any]) -> Answer:
        return {"sent": mandates.letter(binding=str(m["binding"]), mandate=str(m["mandate"]))}

    def end(m: Mapping[str, Any]) -> Answer:
        mandates.end(binding=str(m["binding"]), mandate=str(m["mandate"]))
        return {}

    def entries(m: Mapping[str, Any]) -> Answer:
        return {"mandates": format_answer_body(mandates.entries(binding=str(m["binding"])))[1]}

    def open_request(m: Mapping[str, Any]) -> Answer:
        wish = MandateWish(
            str(m["document_kind"]),
            int(m["fiscal_year"]),
            str(m["purpose"]),
            str(m["idempotency_key"]),
            str(m["mandate"]),
        )
        mandates.open_request(
            request_id=str(m["request_id"]),
            wish=wish,
            statement=str(m["statement"]),
            auth_cert=base64_decode(m["auth_cert"]),
            auth_signature=base64_decode(m["auth_signature"]),
        )
        return {}

    def events(m: Mapping[str, Any]) -> Answer:
        return {"events": [_row(event) for event in mandates.events(after=int(m["after"]))]}

    def lines(m: Mapping[str, Any]) -> Answer:
        return {"events": [_row(event) for event in mandates.lines(binding=str(m["binding"]))]}

    def lock(m: Mapping[str, Any]) -> Answer:
        counter.lock_devices(binding=str(m["binding"]))
        return {}

    def is_locked(m: Mapping[str, Any]) -> Answer:
        return {"locked": counter.is_locked(binding=str(m["binding"]))}

    def by_code(m: Mapping[str, Any]) -> Answer:
        return {"binding": counter.register_by_code(code=str(m["code"]), used_by=str(m["used_by"]))}

    return {
        "mandate_code": code,
        "mandate_give": give,
        "mandate_accept": accept,
        "mandate_confirm": confirm,
        "mandate_letter": letter,
        "mandate_end": end,
        "mandate_entries": entries,
        "mandate_request": open_request,
        "events": events,
        "lines": lines,
        "lock_devices": lock,
        "is_locked": is_locked,
        "register_by_code": by_code,
    }


def _row(event: GateEvent) -> list[Any]:
    return [event.number, event.binding, event.what, event.mandate, event.at]
