"""The phone's letters: sealed into an outbox before they go out, answers taken in when the city really signed them.

A letter is posted until the door took it, and the same bytes again, more and more seldom, when nothing comes back: a door
may lose a letter or an answer. The city knows message ids, so nothing happens twice; it says again what it said last.
Which answers are believed: `phone_answers`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from mobile_api.door_client import DoorClient, ProofKey
from mobile_api.errors import CityRefused, DoorDistrusted, NoAnswerYet, PhoneError, StateError
from mobile_api.messages import (
    CityAnswer,
    DeviceBody,
    DeviceRequest,
    build_device_request,
    format_device_body,
    new_message_id,
    open_answer,
    seal_envelope,
    verify_answer,
)
from mobile_api.phone_answers import apply_answer, check_answer, note_distrust
from mobile_api.phone_counterparts import CityTrust
from mobile_api.phone_home import PhoneHome
from verifier.errors import FormatError
from verifier.formats.encoding import JSON, base64_decode, parse_json
from verifier.formats.jose import agreement, thumbprint

POLL_SECONDS: Final = 15
REPOST_SECONDS: Final = 120
"""How long nothing is heard about a letter before it is posted again; twice as long each time."""
MAX_DOUBLINGS: Final = 6
MAX_REPLY_BYTES: Final = 7 << 20


class Correspondence:
    """Letters of one phone with one city through one street door."""

    def __init__(
        self,
        home: PhoneHome,
        door: DoorClient,
        trust: CityTrust,
        *,
        proof: ProofKey,
        clock: Callable[[], datetime],
        random: Callable[[int], bytes],
        sleep: Callable[[float], None],
        repost_after: float = REPOST_SECONDS,
    ) -> None:
        self._home = home
        self._door = door
        self._trust = trust
        self._proof = proof
        self._clock = clock
        self._random = random
        self._sleep = sleep
        self._repost_after = repost_after
        self._kid = thumbprint(home.encryption_key.public_key())
        self._statement_keys = {thumbprint(trust.statement_key): trust.statement_key}

    def ask(self, body: DeviceBody, timeout: float) -> dict[str, Any]:
        """Write, post, await: the message's entry with its outcome. Raises: CityRefused, NoAnswerYet."""
        message = self.write(body)
        self._home.save()
        self.post(message)
        self.await_outcome(message, timeout)
        return self._entry(message)

    def write(self, body: DeviceBody, *, request: str | None = None) -> str:
        """Seal a message into the outbox; its id.

        The caller saves the state, so that the record and what refers to it appear together.
        """
        message = new_message_id(self._random)
        wire = DeviceRequest(self._trust.city, self._account(), message, self._clock(), body)
        signed = build_device_request(wire, self._proof.kid, self._proof.sign)
        self._home.write(_file(message), seal_envelope(signed, self._trust.envelope_key, self._random))
        self._home.state["messages"][message] = {
            "heard": None,
            "kind": format_device_body(body)[0],
            "last_sequence": 0,
            "outcome": None,
            "posted": None,
            "reposts": 0,
            "request": request,
        }
        return message

    def post(self, message: str) -> None:
        """Hand the message to the door, unless that was done. Raises: DoorUnavailable, DoorRefused."""
        entry = self._entry(message)
        if entry["posted"] is None and entry["outcome"] is None:
            self._post(message)

    def repost(self, message: str) -> float:
        """Post again what is not answered and about which nothing was heard for a while.

        Returns the seconds until that is due again. Raises: DoorUnavailable, DoorRefused.
        """
        entry = self._entry(message)
        if entry["outcome"] is not None:
            return POLL_SECONDS
        if entry["posted"] is None:
            self._post(message)
        silent = int(self._clock().timestamp()) - max(entry["posted"], entry.get("heard") or 0)
        patience = self._patience(entry)
        if silent < patience:
            return patience - silent
        self._post(message)
        entry["reposts"] = entry.get("reposts", 0) + 1
        self._home.save()
        return self._patience(entry)

    def _patience(self, entry: dict[str, Any]) -> float:
        return self._repost_after * 2.0 ** min(entry.get("reposts", 0), MAX_DOUBLINGS)

    def reopen(self, message: str) -> bool:
        """Await an answer to an answered message once more. False: its envelope is gone, nothing can be asked.

        The caller saves the state.
        """
        if self._home.read(_file(message)) is None:
            return False
        self._entry(message).update(outcome=None, reposts=0)
        return True

    def forget(self, message: str) -> None:
        """The message's envelope is not needed any more."""
        self._home.remove(_file(message))

    def _post(self, message: str) -> None:
        envelope = self._home.read(_file(message))
        if envelope is None:
            raise StateError("damaged", "a prepared message is gone")
        self._door.call("POST", f"/v1/accounts/{self._account()}/envelopes", envelope, proof=self._proof)
        self._entry(message)["posted"] = int(self._clock().timestamp())
        self._home.save()

    def await_outcome(self, message: str, timeout: float) -> None:
        """Wait for the final answer. Raises: CityRefused, NoAnswerYet."""
        end: float | None = None
        while self._entry(message)["outcome"] is None:
            longest = self.repost(message)
            if end is None:
                end = time.monotonic() + timeout
            self.poll(end, longest=longest)
        self.raise_refusal(message)

    def raise_refusal(self, message: str) -> None:
        """Raises: CityRefused if the city has refused this message."""
        refusal = self._entry(message).get("refusal")
        if refusal is not None:
            raise CityRefused(
                refusal["code"], refusal["message_ja"], refusal["message_en"], retry=refusal["retry"]
            )

    def poll(self, end: float, *, longest: float = POLL_SECONDS) -> None:
        """One long poll of `longest` seconds or less; takes in what is believable.

        Raises NoAnswerYet when `end` (monotonic) is over.
        """
        left = end - time.monotonic()
        if left <= 0:
            # Next time from the beginning: a cursor is only the door's word, and repetitions do no harm.
            self._home.state["cursor"] = 0
            self._home.save()
            raise NoAnswerYet("no-answer-yet", "the city has not answered yet")
        wait = max(0, int(min(POLL_SECONDS, left, longest + 1)))
        try:
            reply = self._door.call(
                "GET",
                f"/v1/accounts/{self._account()}/answers",
                query=f"after={self._home.state['cursor']}&wait={wait}",
                proof=self._proof,
                timeout=wait + 15,
            )
        except PhoneError:
            # A cursor that a hostile door drove out of every range must not outlive that door.
            self._home.state["cursor"] = 0
            self._home.save()
            raise
        items = read_members(reply.body, "answers")["answers"]
        if not isinstance(items, list):
            raise DoorDistrusted("bad-door-answer", "the door gave no list")
        believed = self._believe(self._open(items))
        if items:
            self._home.save()
        for message in believed:
            # "Ready" is not the end: until the package is here, the city may have to be asked again.
            if message is not None and self._entry(message)["outcome"] not in (None, "ready"):
                self.forget(message)
        if not believed:
            # A door that answers at once with nothing of worth must not make this phone spin.
            self._sleep(0.2)

    def _open(self, items: list[JSON]) -> list[CityAnswer]:
        state, opened = self._home.state, []
        for item in items:
            number = 0
            try:
                number, package = _answer_item(item)
                signed = open_answer(package, self._kid, agreement(self._home.encryption_key))
                opened.append(verify_answer(signed, self._statement_keys))
            except FormatError as error:
                note_distrust(state, error.code)
            state["cursor"] = max(state["cursor"], number)
        return sorted(opened, key=lambda answer: answer.sequence)

    def _believe(self, answers: list[CityAnswer]) -> list[str | None]:
        """Take in what is believable; the messages it answers."""
        state, believed = self._home.state, list[str | None]()
        for answer in answers:
            try:
                check_answer(answer, state, city=self._trust.city)
            except FormatError as error:
                # A repetition changes nothing and happens honestly, too (a poll from the beginning).
                if error.code not in ("replayed-answer", "repeated-answer"):
                    note_distrust(state, error.code)
                continue
            apply_answer(answer, state)
            believed.append(answer.in_reply_to)
            if answer.in_reply_to:
                self._entry(answer.in_reply_to)["heard"] = int(self._clock().timestamp())
        return believed

    def _entry(self, message: str) -> dict[str, Any]:
        return self._home.state["messages"][message]

    def _account(self) -> str:
        account = self._home.state["account"]
        if account is None:
            raise StateError("no-account", "sign up first")
        return account


def read_members(body: bytes, name: str) -> dict[str, JSON]:
    """A JSON object of the door with member `name`. Raises: DoorDistrusted."""
    try:
        value = parse_json(body, max_bytes=MAX_REPLY_BYTES)
    except FormatError as error:
        raise DoorDistrusted("bad-door-answer", error.code) from None
    if not isinstance(value, dict) or name not in value:
        raise DoorDistrusted("bad-door-answer", f"{name} is missing")
    return value


def _answer_item(item: JSON) -> tuple[int, bytes]:
    if not isinstance(item, dict) or set(item) != {"body", "n"} or type(item["n"]) is not int:
        raise FormatError("bad-door-answer", "an answer has body and n")
    if not isinstance(item["body"], str):
        raise FormatError("bad-door-answer", "body is base64")
    return max(0, item["n"]), base64_decode(item["body"])


def _file(message: str) -> str:
    return f"outbox/{message}.jwe"
