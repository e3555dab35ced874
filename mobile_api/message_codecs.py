"""All kinds of bodies in one place: those of every certificate (`message_bodies`) and those of one subject each.

A module of a subject lists its kinds as `Codec`s; adding one here is all it takes. Two modules never share a word or a
class (tested).
"""

from __future__ import annotations

from typing import Any, Final

from mobile_api import counter_bodies, device_bodies, mandate_bodies, message_bodies, wallet_bodies
from mobile_api.body_fields import Codec
from verifier.formats.encoding import JSON

DEVICE_CODECS: Final[tuple[Codec, ...]] = (
    *wallet_bodies.DEVICE_CODECS,
    *device_bodies.DEVICE_CODECS,
    *mandate_bodies.DEVICE_CODECS,
    *counter_bodies.DEVICE_CODECS,
)
"""What a phone may say beside the kinds of `message_bodies`."""
ANSWER_CODECS: Final[tuple[Codec, ...]] = (
    *wallet_bodies.ANSWER_CODECS,
    *device_bodies.ANSWER_CODECS,
    *mandate_bodies.ANSWER_CODECS,
)
"""What the city may answer beside the kinds of `message_bodies`."""

DeviceBody = message_bodies.DeviceBody | Any
AnswerBody = message_bodies.AnswerBody | Any


def format_device_body(body: DeviceBody) -> tuple[str, JSON]:
    """Kind and JSON body. Raises: FormatError, LimitError when a member breaks a limit."""
    codec = next((codec for codec in DEVICE_CODECS if isinstance(body, codec.body)), None)
    return message_bodies.format_device_body(body) if codec is None else _write(codec, body)


def parse_device_body(kind: JSON, value: JSON) -> DeviceBody:
    """Inverse of `format_device_body`. Raises: FormatError, LimitError."""
    codec = next((codec for codec in DEVICE_CODECS if codec.kind == kind), None)
    return message_bodies.parse_device_body(kind, value) if codec is None else codec.parse(value)


def format_answer_body(body: AnswerBody) -> tuple[str, JSON]:
    """Kind and JSON body. Raises: FormatError, LimitError when a member breaks a limit."""
    codec = next((codec for codec in ANSWER_CODECS if isinstance(body, codec.body)), None)
    return message_bodies.format_answer_body(body) if codec is None else _write(codec, body)


def parse_answer_body(kind: JSON, value: JSON) -> AnswerBody:
    """Inverse of `format_answer_body`. Raises: FormatError, LimitError."""
    codec = next((codec for codec in ANSWER_CODECS if codec.kind == kind), None)
    return message_bodies.parse_answer_body(kind, value) if codec is None else codec.parse(value)


def _write(codec: Codec, body: Any) -> tuple[str, JSON]:
    value = codec.format(body)
    # What we would refuse to read we do not write.
    codec.parse(value)
    return codec.kind, value
