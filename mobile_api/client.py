"""The reference phone: everything a resident's app does, without a screen. Standard library HTTP,
resumable, suspicious.

The city's keys come from the trust list (`CityTrust`), never from the street door. Every step that goes out
is written to the state directory first, so a phone that is killed at any point goes on where it was and
nothing happens twice. A hostile door can make this phone wait; it cannot make it believe, decrypt or
encrypt anything false.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from mobile_api.door_client import DoorClient, ProofKey, Transport, UrllibTransport
from mobile_api.errors import (
    CityRefused,
    DoorDistrusted,
    DoorRefused,
    DoorUnavailable,
    NoAnswerYet,
    PackageLost,
    PackageMissing,
    PhoneError,
    RequestDistrusted,
    StateError,
)
from mobile_api.messages import (
    STAGES,
    CertificateRequest,
    ConfirmMail,
    DeviceBody,
    HistoryWish,
    MandateWish,
    OfferReady,
    RequestByMandate,
    RequestCertificate,
    format_instant,
    new_message_id,
    parse_counter_qr,
)
from mobile_api.phone_account import PhoneAccount
from mobile_api.phone_answers import note_distrust
from mobile_api.phone_correspondence import REPOST_SECONDS, Correspondence
from mobile_api.phone_counterparts import (
    Card,
    CardPasswords,
    CardSignature,
    CityTrust,
    PinnedTrust,
    trust_from_jwks,
)
from mobile_api.phone_devices import PhoneDevices
from mobile_api.phone_home import PhoneHome
from mobile_api.phone_mandates import PhoneMandates
from mobile_api.phone_offers import OfferWish, PhoneOffers
from mobile_api.phone_registration import PhoneRegistration
from mobile_api.phone_submissions import PhoneSubmissions, ScannedRequest, SubmissionReceipt
from mobile_api.phone_wishes import find_wish, in_order, note_fetched, note_missing
from verifier.errors import FormatError
from verifier.formats.encoding import base64url_encode, sha256
from verifier.formats.jose import agreement, es256_signer, thumbprint
from verifier.formats.names import BUNDLE_TYPE, PACKAGE_TYPE
from verifier.formats.package import open_package, pack

__all__ = [
    "Card",
    "CardPasswords",
    "CardSignature",
    "CityRefused",
    "CityTrust",
    "DoorDistrusted",
    "DoorRefused",
    "DoorUnavailable",
    "NoAnswerYet",
    "OfferReady",
    "OfferWish",
    "PackageLost",
    "PackageMissing",
    "Phone",
    "PhoneError",
    "PinnedTrust",
    "RequestDistrusted",
    "ScannedRequest",
    "StateError",
    "SubmissionReceipt",
    "trust_from_jwks",
]

DOCUMENT_KIND: Final = "income_certificate"
DEFAULT_WAIT: Final = 120.0


class Phone:
    """One phone with its state directory `home`, one street door, one city. Use as a context manager.

    `base_url` is where the door is reached (in the demo another address than `trust.public_url`).
    `repost_after`: seconds of silence after which a message is posted again.
    """

    def __init__(
        self,
        home: Path,
        base_url: str,
        trust: CityTrust,
        *,
        transport: Transport | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        random: Callable[[int], bytes] = os.urandom,
        sleep: Callable[[float], None] = time.sleep,
        attempts: int = 4,
        repost_after: float = REPOST_SECONDS,
    ) -> None:
        self._home = PhoneHome(home)
        self._trust = trust
        self._clock = clock
        self._random = random
        self._door = DoorClient(
            base_url,
            transport=transport or UrllibTransport(),
            clock=clock,
            random=random,
            sleep=sleep,
            attempts=attempts,
        )
        self._kid = thumbprint(self._home.signing_key.public_key())
        self._encryption_kid = thumbprint(self._home.encryption_key.public_key())
        self._sign = es256_signer(self._home.signing_key)
        self._proof = ProofKey(self._kid, self._sign)
        self._letters = Correspondence(
            self._home,
            self._door,
            trust,
            proof=self._proof,
            clock=clock,
            random=random,
            sleep=sleep,
            repost_after=repost_after,
        )
        self._door_account = PhoneAccount(self._home, self._door, self._proof, city=trust.city, clock=clock)
        self._registration = PhoneRegistration(self._home, self._letters, self._door_account)
        self.devices = PhoneDevices(self._letters)
        self.mandates = PhoneMandates(
            self._home, self._letters, self._door_account, city=trust.city, clock=clock, random=random
        )
        self._offers = PhoneOffers(
            self._home,
            self._letters,
            statement=self._door_account.statement,
            new_key=lambda: new_message_id(self._random),
        )
        self._submissions = PhoneSubmissions(
            self._home,
            self._door,
            city=trust.city,
            public_url=trust.public_url,
            statement_key=trust.statement_key,
            sign=self._sign,
            clock=clock,
            random=random,
        )

    def __enter__(self) -> Phone:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the state directory."""
        self._home.close()

    # What is known

    @property
    def account(self) -> str | None:
        """The account at the street door."""
        return self._state["account"]

    @property
    def is_registered(self) -> bool:
        """Whether the city has confirmed the binding of the card to this phone."""
        return self._registration.is_done

    @property
    def signing_thumbprint(self) -> str:
        """RFC 7638 thumbprint of the signing key."""
        return self._kid

    @property
    def encryption_thumbprint(self) -> str:
        """RFC 7638 thumbprint of the encryption key."""
        return self._encryption_kid

    @property
    def distrusted(self) -> tuple[str, ...]:
        """Reasons why answers of the door were not believed, oldest first."""
        return tuple(self._state["distrusted"])

    def notices(self) -> list[dict[str, str]]:
        """Signed notices of the city: at, code, message_ja, message_en."""
        return [dict(line) for line in self._state["notices"]]

    def history(self) -> list[dict[str, str]]:
        """What this phone did: at, event, reference."""
        return [dict(line) for line in self._state["history"]]

    def requests(self) -> list[dict[str, Any]]:
        """Requests of this phone, the newest last: id, fiscal_year, purpose, state (of phone_wishes), stages."""
        names = ("fiscal_year", "purpose", "state", "stages", "city_request")
        return [{"id": key, **{name: entry[name] for name in names}} for key, entry in in_order(self._state)]

    # Registration

    def sign_up(
        self, card: Card, passwords: CardPasswords, mail: str | None = None, *, timeout: float = DEFAULT_WAIT
    ) -> None:
        """Make an account, let the card sign for this phone's keys, wait for the city's word. Resumable.

        Raises: CityRefused, NoAnswerYet (call again: nothing is signed twice), DoorUnavailable,
        DoorRefused, and what the card raises.
        """
        self._registration.by_card(card, passwords, mail, timeout)

    def register_by_code(self, qr: str, *, timeout: float = DEFAULT_WAIT) -> None:
        """Register as a demonstration resident with the counter's QR code, without a card (模擬/MOCK). Resumable.

        Raises: FormatError("bad-counter-qr"), and as `sign_up`.
        """
        self._registration.by_code(parse_counter_qr(qr, self._trust.public_url), timeout)

    def confirm_mail(self, code: str, *, timeout: float = DEFAULT_WAIT) -> None:
        """Send the code from the mail and wait for the city's word. Raises: CityRefused, NoAnswerYet."""
        self._letters.ask(ConfirmMail(code), timeout)

    def stop_device(self, signing_thumbprint: str, *, timeout: float = DEFAULT_WAIT) -> None:
        """Stop a device of the same resident (also this one). Raises: CityRefused, NoAnswerYet."""
        self.devices.stop(signing_thumbprint, timeout)

    def ask_history(self, *, timeout: float = DEFAULT_WAIT) -> list[dict[str, str]]:
        """The city's own list: at, code, message_ja, message_en. Raises: CityRefused, NoAnswerYet."""
        return list(self._letters.ask(HistoryWish(), timeout).get("entries", []))

    # Certificates

    def request_certificate(
        self,
        fiscal_year: int,
        purpose: str,
        card: Card,
        pin: str,
        *,
        document_kind: str = DOCUMENT_KIND,
        mandate: str | None = None,
    ) -> str:
        """Ask for a certificate; the card's authentication goes over the request. Returns the request's id.

        The id is the idempotency key (the city's own id comes with its answers). A request of the same
        kind, year and purpose that is under way (until its package was fetched) is gone on with instead of
        making a second one, also after a kill at any point. One that is gone is not: the wish begins anew.
        `mandate`: ask for the person who gave it, with one's own card.
        """
        if not self.is_registered:
            raise StateError("not-registered", "sign up first")
        wish = {
            "document_kind": document_kind,
            "fiscal_year": fiscal_year,
            "mandate": mandate,
            "purpose": purpose,
        }
        key, entry = find_wish(self._state, wish, lambda: new_message_id(self._random))
        # Written before the card is asked: whatever happens next, this wish has this key until it ends.
        self._home.save()
        if entry["message"] is None:
            members = (document_kind, fiscal_year, purpose, key)
            asked = CertificateRequest(*members) if mandate is None else MandateWish(*members, mandate)
            kind = "request" if mandate is None else "request_by_mandate"
            statement = self._door_account.statement(kind, asked.digest())
            by_card = card.authenticate(pin, statement.encode("utf-8"))
            evidence = (statement, by_card.certificate, by_card.signature)
            body: DeviceBody = (
                RequestByMandate(asked, *evidence)
                if isinstance(asked, MandateWish)
                else RequestCertificate(asked, *evidence)
            )
            entry["message"] = self._letters.write(body, request=key)
            entry["state"] = "sent"
            self._home.save()
        self._letters.post(entry["message"])
        return key

    def wait(self, request_id: str, *, timeout: float = DEFAULT_WAIT) -> Iterator[str]:
        """Yield the stages as the city reports them (known ones first), until the package is ready.

        Posts the request again when nothing is heard. Raises: CityRefused (signed), PackageLost,
        NoAnswerYet at the time-out, DoorUnavailable.
        """
        entry = self._request(request_id)
        if entry["message"] is None:
            raise StateError("not-sent", "the request was not sent yet; ask for it again")
        end: float | None = None
        told: set[str] = set()
        while True:
            for stage in STAGES:
                if stage in entry["stages"] and stage not in told:
                    told.add(stage)
                    yield stage
            if entry["state"] in ("ready", "fetched"):
                if "ready" not in told:
                    yield "ready"
                return
            self._letters.raise_refusal(entry["message"])
            if entry["state"] == "gone":
                raise PackageLost("package-lost", "the street door has lost this request's package")
            longest = self._letters.repost(entry["message"])
            if end is None:
                # From here on, so that what was posted is asked for at least once, however long posting took.
                end = time.monotonic() + timeout
            self._letters.poll(end, longest=longest)

    def fetch_package(self, request_id: str) -> Path:
        """Fetch the package, check it against the city's word, store it, let the door delete it.

        Raises: DoorDistrusted when the bytes are not those the city announced (nothing is kept),
        PackageMissing when the door has not got it (`wait` has the city put it there again), PackageLost
        when it has not got it after that either.
        """
        entry = self._request(request_id)
        if entry["state"] == "fetched":
            self._letters.forget(entry["message"])
            return self._home.directory / entry["file"]
        if entry["state"] not in ("ready", "missing"):
            raise StateError("not-ready", "the package is not ready yet")
        path = f"/v1/accounts/{self._account()}/packages/{entry['package']}"
        try:
            data = self._door.call("GET", path, proof=self._proof).body
        except DoorRefused as error:
            if error.status != 404:
                raise
            raise self._missing(request_id, entry) from error
        if base64url_encode(sha256(data)) != entry["sha256"]:
            note_distrust(self._state, "package-substituted")
            # Other bytes are as good as none: the city is asked to put the right ones there again.
            self._missing(request_id, entry)
            raise DoorDistrusted("package-substituted", "not the package that the city announced")
        file = f"packages/{entry['package']}.akashi"
        self._open_bytes(data)
        self._home.write(file, data)
        note_fetched(entry, self._state["messages"][entry["message"]], file)
        self._note("fetched", request_id)
        self._letters.forget(entry["message"])
        try:
            self._door.call("DELETE", path, proof=self._proof)
        except PhoneError:
            # It is ours already; the door deletes it after its time anyway.
            return self._home.directory / file
        return self._home.directory / file

    def receive(self, request_id: str, *, timeout: float = DEFAULT_WAIT) -> Path:
        """Wait and fetch, also when the door loses the package in between. Raises as both do."""
        end = time.monotonic() + timeout
        while True:
            for _ in self.wait(request_id, timeout=max(0.0, end - time.monotonic())):
                pass
            try:
                return self.fetch_package(request_id)
            except PackageMissing:
                if time.monotonic() >= end:
                    raise

    def open(self, request_id: str) -> bytes:
        """The bundle's bytes of a fetched certificate: the newest evidence if it was refreshed."""
        entry = self._request(request_id)
        if entry["state"] != "fetched":
            raise StateError("not-fetched", "fetch the package first")
        if entry.get("refreshed") is not None:
            refreshed = self._home.read(entry["refreshed"])
            if refreshed is not None:
                return self._open_bytes(refreshed)
        data = self._home.read(entry["file"])
        if data is None:
            raise StateError("damaged", "the package is gone from this phone")
        return self._open_bytes(data)

    def refresh_evidence(self, request_id: str, refresh: Callable[[bytes], bytes]) -> bytes:
        """Let `refresh` (bundle → bundle with newer evidence) work and keep the result, encrypted to this
        phone.

        `refresh` fetches public static files and must verify what it returns; the first package stays
        untouched.
        """
        renewed = refresh(self.open(request_id))
        entry = self._request(request_id)
        file = f"packages/{entry['package']}.refreshed.akashi"
        recipient = self._home.encryption_key.public_key()
        self._home.write(file, pack(renewed, [recipient], content_type=BUNDLE_TYPE, random=self._random))
        entry["refreshed"] = file
        self._home.save()
        return renewed

    def request_offer(
        self, wish: OfferWish, card: Card, pin: str, *, timeout: float = DEFAULT_WAIT
    ) -> OfferReady:
        """An offer to a wallet, wished by the card (see phone_offers). Raises as `request_certificate`, and CityRefused."""
        if not self.is_registered:
            raise StateError("not-registered", "sign up first")
        return self._offers.request(wish, card, pin, timeout=timeout)

    # Submission (see phone_submissions)

    def scan(self, text: str) -> ScannedRequest:
        """Read an employer's QR code. Raises: RequestDistrusted, DoorRefused, DoorUnavailable."""
        return self._submissions.scan(text)

    def submit_upload(self, bundle: bytes, scanned: ScannedRequest) -> SubmissionReceipt:
        """Hand over by upload. Raises: FormatError, DoorRefused, DoorUnavailable."""
        return self._submissions.submit_upload(bundle, scanned)

    def submit_mail(self, bundle: bytes, scanned: ScannedRequest) -> SubmissionReceipt:
        """Hand over by mail; cannot be withdrawn."""
        return self._submissions.submit_mail(bundle, scanned)

    def withdraw(self, receipt: str) -> None:
        """Take an unfetched upload back. Raises: PhoneError("already-fetched"), StateError."""
        self._submissions.withdraw(receipt)

    # Inside

    @property
    def _state(self) -> dict[str, Any]:
        return self._home.state

    def _account(self) -> str:
        return self._door_account.current()

    def _request(self, request_id: str) -> dict[str, Any]:
        entry = self._state["requests"].get(request_id)
        if entry is None:
            raise StateError("unknown-request", "this phone made no such request")
        return entry

    def _open_bytes(self, data: bytes) -> bytes:
        try:
            opened = open_package(data, self._encryption_kid, agreement(self._home.encryption_key))
        except FormatError as error:
            raise DoorDistrusted(error.code, "this package does not open with this phone's key") from None
        if (opened.typ, opened.content_type) != (PACKAGE_TYPE, BUNDLE_TYPE):
            raise DoorDistrusted("wrong-package-type", "this package holds no certificate")
        return opened.plaintext

    def _missing(self, request_id: str, entry: dict[str, Any]) -> PhoneError:
        note_missing(entry, lambda: self._letters.reopen(entry["message"]))
        if entry["state"] == "missing":
            self._home.save()
            return PackageMissing("package-missing", "the street door has not got the package")
        self._note("gone", request_id)
        self._letters.forget(entry["message"])
        return PackageLost("package-lost", "the street door has lost this request's package")

    def _note(self, event: str, reference: str) -> None:
        line = {"at": format_instant(self._clock()), "event": event, "reference": reference}
        self._state["history"].append(line)
        self._home.save()
