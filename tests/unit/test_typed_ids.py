"""Ids that people type on a command line never look like an option of it."""

from __future__ import annotations

import pytest

from mobile_api.forms import item_id, random_id
from mobile_api.messages import new_message_id
from verifier.formats.encoding import base64url_encode


@pytest.mark.parametrize("first", range(256))
def test_no_id_begins_like_an_option(first: int) -> None:
    raw = bytes([first]) + b"\xff" * 15
    for made in (random_id(raw), new_message_id(lambda _size: raw)):
        assert item_id(made) == made
        assert made[0] not in "-_"


def test_control_some_random_bytes_would() -> None:
    assert base64url_encode(b"\xfb" + bytes(15))[0] == "-"
