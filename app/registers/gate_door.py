"""The register gate's door: frames on a Unix socket become calls of `RegisterGate`, refusals become answers.

Message: {"v":1,"token":…,"op":…, fields of the op}. Answer: {"ok":true,…} or
{"ok":false,"code","ja","en","retry"}. The zone guard is asked for every message; unknown operations and
members are refused.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import orjson

from app.errors import CityError, Refusal
from app.frames import is_token
from app.registers.gate import RegisterGate, SealWish
from app.registers.gate_mandate_door import mandate_operations
from app.registers.login_gate import LoginEvidence
from app.zones import Guard, Zone
from mobile_api.messages import MAX_COPIES, CertificateRequest, WalletWish
from verifier.errors import FormatError
from verifier.fault import describe_fault
from verifier.formats.encoding import base64_decode, hex_decode

log = logging.getLogger("akashi.gate")

VERSION = 1
MAX_WISHES = 256
Answer = dict[str, Any]


class GateDoor:
    """Answers messages of the issuance worker."""

    def __init__(
        self, gate: RegisterGate, token: str, *, guard: Guard, clock: Callable[[], datetime]
    ) -> None:
        self._gate = gate
        self._token = token
        self._guard = guard
        self._clock = clock
        self._operations: Mapping[str, Callable[[Mapping[str, Any]], Answer]] = {
            "register": self._register,
            "open_request": self._open_request,
            "open_offer": self._open_offer,
            "open_login_offer": self._open_login_offer,
            "authorise_metadata": self._authorise_metadata,
            "record": self._record,
            "recheck": self._recheck,
            "authorise": self._authorise,
            "changes": self._changes,
            "requests_of": self._requests_of,
            "tally": self._tally,
            **mandate_operations(gate),
        }

    def handle(self, message: dict[str, Any]) -> Answer:
        """One message in, one answer out; never raises."""
        try:
            if not is_token(message.get("token"), self._token):
                return _no("bad-token")
            operation = self._operations.get(str(message.get("op")))
            if operation is None or message.get("v") != VERSION:
                return _no("unknown-operation")
            size = len(orjson.dumps(message))
            self._guard.check(Zone.CITY, Zone.NUMBER_USING, f"gate.{message['op']}", size, now=self._clock())
            return {"ok": True, **operation(message)}
        except Refusal as no:
            return {"ok": False, "code": no.code, "ja": no.ja, "en": no.en, "retry": no.retry}
        except (CityError, FormatError) as error:
            return _no(error.code)
        except (KeyError, TypeError, ValueError, AttributeError):
            return _no("bad-message")
        except Exception as error:
            # A defect of ours must not end the door; its text may quote a resident's record.
            log.error("gate operation failed: %s", describe_fault(error))
            return _no("internal")

    def _register(self, m: Mapping[str, Any]) -> Answer:
        binding = self._gate.register(
            statement=str(m["statement"]),
            signature_cert=base64_decode(m["signature_cert"]),
            signature=base64_decode(m["signature"]),
            auth_cert=base64_decode(m["auth_cert"]),
            auth_signature=base64_decode(m["auth_signature"]),
        )
        return {"binding": binding}

    def _open_request(self, m: Mapping[str, Any]) -> Answer:
        wish = CertificateRequest(
            str(m["document_kind"]), int(m["fiscal_year"]), str(m["purpose"]), str(m["idempotency_key"])
        )
        self._gate.open_request(
            request_id=str(m["request_id"]),
            wish=wish,
            statement=str(m["statement"]),
            auth_cert=base64_decode(m["auth_cert"]),
            auth_signature=base64_decode(m["auth_signature"]),
        )
        return {}

    def _open_login_offer(self, m: Mapping[str, Any]) -> Answer:
        evidence = LoginEvidence(str(m["id_token"]), str(m["userinfo"]), str(m["salt"]))
        binding, is_new = self._gate.open_login_offer(
            request_id=str(m["request_id"]), wish=_wallet_wish(m), evidence=evidence
        )
        return {"binding": binding, "is_new": is_new}

    def _open_offer(self, m: Mapping[str, Any]) -> Answer:
        wish = _wallet_wish(m)
        binding = self._gate.open_offer(
            request_id=str(m["request_id"]),
            wish=wish,
            statement=str(m["statement"]),
            auth_cert=base64_decode(m["auth_cert"]),
            auth_signature=base64_decode(m["auth_signature"]),
        )
        return {"binding": binding}

    def _authorise_metadata(self, m: Mapping[str, Any]) -> Answer:
        made = self._gate.authorise_metadata(
            signing_input=str(m["signing_input"]).encode("ascii"), serial=str(m["serial"])
        )
        return {"authorisation": made.as_json()}

    def _record(self, m: Mapping[str, Any]) -> Answer:
        released = self._gate.record(request_id=str(m["request_id"]))
        return {
            "record": released.record,
            "subject_digest": released.subject_digest.hex(),
            "position": released.position,
        }

    def _recheck(self, m: Mapping[str, Any]) -> Answer:
        position = m["position"]
        if position is not None and type(position) is not int:
            raise ValueError("position")
        digest = self._gate.recheck(request_id=str(m["request_id"]), position=position)
        return {"subject_digest": digest.hex()}

    def _authorise(self, m: Mapping[str, Any]) -> Answer:
        items = m["items"]
        if not isinstance(items, list) or not 1 <= len(items) <= MAX_WISHES:
            raise ValueError("items")
        wishes = [
            SealWish(
                str(item["purpose"]),
                hex_decode(item["digest"], 32),
                str(item["request_id"]),
                str(item["serial"]),
            )
            for item in items
        ]
        return {"authorisations": [made.as_json() for made in self._gate.authorise(wishes)]}

    def _changes(self, m: Mapping[str, Any]) -> Answer:
        return {"changes": [list(change) for change in self._gate.changes(after=int(m["after"]))]}

    def _requests_of(self, m: Mapping[str, Any]) -> Answer:
        return {
            "requests": self._gate.requests_of(binding=str(m["binding"]), fiscal_year=int(m["fiscal_year"]))
        }

    def _tally(self, _m: Mapping[str, Any]) -> Answer:
        return {"documents": self._gate.tally()}


def _wallet_wish(m: Mapping[str, Any]) -> WalletWish:
    wish = WalletWish(
        str(m["document_kind"]),
        int(m["fiscal_year"]),
        str(m["purpose"]),
        str(m["idempotency_key"]),
        str(m["profile"]),
        int(m["copies"]),
    )
    if not 1 <= wish.copies <= MAX_COPIES:
        raise ValueError("copies")
    return wish


def _no(code: str) -> Answer:
    return {"ok": False, "code": code}
