"""Status lists: the draft's examples, bombs, and tokens of another shape."""

import json
import re
import zlib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from verifier.errors import FormatError, LimitError
from verifier.formats.encoding import base64url_encode, canonical_json
from verifier.formats.jose import build_jws, es256_signer
from verifier.formats.status_list import MAX_LIST_BYTES, build_status_list, inflate, parse_status_list

KEY = ec.derive_private_key(13, ec.SECP256R1())
FOREIGN = Path(__file__).parents[3] / "shared/vectors/token-status-list"


def token(**changes):
    payload = {
        "sub": "https://s/1",
        "iat": 1,
        "status_list": {"bits": 1, "lst": base64url_encode(zlib.compress(b"\x02\x00"))},
        **changes,
    }
    payload = {name: value for name, value in payload.items() if value is not None}
    return build_jws({"typ": "statuslist+jwt"}, canonical_json(payload), es256_signer(KEY))


def test_round_trip():
    data = build_status_list(
        uri="https://s/1", issued=5, expires=9, ttl=2, raw=b"\x10\x00", header={}, sign=es256_signer(KEY)
    )
    parsed = parse_status_list(data)
    parsed.jws.verify(KEY.public_key())
    assert [parsed.status(n) for n in range(16)] == [0] * 4 + [1] + [0] * 11
    assert (parsed.uri, parsed.issued, parsed.expires, parsed.ttl) == ("https://s/1", 5, 9, 2)


def test_a_line_end_after_the_token_is_tolerated():
    assert parse_status_list(token() + b"\r\n").status(1) == 1


@pytest.mark.parametrize("index", [-1, 16, 1 << 40])
def test_an_index_outside_the_list_has_no_status(index):
    with pytest.raises(FormatError, match="index-out-of-range"):
        parse_status_list(token()).status(index)


@pytest.mark.parametrize(
    "change",
    [
        {"sub": None},
        {"sub": ""},
        {"iat": None},
        {"iat": True},
        {"exp": "soon"},
        {"status_list": {"bits": 3, "lst": ""}},
        {"status_list": {"bits": True, "lst": ""}},
        {"status_list": {"bits": 1, "lst": 5}},
        {"status_list": {"bits": 1, "lst": base64url_encode(b"no zlib")}},
        {"status_list": {"bits": 1, "lst": "", "aggregation_uri": "https://x"}},
        {"unknown": 1},
    ],
)
def test_other_tokens_are_refused(change):
    with pytest.raises(FormatError):
        parse_status_list(token(**change))


def test_another_type_of_token_is_refused():
    with pytest.raises(FormatError, match="bad-typ"):
        parse_status_list(build_jws({"typ": "JWT"}, b"{}", es256_signer(KEY)))


def test_a_bomb_stops_at_the_limit():
    bomb = zlib.compress(bytes(64 << 20), 9)
    with pytest.raises(LimitError, match="status-list-too-large"):
        inflate(bomb)
    assert len(inflate(zlib.compress(bytes(MAX_LIST_BYTES)))) == MAX_LIST_BYTES


@pytest.mark.parametrize("spoil", [lambda d: d[:-1], lambda d: d + b"x", lambda d: b"", lambda d: d[:6]])
def test_streams_end_where_they_end(spoil):
    with pytest.raises(FormatError):
        inflate(spoil(zlib.compress(b"abc" * 50)))


def foreign(name):
    text = (FOREIGN / name).read_text(encoding="utf-8")
    bits = int(re.search(r'"bits":\s*(\d)', text)[1])
    lst = re.sub(r"\s+", "", re.search(r'"lst":\s*"([^"]+)"', text)[1])
    return text, parse_status_list(token(status_list={"bits": bits, "lst": lst}))


needs_vectors = pytest.mark.skipif(not FOREIGN.is_dir(), reason="foreign vectors are not beside the project")


@needs_vectors
@pytest.mark.parametrize("name", ["status_list_encoding_json.md", "status_list_encoding2_json.md"])
def test_short_examples_of_the_draft(name):
    text, parsed = foreign(name)
    expected = bytes(int(byte, 16) for byte in re.findall(r"0x([0-9a-f]{2})", text.splitlines()[0]))
    assert parsed.raw == expected
    mask = (1 << parsed.bits) - 1
    number = int.from_bytes(expected, "little")
    for index in range(8 * len(expected) // parsed.bits):
        assert parsed.status(index) == number >> index * parsed.bits & mask


@needs_vectors
def test_long_example_of_the_draft():
    """Appendix "1-bit Status List": 2**20 entries, these eleven are set."""
    _, parsed = foreign("status_list_encoding1_long_json.md")
    expected = [0, 1993, 25460, 159495, 495669, 554353, 645645, 723232, 854545, 934534, 1000345]
    assert [n for n in range(1 << 20) if parsed.raw[n >> 3] and parsed.status(n)] == expected


@needs_vectors
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_wide_examples_of_the_draft_have_their_size(bits):
    _, parsed = foreign(f"status_list_encoding{bits}{'_long' if bits == 2 else ''}_json.md")
    assert parsed.bits == bits
    assert len(parsed.raw) == (1 << 20) * bits // 8
    assert any(parsed.raw)


def test_json_of_the_token_is_strict():
    raw = json.dumps({"sub": "x", "iat": 1.5, "status_list": {"bits": 1, "lst": ""}}).encode()
    with pytest.raises(FormatError, match="float"):
        parse_status_list(build_jws({"typ": "statuslist+jwt"}, raw, es256_signer(KEY)))
