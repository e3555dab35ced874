"""How a log speaks to one witness. What comes back is verified before anybody sees it; a witness is never believed.

client = WitnessClient("w1", key, "https://w1.example/witness")
client.latest(log_key)                          # newest checkpoint it shows, with our own signature on it
client.add_checkpoint(request, text)            # a verified cosignature line, or WitnessBehind(size)
client.statement(request)                       # BLS key and signature, not verified yet
"""

from __future__ import annotations

import http.client
import time
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from chain.errors import LogUnavailable
from chain.floor import SeenHead
from chain.http_client import check_address
from chain.witness_protocol import (
    ADD_CHECKPOINT,
    ANCHOR_STATEMENT,
    MAX_ANSWER_BYTES,
    AddCheckpoint,
    StatementAnswer,
    StatementRequest,
    checkpoint_path,
    format_add_checkpoint,
    format_statement_request,
    parse_recorded_size,
    parse_statement_answer,
)
from verifier.errors import FormatError
from verifier.formats.checkpoint import verify_public_checkpoint
from verifier.formats.merkle import EMPTY_ROOT
from verifier.formats.signed_note import (
    MAX_NOTE_BYTES,
    SignatureLine,
    SignedNote,
    VerifierKey,
    parse_note,
    verify_known,
)

DEFAULT_SECONDS: Final = 5.0
PART_BYTES: Final = 8 << 10


class WitnessAway(LogUnavailable):
    """The witness did not answer, not in time, or nothing that can be used."""


class WitnessBehind(LogUnavailable):
    """409: the witness has another size recorded than the request says."""

    def __init__(self, name: str, recorded: int) -> None:
        super().__init__("witness-elsewhere", f"{name} has recorded size {recorded}")
        self.recorded = recorded


class WitnessRefused(LogUnavailable):
    """422: the witness says that the checkpoint does not extend what it has seen."""


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes


class WitnessClient:
    """One witness at one address; a connection a call, so that any thread may use it."""

    def __init__(self, name: str, key: VerifierKey, url: str, timeout: float = DEFAULT_SECONDS) -> None:
        """`name`: of the policy. `timeout` in seconds, for a whole call. Raises: SettingsError("bad-address")."""
        self.name = name
        self.key = key
        self._url = check_address(url)
        self._timeout = timeout

    def add_checkpoint(self, request: AddCheckpoint, text: str) -> SignatureLine:
        """Its verified cosignature over the checkpoint's `text`.

        Raises: WitnessBehind, WitnessRefused, WitnessAway.
        """
        answer = self._send("POST", ADD_CHECKPOINT, format_add_checkpoint(request))
        if answer.status == 200:
            return self._read_cosignature(answer.body, text)
        raise self._refusal(answer)

    def statement(self, request: StatementRequest) -> StatementAnswer:
        """Its BLS key and signature over the anchor statement; the caller verifies them.

        Raises: WitnessBehind (not cosigned yet), WitnessRefused, WitnessAway.
        """
        answer = self._send("POST", ANCHOR_STATEMENT, format_statement_request(request))
        if answer.status != 200:
            raise self._refusal(answer)
        try:
            return parse_statement_answer(answer.body)
        except FormatError as error:
            raise self._unusable(error) from error

    def latest(self, log_key: VerifierKey) -> SeenHead:
        """The newest checkpoint it shows, if our own key has signed that; size 0 if it has none.

        Raises: WitnessAway.
        """
        answer = self._send("GET", checkpoint_path(log_key.name))
        if answer.status == 404:
            return SeenHead(0, EMPTY_ROOT)
        if answer.status != 200:
            raise self._refusal(answer)
        try:
            checkpoint = verify_public_checkpoint(answer.body, log_key, [self.key]).checkpoint
        except FormatError as error:
            raise self._unusable(error) from error
        return SeenHead(checkpoint.size, checkpoint.root)

    def _read_cosignature(self, body: bytes, text: str) -> SignatureLine:
        # as C2SP suggests: put the lines below the text and read the whole as a note; unknown keys are passed over
        try:
            note = parse_note(text.encode("utf-8") + b"\n" + body)
            if note.text != text:
                raise FormatError("bad-answer", "another text")
            verify_known(note, [self.key])
        except FormatError as error:
            raise self._unusable(error) from error
        wanted = (self.key.name, self.key.key_id)
        return next(line for line in note.signatures if (line.name, line.key_id) == wanted)

    def _refusal(self, answer: _Answer) -> LogUnavailable:
        if answer.status == 409:
            try:
                return WitnessBehind(self.name, parse_recorded_size(answer.body))
            except FormatError as error:
                return self._unusable(error)
        if answer.status == 422:
            return WitnessRefused("witness-refused", f"{self.name} says that this is no extension")
        return WitnessAway("witness-away", f"{self.name} answers {answer.status}")

    def _unusable(self, error: FormatError) -> WitnessAway:
        return WitnessAway("witness-unusable", f"the answer of {self.name} cannot be used: {error.code}")

    def _send(self, method: str, path: str, body: bytes | None = None) -> _Answer:
        parts = urlsplit(self._url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        deadline = time.monotonic() + self._timeout
        connection = kind(parts.hostname or "", parts.port, timeout=self._timeout)
        try:
            connection.request(method, parts.path + path, body)
            answer = connection.getresponse()
            data = b""
            while part := answer.read1(PART_BYTES):
                data += part
                if len(data) > max(MAX_ANSWER_BYTES, MAX_NOTE_BYTES) or time.monotonic() > deadline:
                    raise WitnessAway("witness-away", f"{self.name} answers too much or too slowly")
            return _Answer(answer.status, data)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise WitnessAway(
                "witness-away", f"{self.name} does not answer: {type(error).__name__}"
            ) from error
        finally:
            connection.close()


def append_cosignatures(note: SignedNote, lines: list[SignatureLine]) -> SignedNote:
    """The note with these lines below its own."""
    return SignedNote(note.text, (*note.signatures, *lines))
