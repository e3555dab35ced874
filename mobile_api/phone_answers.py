"""What the phone believes: an answer only if the city signed it, for this account, to this message, and
newer than before.

The street door may hand over anything: another phone's answers, old ones again, its own refusals. Each is
written down as distrusted and changes nothing else.
"""

from __future__ import annotations

from typing import Any, Final

from mobile_api.message_bodies import STAGES
from mobile_api.messages import (
    CityAnswer,
    Devices,
    History,
    MandateCode,
    Mandates,
    Notice,
    OfferReady,
    PackageReady,
    Progress,
    Refused,
    Registered,
    format_answer_body,
    format_instant,
)
from verifier.errors import FormatError
from verifier.formats.encoding import base64url_encode

MAX_DISTRUSTED: Final = 100
MAX_SEEN: Final = 2000
MAX_NOTICES: Final = 200
GONE: Final = "gone"
"""The refusal's code by which the city says that it cannot hand this request's package over any more."""

_FITS: Final[dict[str, tuple[type, ...]]] = {
    "register": (Registered, Refused),
    "request_certificate": (Progress, PackageReady, Refused),
    "request_offer": (OfferReady, Refused),
    "confirm_mail": (Notice, Refused),
    "stop_device": (Notice, Refused),
    "history": (History, Refused),
    "register_by_code": (Registered, Refused),
    "request_by_mandate": (Progress, PackageReady, Refused),
    "list_devices": (Devices, Refused),
    "lock_devices": (Notice, Refused),
    "mandate_code": (MandateCode, Refused),
    "mandate_give": (Notice, Refused),
    "mandate_accept": (Notice, Refused),
    "mandate_confirm": (Notice, Refused),
    "mandate_end": (Notice, Refused),
    "list_mandates": (Mandates, Refused),
}


def check_answer(answer: CityAnswer, state: dict[str, Any], *, city: str) -> None:
    """Whether a signed answer is addressed to this phone and new. Raises: FormatError with the reason as
    code.
    """
    if answer.city != city or answer.account != state["account"]:
        raise FormatError("other-account", "signed for another account")
    if answer.sequence in state["seen"]:
        raise FormatError("replayed-answer", "seen before")
    if len(state["seen"]) >= MAX_SEEN and answer.sequence < min(state["seen"]):
        raise FormatError("replayed-answer", "older than everything remembered")
    if answer.in_reply_to is None:
        if not isinstance(answer.body, Notice):
            raise FormatError("unasked-answer", "only a notice answers nothing")
        return
    message = state["messages"].get(answer.in_reply_to)
    if message is None:
        raise FormatError("unasked-answer", "answers a message this phone did not send")
    if not isinstance(answer.body, _FITS[message["kind"]]):
        raise FormatError("unfitting-answer", "not an answer to that kind of message")
    if answer.sequence <= message["last_sequence"]:
        raise FormatError("old-answer", "older than what is known about that message")
    request = state["requests"].get(message["request"]) if message["request"] else None
    if message["outcome"] is not None:
        if _says_the_same(answer.body, message, request):
            raise FormatError("repeated-answer", "said before")
        raise FormatError("late-answer", "that message has its final answer")
    if _is_other_package(answer.body, request):
        raise FormatError("other-package", "another package than was announced for this request")


def _says_the_same(body: Any, message: dict[str, Any], request: dict[str, Any] | None) -> bool:
    # The city repeats its last word to a phone that asks again; both words may arrive.
    if isinstance(body, PackageReady):
        return message["outcome"] == "ready" and not _is_other_package(body, request)
    if isinstance(body, OfferReady):
        return message["outcome"] == "offer" and message["offer"] == _offer(body)
    if isinstance(body, Refused):
        return message["outcome"] == "refused" and message["refusal"]["code"] == body.code
    return isinstance(body, Registered) and message["outcome"] == "registered"


def _is_other_package(body: Any, request: dict[str, Any] | None) -> bool:
    if not isinstance(body, PackageReady) or request is None or request["package"] is None:
        return False
    said = (body.package_id, base64url_encode(body.sha256))
    return said != (request["package"], request["sha256"])


def apply_answer(answer: CityAnswer, state: dict[str, Any]) -> None:
    """Take a checked answer into the state."""
    state["seen"] = sorted([*state["seen"], answer.sequence])[-MAX_SEEN:]
    body = answer.body
    if isinstance(body, Notice):
        line = {"at": format_instant(answer.issued_at), **_sentences(body)}
        state["notices"] = [*state["notices"], line][-MAX_NOTICES:]
    if answer.in_reply_to is None:
        return
    message = state["messages"][answer.in_reply_to]
    message["last_sequence"] = answer.sequence
    request = state["requests"].get(message["request"]) if message["request"] else None
    if isinstance(body, Refused):
        message["outcome"] = "refused"
        message["refusal"] = {**_sentences(body), "retry": body.retry}
        if request is not None:
            request["state"] = "gone" if body.code == GONE else "refused"
        if message["kind"] in ("register", "register_by_code"):
            state["registration"] = None
    elif isinstance(body, Registered):
        message["outcome"] = "registered"
        state["registration"] = {"message": answer.in_reply_to, "state": "registered"}
    elif isinstance(body, Progress) and request is not None:
        if body.stage not in request["stages"]:
            request["stages"] = sorted([*request["stages"], body.stage], key=STAGES.index)
        request["city_request"] = body.request_id
    elif isinstance(body, PackageReady) and request is not None:
        message["outcome"] = "ready"
        request["put_again"] = request["state"] == "missing"
        request.update(
            city_request=body.request_id,
            package=body.package_id,
            sha256=base64url_encode(body.sha256),
            state="ready",
        )
    elif isinstance(body, OfferReady):
        message["outcome"] = "offer"
        message["offer"] = _offer(body)
    elif isinstance(body, History):
        message["outcome"] = "history"
        message["entries"] = [{"at": format_instant(e.at), **_sentences(e)} for e in body.entries]
    else:
        message["outcome"] = "done"
        if isinstance(body, Devices | MandateCode | Mandates):
            message["result"] = format_answer_body(body)[1]


def note_distrust(state: dict[str, Any], code: str) -> None:
    """Remember that the door handed over something unbelievable (the reason only)."""
    state["distrusted"] = [*state["distrusted"], code][-MAX_DISTRUSTED:]


def _offer(body: OfferReady) -> dict[str, str]:
    return {"expires": format_instant(body.expires), "offer": body.offer, "tx_code": body.tx_code}


def _sentences(body: Any) -> dict[str, str]:
    return {"code": body.code, "message_en": body.message_en, "message_ja": body.message_ja}
