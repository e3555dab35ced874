"""The request file: what an employer's desk keeps of a request that it has made.

JSON {"v":1,"descriptor":JWS text,"id"?:ten characters,"public_url"?:"https://host"}. The bare descriptor
(one line of JWS) is accepted as well; line ends of Windows are tolerated.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from verifier.errors import FormatError
from verifier.formats.encoding import JSON, parse_json
from verifier.formats.submission_request import format_request_qr, parse_submission_request, request_secret

MAX_REQUEST_FILE_BYTES: Final = 64 << 10


@dataclass(frozen=True, slots=True)
class RequestFile:
    """descriptor (JWS bytes); id and public_url once the street door holds it."""

    descriptor: bytes
    id: str | None = None
    public_url: str | None = None

    @property
    def qr_text(self) -> str:
        """The text of the QR code. Raises: FormatError("not-posted") before the door has given an id."""
        if self.id is None or self.public_url is None:
            raise FormatError("not-posted", "the street door does not hold the request yet")
        return format_request_qr(self.public_url, self.id, request_secret(self.descriptor))


def format_request_file(request: RequestFile) -> bytes:
    """Indented JSON."""
    value: dict[str, JSON] = {"v": 1, "descriptor": request.descriptor.decode("ascii")}
    if request.id is not None:
        value["id"] = request.id
    if request.public_url is not None:
        value["public_url"] = request.public_url
    return json.dumps(value, indent=1).encode("ascii") + b"\n"


def parse_request_file(data: bytes) -> RequestFile:
    """The file with its descriptor checked. Raises: LimitError, FormatError."""
    text = data.removeprefix(b"\xef\xbb\xbf").strip()
    if not text.startswith(b"{"):
        parse_submission_request(text)
        return RequestFile(text)
    value = parse_json(text, max_bytes=MAX_REQUEST_FILE_BYTES)
    if not {"v", "descriptor"} <= set(value) <= {"v", "descriptor", "id", "public_url"} or value["v"] != 1:
        raise FormatError("bad-request-file", "wrong members or version")
    texts = {name: item for name, item in value.items() if name != "v"}
    if not all(isinstance(item, str) and item.isascii() for item in texts.values()):
        raise FormatError("bad-request-file", "members are ASCII text")
    descriptor = texts["descriptor"].encode("ascii")
    parse_submission_request(descriptor)
    return RequestFile(descriptor, texts.get("id"), texts.get("public_url"))
