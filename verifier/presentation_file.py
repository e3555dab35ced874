"""The result file: what a desk keeps of a request to a wallet of others until the answer has come, and the answer itself.

`<id>.json` holds the signed request, the door, and the private key of the answer, encrypted to the desk's own key (so a
result file opens nothing without the key file). `<id>.json.answer` holds the one answer that was taken: it is made by
linking a finished file to its name, which the file system does for exactly one process. Later looks read it from there, so
a program that dies in between loses nothing, and another answer to the same request is never taken.

    {"v":1,"request":"<JWS>","key":"<compact JWE>","door":"https://…","desk":"<path of the key file>"}
    {"v":1,"response":"<compact JWE>","received":"2026-11-20T03:00:00Z"}
"""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from verifier.errors import FormatError, UsageError
from verifier.formats.compact_jwe import encrypt_compact, open_compact
from verifier.formats.encoding import JSON, parse_json
from verifier.formats.jose import agreement
from verifier.formats.presentation_request import (
    MAX_REQUEST_OBJECT_BYTES,
    PresentationRequest,
    parse_presentation_request,
)
from verifier.formats.presentation_response import MAX_RESPONSE_BYTES
from verifier.formats.submission_request import format_instant, parse_instant
from verifier.key_file import load_private_key_scalar, private_key_scalar, write_key_file
from verifier.presentation_door import Answered

MAX_RESULT_FILE_BYTES: Final = MAX_REQUEST_OBJECT_BYTES + (16 << 10)
ANSWER_SUFFIX: Final = ".answer"


@dataclass(frozen=True, slots=True)
class PendingPresentation:
    """A request that waits for its answer.

    request   the signed request object
    key       private half of its encryption key, as a compact JWE to the desk's encryption key
    door      base address at which the desk reaches the street door
    desk      path of the desk's key file, as it was when the request was made
    """

    request: bytes
    key: bytes
    door: str
    desk: str

    @property
    def asked(self) -> PresentationRequest:
        """The request taken apart (its form was checked when the file was read)."""
        return parse_presentation_request(self.request)

    def open_key(self, desk: ec.EllipticCurvePrivateKey) -> ec.EllipticCurvePrivateKey:
        """The private key of the answer. Raises: FormatError("decryption-failed" | "bad-key", …)."""
        return load_private_key_scalar(open_compact(self.key, agreement(desk)))


def seal_key(key: ec.EllipticCurvePrivateKey, desk: ec.EllipticCurvePublicKey) -> bytes:
    """The private key of an answer, encrypted to the desk's encryption key."""
    return encrypt_compact(private_key_scalar(key), desk)


def write_pending(path: Path, pending: PendingPresentation) -> None:
    """Write a new result file, for its owner only; never over another. Raises: UsageError."""
    value = {
        "v": 1,
        "request": pending.request.decode("ascii"),
        "key": pending.key.decode("ascii"),
        "door": pending.door,
        "desk": pending.desk,
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise UsageError("cannot-write", f"{path.parent.name}: {error.strerror}") from error
    write_key_file(path, json.dumps(value, indent=1).encode("ascii") + b"\n")


def read_pending(path: Path) -> PendingPresentation:
    """Raises: UsageError("cannot-read"), LimitError, FormatError."""
    texts = _texts(_read(path, MAX_RESULT_FILE_BYTES), {"request", "key", "door", "desk"})
    request = texts["request"].encode("utf-8", "surrogatepass")
    parse_presentation_request(request)
    return PendingPresentation(
        request, texts["key"].encode("utf-8", "surrogatepass"), texts["door"], texts["desk"]
    )


def read_answer(path: Path) -> Answered | None:
    """The answer that was taken for the result file `path`, if any. Raises: UsageError, LimitError, FormatError."""
    file = _answer_path(path)
    if not file.exists():
        return None
    texts = _texts(_read(file, 2 * MAX_RESPONSE_BYTES), {"response", "received"})
    return Answered(texts["response"].encode("utf-8", "surrogatepass"), parse_instant(texts["received"]))


def take_answer(path: Path, answer: Answered) -> bool:
    """Take `answer` for the result file `path`. Of several processes exactly one makes the file.

    False: another answer was taken before. The same bytes again are the same answer.
    Raises: UsageError("cannot-write", …), LimitError, FormatError.
    """
    file = _answer_path(path)
    try:
        text = answer.response.decode("ascii")
    except UnicodeDecodeError as error:
        raise FormatError("bad-jwe", "a compact JWE is ASCII") from error
    value = {"v": 1, "response": text, "received": format_instant(answer.received)}
    fresh = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
        try:
            with os.fdopen(descriptor, "wb") as opened:
                opened.write(json.dumps(value).encode("ascii") + b"\n")
                opened.flush()
                os.fsync(opened.fileno())
            os.link(fresh, file)
        except FileExistsError:
            known = read_answer(path)
            return known is not None and known.response == answer.response
        finally:
            fresh.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError("cannot-write", f"{file.name}: {error.strerror}") from error
    return True


def _answer_path(path: Path) -> Path:
    return path.with_name(path.name + ANSWER_SUFFIX)


def _read(path: Path, limit: int) -> JSON:
    try:
        with path.open("rb") as opened:
            data = opened.read(limit + 1)
    except OSError as error:
        raise UsageError("cannot-read", f"{path.name}: {error.strerror}") from error
    return parse_json(data, max_bytes=limit)


def _texts(value: JSON, names: set[str]) -> dict[str, str]:
    if not isinstance(value, dict) or set(value) != names | {"v"} or value["v"] != 1 or value["v"] is True:
        raise FormatError("bad-result-file", "wrong members or version")
    texts = {name: value[name] for name in names}
    if not all(isinstance(text, str) for text in texts.values()):
        raise FormatError("bad-result-file", "members are text")
    return texts
