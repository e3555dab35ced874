"""Handing a certificate to an employer: read the QR code, show who asks, submit by upload or mail, withdraw.

Nothing here carries the account: the door sees a request id, a token and ciphertext. A company name is
given as confirmed only with a statement of the city that fits the descriptor in every point.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from mobile_api.door_client import DoorClient
from mobile_api.errors import DoorDistrusted, DoorRefused, PhoneError, RequestDistrusted, StateError
from mobile_api.messages import format_instant
from mobile_api.phone_home import PhoneHome
from mobile_api.presentation import build_presentation, unanswered_items
from verifier.errors import FormatError
from verifier.formats.bundle import parse_bundle
from verifier.formats.encoding import (
    base64url_decode,
    base64url_encode,
    canonical_json,
    parse_json,
    sha256,
)
from verifier.formats.jose import SignDigest, same_thumbprint, thumbprint
from verifier.formats.names import PRESENTATION_TYPE
from verifier.formats.package import pack
from verifier.formats.recipient import RecipientStatement, verify_recipient_statement
from verifier.formats.submission_request import (
    SubmissionRequest,
    decrypt_descriptor,
    parse_request_qr,
    parse_submission_request,
    upload_token,
)


@dataclass(frozen=True, slots=True)
class ScannedRequest:
    """A request as the phone may show it.

    recipient   the city's statement about who asks; None = 未登録: the name is only what somebody wrote
    descriptor  the signed bytes; their hash is the nonce of the submission
    """

    request_id: str
    public_url: str
    descriptor: bytes
    request: SubmissionRequest
    recipient: RecipientStatement | None
    secret: bytes

    @property
    def confirmed_name(self) -> str | None:
        """The recipient's legal name as a fact, or None."""
        return None if self.recipient is None else self.recipient.name

    def unanswered(self, bundle: bytes) -> tuple[str, ...]:
        """The thresholds it asks for that this certificate does not confirm; nothing is handed over in their place.

        Raises: LimitError, FormatError.
        """
        return unanswered_items(parse_bundle(bundle), self.request)


@dataclass(frozen=True, slots=True)
class SubmissionReceipt:
    """A submission handed over. `receipt` is None for mail, which cannot be withdrawn."""

    request_id: str
    receipt: str | None
    submitted_at: datetime


