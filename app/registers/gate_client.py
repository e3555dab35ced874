"""The worker's side of the register gate's door."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from app.errors import Refusal, UnavailableError
from app.frames import FrameClient
from app.registers.login_gate import LoginEvidence
from app.registers.mandate_client import CounterClient, MandateClient
from app.registers.release import Released
from app.sealing.authorisation import Authorisation, parse_authorisation
from app.zones import Guard, Zone
from mobile_api.messages import WalletWish
from verifier.formats.encoding import base64_encode, hex_decode


class GateClient:
    """Calls the gate. Thread-safe. Raises Refusal when the gate says no, UnavailableError when it does not
    answer.
    """

    def __init__(self, path: Path, token: str, *, guard: Guard, clock: Callable[[], datetime]) -> None:
        self._frames = FrameClient(path)
        self._token = token
        self._guard = guard
        self._clock = clock
        self.mandates = MandateClient(self._call)
        self.counter = CounterClient(self._call)

    def register(
        self,
        *,
        statement: str,
        signature_cert: bytes,
        signature: bytes,
        auth_cert: bytes,
        auth_signature: bytes,
    ) -> str:
        """Card evidence in, the opaque binding out."""
        answer = self._call(
            "register",
            statement=statement,
            signature_cert=base64_encode(signature_cert),
            signature=base64_encode(signature),
            auth_cert=base64_encode(auth_cert),
            auth_signature=base64_encode(auth_signature),
        )
        return str(answer["binding"])

    def open_request(
        self,
        *,
        request_id: str,
        document_kind: str,
        fiscal_year: int,
        purpose: str,
        idempotency_key: str,
        statement: str,
        auth_cert: bytes,
        auth_signature: bytes,
    ) -> None:
        """Have one request authorised by the card's evidence."""
        self._call(
            "open_request",
            request_id=request_id,
            document_kind=document_kind,
            fiscal_year=fiscal_year,
            purpose=purpose,
            idempotency_key=idempotency_key,
            statement=statement,
            auth_cert=base64_encode(auth_cert),
            auth_signature=base64_encode(auth_signature),
        )

    def open_offer(
        self,
        *,
        request_id: str,
        document_kind: str,
        fiscal_year: int,
        purpose: str,
        idempotency_key: str,
        profile: str,
        copies: int,
        statement: str,
        auth_cert: bytes,
        auth_signature: bytes,
    ) -> str:
        """Have copies for a wallet authorised by the card's evidence; the opaque binding."""
        answer = self._call(
            "open_offer",
            request_id=request_id,
            document_kind=document_kind,
            fiscal_year=fiscal_year,
            purpose=purpose,
            idempotency_key=idempotency_key,
            profile=profile,
            copies=copies,
            statement=statement,
            auth_cert=base64_encode(auth_cert),
            auth_signature=base64_encode(auth_signature),
        )
        return str(answer["binding"])

    def open_login_offer(
        self, *, request_id: str, wish: WalletWish, evidence: LoginEvidence
    ) -> tuple[str, bool]:
        """Have copies for a wallet authorised by a login; (the opaque binding, whether this login is new)."""
        answer = self._call(
            "open_login_offer",
            request_id=request_id,
            document_kind=wish.document_kind,
            fiscal_year=wish.fiscal_year,
            purpose=wish.purpose,
            idempotency_key=wish.idempotency_key,
            profile=wish.profile,
            copies=wish.copies,
            id_token=evidence.id_token,
            userinfo=evidence.userinfo,
            salt=evidence.salt,
        )
        return str(answer["binding"]), answer["is_new"] is True

    def record(self, *, request_id: str) -> Released:
        """The one record of an authorised request."""
        answer = self._call("record", request_id=request_id)
        return Released(answer["record"], hex_decode(answer["subject_digest"], 32), int(answer["position"]))

    def recheck(self, *, request_id: str, position: int | None) -> bytes:
        """Protection, death and corrected figures once more; whom it is about, as `Released.subject_digest`.

        `position`: `Released.position` of the record that the documents were made from.
        """
        answer = self._call("recheck", request_id=request_id, position=position)
        return hex_decode(answer["subject_digest"], 32)

    def authorise(self, *, purpose: str, digest: bytes, request_id: str, serial: str) -> Authorisation:
        """A single-use authorisation for one digest."""
        item = {"purpose": purpose, "digest": digest.hex(), "request_id": request_id, "serial": serial}
        answer = self._call("authorise", items=[item])
        return parse_authorisation(answer["authorisations"][0])

    def authorise_copies(self, request_id: str, digests: Mapping[str, bytes]) -> list[Authorisation]:
        """One authorisation by the credential key for each serial's digest, in order, in one call."""
        items = [
            {"purpose": "credential", "digest": digest.hex(), "request_id": request_id, "serial": serial}
            for serial, digest in digests.items()
        ]
        return [parse_authorisation(made) for made in self._call("authorise", items=items)["authorisations"]]

    def authorise_metadata(self, *, signing_input: bytes, serial: str) -> Authorisation:
        """An authorisation for public wallet metadata; the gate reads what is to be signed."""
        answer = self._call("authorise_metadata", signing_input=signing_input.decode("ascii"), serial=serial)
        return parse_authorisation(answer["authorisation"])

    def changes(self, *, after: int) -> list[tuple[int, str, str]]:
        """(number, binding, event) since `after`."""
        answer = self._call("changes", after=after)
        return [(int(number), str(binding), str(event)) for number, binding, event in answer["changes"]]

    def requests_of(self, *, binding: str, fiscal_year: int) -> list[str]:
        """The authorised requests of one resident for one fiscal year, oldest first."""
        answer = self._call("requests_of", binding=binding, fiscal_year=fiscal_year)
        return [str(request_id) for request_id in answer["requests"]]

    def tally(self) -> int:
        """How many documents had a seal authorised: phone certificates and copies."""
        return int(self._call("tally")["documents"])

    def _call(self, operation: str, **fields: Any) -> dict[str, Any]:
        message = {"v": 1, "token": self._token, "op": operation, **fields}
        self._guard.check(
            Zone.CITY, Zone.NUMBER_USING, f"gate.{operation}", len(orjson.dumps(message)), now=self._clock()
        )
        answer = self._frames.call(message)
        if answer.get("ok") is True:
            return answer
        if "ja" in answer:
            raise Refusal(
                str(answer["code"]), str(answer["ja"]), str(answer["en"]), retry=bool(answer["retry"])
            )
        raise UnavailableError(f"gate-{answer.get('code', 'no-answer')}")
