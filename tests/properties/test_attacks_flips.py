"""No byte of a bundle, page, credential, submission or package can be changed, cut off or put in.

Every byte of the whole bundle is tried as it stands; every byte of its small members, and every third of credential
and status list, with the archive written anew around them, so that no checksum helps; and thousands of positions of
page, submission and package. Each must end in NOT_VALID, never in an error and never in VALID. Takes about 30 s on one
core: two or three signatures are checked for nearly every position, which is the point.
"""

from __future__ import annotations

import json
import random

import pytest

from tests.support.mini_city import NOW, city
from tests.support.verifier_bundles import changed, new_key
from verifier import OFFLINE, OfflineSources, Verdict, examine
from verifier.formats.bundle import parse_bundle
from verifier.formats.names import PRESENTATION_TYPE
from verifier.formats.package import pack

# A spoilt certificate may make the library remark on its names; that is not what is tested.
pytestmark = pytest.mark.filterwarnings("ignore:Attribute's length")

# Whole members of the copy without page are tried position by position; the page has tests of its own below.
SMALL = ["evidence", "certificate", "inclusion", "anchor", "timestamp", "key_binding"]
BIT_SEED = 20261120
STEP = 3
PAGE_POSITIONS = 2000


@pytest.fixture(scope="module")
def town():
    return city()


@pytest.fixture(scope="module")
def plain(town):
    """A submission without page: everything but the page, and quick to examine."""
    return town.submit(town.issue(with_page=False))


def verdict(file: bytes, *, bound: bool = True) -> Verdict:
    town = city()
    request, key = (town.request, town.base.desk) if bound else (None, None)
    report = examine(
        file, trust=town.trust, policy=OFFLINE, now=NOW, sources=OfflineSources(), request=request, key=key
    )
    assert report.verdict is Verdict.VALID or (report.certificate is None and report.page is None)
    return report.verdict


def flipped(data: bytes, position: int, chosen: random.Random) -> bytes:
    spoilt = bytearray(data)
    spoilt[position] ^= 1 << chosen.randrange(8)
    return bytes(spoilt)


def survivors(data: bytes, positions, make=lambda altered: altered, *, bound: bool = True) -> list[int]:
    """Positions at which a flipped bit did not end in NOT_VALID."""
    chosen = random.Random(BIT_SEED)
    return [
        position
        for position in positions
        if verdict(make(flipped(data, position, chosen)), bound=bound) is not Verdict.NOT_VALID
    ]


def sample(data: bytes, count: int) -> list[int]:
    return sorted(random.Random(BIT_SEED).sample(range(len(data)), min(count, len(data))))


def test_the_untouched_files_are_valid(town, plain):
    for file in (plain, town.submission, town.package):
        assert verdict(file) is Verdict.VALID
    assert verdict(town.bundle, bound=False) is Verdict.VALID
    assert verdict(town.page(town.hanako), bound=False) is Verdict.UNDETERMINED


@pytest.mark.parametrize("member", SMALL)
def test_every_byte_of_the_small_members(plain, member):
    data = getattr(parse_bundle(plain), member)
    assert survivors(data, range(len(data)), lambda altered: changed(plain, **{member: altered})) == []


def test_bytes_of_the_signed_credential(plain):
    data = parse_bundle(plain).credential
    end = data.index(b"~") + 1
    assert survivors(data, range(0, end, STEP), lambda altered: changed(plain, credential=altered)) == []


def test_bytes_of_the_disclosures(plain):
    data = parse_bundle(plain).credential
    start = data.index(b"~") + 1
    positions = range(start, len(data), STEP)
    assert survivors(data, positions, lambda altered: changed(plain, credential=altered)) == []


def test_bytes_of_the_status_list(plain):
    data = parse_bundle(plain).status
    assert survivors(data, range(0, len(data), STEP), lambda altered: changed(plain, status=altered)) == []


def test_bytes_of_the_page_in_a_bundle(town):
    page = parse_bundle(town.bundle).page
    positions = sample(page, 300)
    assert survivors(page, positions, lambda altered: changed(town.bundle, page=altered), bound=False) == []


def test_bytes_of_the_page_alone(town):
    page = town.page(town.hanako)
    assert survivors(page, sample(page, PAGE_POSITIONS), bound=False) == []


def test_every_byte_of_the_whole_bundle(town):
    assert survivors(town.bundle, range(len(town.bundle)), bound=False) == []


def test_every_byte_of_the_frame_of_the_archive(plain):
    """What is not content: headers, names, directory."""
    whole = parse_bundle(plain)
    inside: set[int] = set()
    for member in ("credential", "status", *SMALL):
        content = getattr(whole, member)
        start = plain.index(content)
        inside |= set(range(start, start + len(content)))
    frame = sorted(set(range(len(plain))) - inside)
    assert len(frame) > 500
    assert survivors(plain, frame) == []


def test_bytes_of_the_whole_submission(town):
    assert survivors(town.submission, sample(town.submission, 2000)) == []


def test_bytes_of_the_package(town):
    """All of its frame, and a sample of the ciphertext."""
    start = len(b'{"ciphertext":"')
    end = town.package.index(b'"', start)
    frame = [*range(start), *range(end, len(town.package))]
    assert survivors(town.package, frame) == []
    assert survivors(town.package, [start + n for n in sample(town.package[start:end], 300)]) == []


def test_what_another_recipient_gets_is_the_only_thing_that_can_be_altered(town):
    """A package has no signature of its own: whoever alters another recipient's part harms that recipient alone."""
    keys = [town.base.desk.public_key(), new_key().public_key()]
    data = pack(town.submission, keys, content_type=PRESENTATION_TYPE)
    other = data.index(json.loads(data)["recipients"][1]["encrypted_key"].encode())
    assert verdict(flipped(data, other, random.Random(1))) in (Verdict.VALID, Verdict.NOT_VALID)
    mine = data.index(json.loads(data)["recipients"][0]["encrypted_key"].encode())
    assert survivors(data, range(mine, mine + 54)) == []


@pytest.mark.parametrize("name", ["bundle", "page", "submission", "package"])
def test_cut_off_or_with_bytes_put_in(town, name):
    data = town.page(town.hanako) if name == "page" else getattr(town, name)
    bound = name in ("submission", "package")
    chosen = random.Random(BIT_SEED)
    for position in [*chosen.sample(range(len(data)), 60), *range(40), len(data) - 1, len(data) - 22]:
        assert verdict(data[:position], bound=bound) is Verdict.NOT_VALID, position
        assert verdict(data[position + 1 :], bound=bound) is Verdict.NOT_VALID, position
        added = data[:position] + chosen.randbytes(1 + position % 9) + data[position:]
        assert verdict(added, bound=bound) is Verdict.NOT_VALID, position
        short = data[:position] + data[position + 1 :]
        assert verdict(short, bound=bound) is Verdict.NOT_VALID, position
    for tail in (b"\n", b"\0", b" ", data):
        assert verdict(data + tail, bound=bound) is Verdict.NOT_VALID