class PhoneSubmissions:
    """The submitting half of the phone; `Phone` holds one."""

    def __init__(
        self,
        home: PhoneHome,
        door: DoorClient,
        *,
        city: str,
        public_url: str,
        statement_key: ec.EllipticCurvePublicKey,
        sign: SignDigest,
        clock: Callable[[], datetime],
        random: Callable[[int], bytes],
    ) -> None:
        self._home = home
        self._door = door
        self._city = city
        self._public_url = public_url
        self._statement_key = statement_key
        self._sign = sign
        self._clock = clock
        self._random = random

    def scan(self, text: str) -> ScannedRequest:
        """Read a QR text, fetch the descriptor and check it whole.

        Raises: RequestDistrusted (altered, expired, another door, a city's statement about somebody else),
        DoorRefused (no such request), DoorUnavailable.
        """
        try:
            public_url, identifier, secret = parse_request_qr(text)
        except FormatError as error:
            raise RequestDistrusted(error.code, "this QR code is no request of this system") from None
        if public_url != self._public_url:
            raise RequestDistrusted("other-door", "the QR code points to another street door")
        ciphertext = self._door.call("GET", f"/v1/requests/{identifier}").body
        try:
            descriptor = decrypt_descriptor(ciphertext, secret)
            request = parse_submission_request(descriptor)
            recipient = self._recipient(request)
        except FormatError as error:
            raise RequestDistrusted(error.code, "the request is not what the QR code was made for") from None
        if self._clock() >= request.expires:
            raise RequestDistrusted("request-expired", "the request has ended")
        if request.upload != self._public_url:
            raise RequestDistrusted("other-door", "the request wants an upload to another host")
        if request.id_hint is not None and request.id_hint != identifier:
            raise RequestDistrusted("other-request", "the door handed over another request")
        return ScannedRequest(identifier, public_url, descriptor, request, recipient, secret)

    def submit_upload(self, bundle: bytes, scanned: ScannedRequest) -> SubmissionReceipt:
        """Cut, bind, encrypt and upload. The same bundle and request again give the same receipt."""
        record = self._prepare(bundle, scanned, "upload")
        if record["receipt"] is None:
            package = self._home.read(record["file"])
            if package is None:
                raise StateError("damaged", "the prepared submission is gone")
            reply = self._door.call(
                "POST",
                f"/v1/requests/{scanned.request_id}/submissions",
                package,
                headers={
                    "Akashi-Upload": upload_token(scanned.secret),
                    "Akashi-Withdraw": base64url_encode(sha256(base64url_decode(record["secret"]))),
                },
            )
            record["receipt"] = _receipt(reply.body)
            self._finish(record, scanned, "submitted")
        return SubmissionReceipt(scanned.request_id, record["receipt"], self._clock())

    def submit_mail(self, bundle: bytes, scanned: ScannedRequest) -> SubmissionReceipt:
        """The same by mail through the door's relay. Cannot be withdrawn; a repetition is not sent twice
        knowingly.
        """
        if scanned.request.mail is None:
            raise RequestDistrusted("no-mail", "the request names no mail address")
        record = self._prepare(bundle, scanned, "mail")
        if not record["mailed"]:
            package = self._home.read(record["file"])
            if package is None:
                raise StateError("damaged", "the prepared submission is gone")
            line = canonical_json({"request": scanned.request_id, "to": scanned.request.mail})
            self._door.call(
                "POST",
                "/v1/mail",
                line + b"\n" + package,
                headers={"Akashi-Upload": upload_token(scanned.secret)},
                timeout=60,
            )
            record["mailed"] = True
            self._finish(record, scanned, "mailed")
        return SubmissionReceipt(scanned.request_id, None, self._clock())

    def withdraw(self, receipt: str) -> None:
        """Take an upload back. Raises: StateError for an unknown receipt, PhoneError("already-fetched")."""
        record = next((r for r in self._home.state["submissions"].values() if r["receipt"] == receipt), None)
        if record is None:
            raise StateError("unknown-receipt", "this phone has no such receipt")
        if record["withdrawn"]:
            return
        try:
            self._door.call(
                "DELETE",
                f"/v1/requests/{record['request']}/submissions/{receipt}",
                headers={"Akashi-Withdraw-Secret": record["secret"]},
            )
        except DoorRefused as error:
            # 404 after a lost answer: withdrawn, or its time is over. Either way nobody fetches it now.
            if error.status != 404:
                raise PhoneError("already-fetched", "the recipient has fetched it already") from None
        record["withdrawn"] = True
        self._note("withdrawn", record["request"])

    def _recipient(self, request: SubmissionRequest) -> RecipientStatement | None:
        if request.statement is None:
            return None
        now = int(self._clock().timestamp())
        statement = verify_recipient_statement(
            request.statement.encode("utf-8"), self._statement_key, city=self._city, now=now
        )
        fits = (
            statement.name == request.name,
            statement.corporate_number == request.corporate_number,
            statement.upload == request.upload,
            same_thumbprint(statement.signing_key, thumbprint(request.signing_key)),
            # Every key must be the company's: one stranger's key would read it all.
            {thumbprint(key) for key in request.keys} <= set(statement.keys),
        )
        if not all(fits):
            raise FormatError("other-recipient", "the city's statement is about somebody else")
        return statement

    def _prepare(self, bundle: bytes, scanned: ScannedRequest, way: str) -> dict[str, Any]:
        name = base64url_encode(sha256(b"\x00".join([way.encode(), scanned.descriptor, sha256(bundle)])))
        known = self._home.state["submissions"].get(name)
        if known is not None and not known["withdrawn"]:
            return known
        presentation = build_presentation(
            bundle, scanned.request, scanned.descriptor, self._sign, self._clock()
        )
        package = pack(
            presentation, scanned.request.keys, content_type=PRESENTATION_TYPE, random=self._random
        )
        file = f"outbox/{name}.akashi"
        self._home.write(file, package)
        record = {
            "file": file,
            "mailed": False,
            "receipt": None,
            "request": scanned.request_id,
            # Stored before the upload: who loses the answer can still withdraw.
            "secret": base64url_encode(self._random(32)),
            "way": way,
            "withdrawn": False,
        }
        self._home.state["submissions"][name] = record
        self._home.save()
        return record

    def _finish(self, record: dict[str, Any], scanned: ScannedRequest, event: str) -> None:
        self._note(event, scanned.request_id)
        self._home.remove(record["file"])

    def _note(self, event: str, reference: str) -> None:
        line = {"at": format_instant(self._clock()), "event": event, "reference": reference}
        self._home.state["history"].append(line)
        self._home.save()


def _receipt(body: bytes) -> str:
    try:
        value = parse_json(body, max_bytes=4096)
        receipt = value["receipt"] if isinstance(value, dict) else None
    except (FormatError, KeyError):
        receipt = None
    if not isinstance(receipt, str) or not 16 <= len(receipt) <= 64 or not receipt.isascii():
        raise DoorDistrusted("bad-door-answer", "the door gave no receipt")
    if not receipt.replace("-", "").replace("_", "").isalnum():
        raise DoorDistrusted("bad-door-answer", "the door gave no receipt")
    return receipt
