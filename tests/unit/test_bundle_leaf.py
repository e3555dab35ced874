"""Leaf v1 and evidence.json: what the log entry binds, and what a withheld part still proves."""

import hashlib

import pytest

from verifier.errors import FormatError
from verifier.formats.encoding import base64url_encode, canonical_json
from verifier.formats.evidence import Evidence, Part, build_evidence, parse_evidence, withhold
from verifier.formats.leaf import (
    CREDENTIAL,
    DATA,
    NO_PAGE,
    PAGE,
    check_document_kind,
    leaf_entry,
    parse_date,
    parse_validity,
    part_hash,
)

SALTS = [bytes([n]) * 32 for n in (1, 2, 3)]
KIND, VALIDITY = "income_certificate", "2026-11-20/2027-02-20"
EVIDENCE = Evidence(KIND, VALIDITY, Part(SALTS[0]), Part(SALTS[1]), Part(SALTS[2]))
CONTENTS = {"data": b"{}", "page": b"%PDF", "credential": b"a.b.c"}


def test_the_entry_is_the_formula_of_the_format_page():
    def part(kind, salt, content):
        inner = hashlib.sha256(content).digest()
        return hashlib.sha256(b"akashi/part/v1\0" + bytes([len(kind)]) + kind + salt + inner).digest()

    expected = hashlib.sha256(
        b"akashi/leaf/v1\0"
        + b"\x00\x12income_certificate"
        + b"\x00\x152026-11-20/2027-02-20"
        + part(b"data", SALTS[0], b"{}")
        + part(b"page", SALTS[1], b"%PDF")
        + part(b"credential", SALTS[2], b"a.b.c")
    ).digest()
    assert EVIDENCE.entry(**CONTENTS) == expected


@pytest.mark.parametrize("name", ["data", "page", "credential"])
def test_each_content_is_bound(name):
    assert EVIDENCE.entry(**{**CONTENTS, name: b"other"}) != EVIDENCE.entry(**CONTENTS)


def test_each_salt_kind_and_date_is_bound():
    entry = EVIDENCE.entry(**CONTENTS)
    others = [
        Evidence("tax_certificate", VALIDITY, *(Part(s) for s in SALTS)),
        Evidence(KIND, "2026-11-20/2027-02-21", *(Part(s) for s in SALTS)),
        Evidence(KIND, VALIDITY, Part(bytes(32)), Part(SALTS[1]), Part(SALTS[2])),
    ]
    assert all(other.entry(**CONTENTS) != entry for other in others)


def test_parts_cannot_change_places():
    assert part_hash(DATA, SALTS[0], b"x") != part_hash(PAGE, SALTS[0], b"x")
    assert part_hash(CREDENTIAL, SALTS[0], b"x") != part_hash(PAGE, SALTS[0], b"x")


def test_withheld_parts_give_the_same_entry():
    shown = withhold(EVIDENCE, data=CONTENTS["data"], page=CONTENTS["page"])
    assert shown.entry(data=None, page=None, credential=b"a.b.c") == EVIDENCE.entry(**CONTENTS)
    assert shown.has_page(None) is None


def test_a_copy_without_page_commits_to_the_empty_page():
    entry = EVIDENCE.entry(data=b"{}", page=None, credential=b"a.b.c")
    assert entry == EVIDENCE.entry(data=b"{}", page=NO_PAGE, credential=b"a.b.c")
    assert EVIDENCE.has_page(None) is False
    assert entry != EVIDENCE.entry(**CONTENTS)


def test_shown_and_withheld_must_agree_with_what_is_there():
    hidden = withhold(EVIDENCE, data=b"{}", page=b"%PDF")
    with pytest.raises(FormatError, match="evidence-mismatch"):
        hidden.entry(data=b"{}", page=None, credential=b"a.b.c")
    with pytest.raises(FormatError, match="evidence-mismatch"):
        hidden.entry(data=None, page=b"%PDF", credential=b"a.b.c")
    with pytest.raises(FormatError, match="evidence-mismatch"):
        EVIDENCE.entry(data=None, page=b"%PDF", credential=b"a.b.c")


def test_evidence_round_trip():
    for evidence in (EVIDENCE, withhold(EVIDENCE, data=b"{}")):
        assert parse_evidence(build_evidence(evidence)) == evidence


def evidence_object(**changes):
    salt = {"salt": base64url_encode(bytes(32))}
    value = {
        "v": 1,
        "document_kind": KIND,
        "validity": VALIDITY,
        "parts": {"data": salt, "page": salt, "credential": salt},
    }
    return {**value, **changes}


BAD = {
    "version": evidence_object(v=2),
    "version true": evidence_object(v=True),
    "more": evidence_object(more=1),
    "kind": evidence_object(document_kind="Income"),
    "empty kind": evidence_object(document_kind=""),
    "validity": evidence_object(validity="2026-11-20"),
    "backwards": evidence_object(validity="2026-11-20/2026-11-19"),
    "basic date": evidence_object(validity="20261120/20261121"),
    "parts": evidence_object(parts={}),
    "list": [],
    "credential withheld": evidence_object(
        parts={
            "data": {"salt": base64url_encode(bytes(32))},
            "page": {"salt": base64url_encode(bytes(32))},
            "credential": {"hash": base64url_encode(bytes(32))},
        }
    ),
    "both": evidence_object(
        parts={
            "data": {"salt": base64url_encode(bytes(32)), "hash": base64url_encode(bytes(32))},
            "page": {"salt": base64url_encode(bytes(32))},
            "credential": {"salt": base64url_encode(bytes(32))},
        }
    ),
    "short": evidence_object(
        parts={
            "data": {"salt": base64url_encode(bytes(31))},
            "page": {"salt": base64url_encode(bytes(32))},
            "credential": {"salt": base64url_encode(bytes(32))},
        }
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_other_evidence_is_refused(name):
    with pytest.raises(FormatError):
        parse_evidence(canonical_json(BAD[name]))


def test_the_adjacent_good_object_is_accepted():
    assert parse_evidence(canonical_json(evidence_object())).document_kind == KIND


@pytest.mark.parametrize("text", ["2026-1-1", "20260101", "2026-W01-1", "2026-02-30", "", "２０２６-01-01"])
def test_dates_have_one_form(text):
    with pytest.raises(FormatError):
        parse_date(text)


def test_validity_includes_a_single_day():
    first, last = parse_validity("2026-11-20/2026-11-20")
    assert first == last


@pytest.mark.parametrize("kind", ["a b", "é", "A", "_", "a" * 65, "a/b", "²"])
def test_document_kinds_are_plain_names(kind):
    with pytest.raises(FormatError):
        check_document_kind(kind)


def test_wrong_sizes_are_refused():
    with pytest.raises(FormatError):
        part_hash(b"data", bytes(16), b"")
    with pytest.raises(FormatError):
        part_hash(b"else", bytes(32), b"")
    with pytest.raises(FormatError):
        leaf_entry(KIND, VALIDITY, bytes(31), bytes(32), bytes(32))
