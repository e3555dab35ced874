"""The wide examples of the Token Status List draft, entry by entry, and broken twins of every encoding.

Read where they lie (`../shared/vectors/token-status-list`: draft-ietf-oauth-status-list, IETF code components).
The two short ones are written out, so that they run where the folder is absent too. The long list of one bit is
in `tests/unit/test_verifier_status_list.py`.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from verifier.errors import FormatError
from verifier.formats.encoding import canonical_json
from verifier.formats.jose import build_jws, es256_signer
from verifier.formats.status_list import StatusList, parse_status_list

VECTORS = Path(__file__).resolve().parents[3] / "shared" / "vectors" / "token-status-list"
needs_vectors = pytest.mark.skipif(
    not VECTORS.is_dir(),
    reason="foreign vectors absent: ../shared/vectors/token-status-list beside the project",
)
KEY = ec.derive_private_key(17, ec.SECP256R1())
FILES = {
    "status_list_encoding_json.md": 1,
    "status_list_encoding2_json.md": 2,
    "status_list_encoding1_long_json.md": 1,
    "status_list_encoding2_long_json.md": 2,
    "status_list_encoding4_json.md": 4,
    "status_list_encoding8_json.md": 8,
}
# The draft's section 4.1: bits, lst, and the statuses it lists.
SHORT = {
    "one bit": (1, "eNrbuRgAAhcBXQ", [1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1]),
    "two bits": (2, "eNo76fITAAPfAgc", [1, 2, 0, 3, 0, 1, 0, 1, 1, 2, 3, 3]),
}
SIZE = 1 << 20
# The draft's appendix "Test vectors for Status List encoding": every entry that is not 0.
TWO_BITS = {
    0: 1, 1993: 2, 25460: 1, 159495: 3, 495669: 1, 554353: 1, 645645: 2, 723232: 1, 854545: 1, 934534: 2,
    1000345: 3,
}  # fmt: skip
FOUR_BITS = {
    0: 1, 1993: 2, 35460: 3, 459495: 4, 595669: 5, 754353: 6, 845645: 7, 923232: 8, 924445: 9, 934534: 10,
    1004534: 11, 1000345: 12, 1030203: 13, 1030204: 14, 1030205: 15,
}  # fmt: skip
# Three of the 255.
EIGHT_BITS = {52451: 1, 576778: 2, 513575: 3}


def text_of(name: str) -> tuple[int, str]:
    if name in SHORT:
        return SHORT[name][0], SHORT[name][1]
    text = (VECTORS / name).read_text(encoding="utf-8")
    bits, lst = re.search(r'"bits":\s*(\d)', text), re.search(r'"lst":\s*"([^"]+)"', text)
    assert bits and lst
    return int(bits[1]), re.sub(r"\s+", "", lst[1])


def parse(bits: object, lst: str) -> StatusList:
    payload = {"sub": "https://s/1", "iat": 1, "status_list": {"bits": bits, "lst": lst}}
    return parse_status_list(build_jws({"typ": "statuslist+jwt"}, canonical_json(payload), es256_signer(KEY)))


def entries(status: StatusList) -> dict[int, int]:
    """Every entry that is not 0, by the reader's own look-up."""
    per_byte = 8 // status.bits
    touched = (n for n, byte in enumerate(status.raw) if byte)
    found = {n: status.status(n) for byte in touched for n in range(byte * per_byte, (byte + 1) * per_byte)}
    return {index: value for index, value in found.items() if value}


@needs_vectors
def test_every_file_of_the_folder_is_read() -> None:
    assert {path.name for path in VECTORS.iterdir()} == set(FILES)
    assert {name: text_of(name)[0] for name in FILES} == FILES
    assert [text_of(name) for name in list(FILES)[:2]] == [text_of(name) for name in SHORT]


@needs_vectors
@pytest.mark.parametrize(
    ("name", "expected"),
    [("status_list_encoding2_long_json.md", TWO_BITS), ("status_list_encoding4_json.md", FOUR_BITS)],
)
def test_entries_of_the_wide_examples(name: str, expected: dict[int, int]) -> None:
    status = parse(*text_of(name))
    assert entries(status) == expected
    assert len(status.raw) * 8 // status.bits == SIZE
    assert status.status(SIZE - 1) == 0
    with pytest.raises(FormatError, match="index-out-of-range"):
        status.status(SIZE)


@needs_vectors
def test_entries_of_eight_bits_have_every_value_once() -> None:
    found = entries(parse(*text_of("status_list_encoding8_json.md")))
    assert sorted(found.values()) == list(range(1, 256))
    assert {index: found[index] for index in EIGHT_BITS} == EIGHT_BITS


@pytest.mark.parametrize("name", SHORT)
def test_the_short_examples_say_what_the_draft_says(name: str) -> None:
    bits, lst, expected = SHORT[name]
    status = parse(bits, lst)
    assert [status.status(n) for n in range(len(expected))] == expected
    with pytest.raises(FormatError, match="index-out-of-range"):
        status.status(len(expected))


@pytest.mark.parametrize("name", [*SHORT, *(FILES if VECTORS.is_dir() else ())])
def test_broken_twins_are_refused(name: str) -> None:
    bits, lst = text_of(name)
    parse(bits, lst)
    middle = len(lst) // 2
    other = "B" if lst[middle] == "A" else "A"
    for spoiled in (
        lst[:-4],
        lst[:-2],
        lst + "AAAA",
        lst + "=",
        lst[:middle] + other + lst[middle + 1 :],
        "A" + lst,
    ):
        with pytest.raises(FormatError):
            parse(bits, spoiled)
    for wrong in (0, 3, 16, str(bits), True, None):
        with pytest.raises(FormatError, match="bad-status-list"):
            parse(wrong, lst)


@needs_vectors
def test_read_with_another_width_the_example_says_something_else() -> None:
    """`bits` decides: without it the same bytes would pass for another list."""
    _, lst = text_of("status_list_encoding2_long_json.md")
    assert entries(parse(1, lst)) != TWO_BITS
    assert entries(parse(4, lst)) != TWO_BITS
