"""What a recipient has after decryption: for each preset the asked-for values, and no other value of the resident.

The bundle is a city's real one, the phone cuts and binds it, the desk opens the package; then every byte is searched, in
every encoding in which a value could stand there.
"""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest

from app.sealing.credential import CLEAR
from mobile_api.presentation import build_presentation, select_for, unanswered_items
from tests.support.shared_strings import COMMON_WORDS, all_strings, strings
from tests.support.verifier_bundles import DATA, NOW, changed, mini_city, new_key, with_data
from verifier import OFFLINE, OfflineSources, Verdict, examine
from verifier.errors import FormatError
from verifier.formats.bundle import build_bundle, parse_bundle
from verifier.formats.credential import (
    ENVELOPE_CLAIMS,
    Disclosure,
    parse_credential,
    peek_processed,
    select_disclosures,
)
from verifier.formats.dcql import check_presented, select_for_query
from verifier.formats.encoding import base64url_decode, base64url_encode
from verifier.formats.evidence import parse_evidence
from verifier.formats.jose import es256_signer, format_jwk
from verifier.formats.submission_request import parse_submission_request
from verifier.presets import PRESETS, load_preset
from verifier.report import Report
from verifier.verify import open_file

ROOT = Path(__file__).parents[2]
POOR = with_data(
    income={**DATA["income"], "total": 1_234_567, "gross_total": 1_234_567},
    tax={**DATA["tax"], "municipal_income_levy": 30_700},
)
SINGLE = [name for name in PRESETS if name != "all"]
# Of every credential; the period of validity stands in the evidence of the log entry too.
IN_THE_CLEAR = {*CLEAR, *ENVELOPE_CLAIMS}
PERIOD = {"issued_on", "valid_until"}
_BASE64URL = re.compile(rb"[A-Za-z0-9_-]{8,}")


def submission(data, items, *, extra=()):
    """(bundle, request, package's content at the desk); `extra`: paths that a careless phone discloses too."""
    city = mini_city()
    bundle = city.issue(data, with_page=False)
    descriptor = city.request(items=tuple(items))
    request = parse_submission_request(descriptor)
    sign = es256_signer(city.holder)
    sent = build_presentation(bundle, request, descriptor, sign, NOW)
    if extra:
        paths = [
            tuple(item.split("."))
            for item in items
            if item not in unanswered_items(parse_bundle(bundle), request)
        ]
        sent = city.bind(city.present(bundle, [*paths, *extra]), descriptor)
    return bundle, descriptor, open_file(city.packed(sent), city.desk)[1]


def everything_in(content: bytes) -> bytes:
    """The archive, its members, and what every run of base64url in them decodes to, twice over."""
    members = dataclasses.asdict(parse_bundle(content)).values()
    layer = [content, *(member for member in members if isinstance(member, bytes))]
    found = list(layer)
    for _ in range(2):
        layer = [
            decoded for data in layer for word in _BASE64URL.findall(data) if (decoded := _decoded(word))
        ]
        found += layer
    return b"\n".join(found)


def _decoded(word: bytes) -> bytes:
    try:
        return base64url_decode(word.decode())
    except FormatError:
        return b""


def told(data: dict) -> dict[str, object]:
    """certificate.json's leaves in disclosures by path, without what is in the clear."""
    groups = {
        f"{group}.{leaf}": v
        for group, leaves in data.items()
        if isinstance(leaves, dict)
        for leaf, v in leaves.items()
    }
    plain = {name: value for name, value in data.items() if not isinstance(value, dict)}
    return {path: value for path, value in (plain | groups).items() if not path.startswith(CLEAR)}


def undisclosed(bundle: bytes, content: bytes) -> list[Disclosure]:
    """The disclosures of the whole credential that the presentation has not."""
    whole, shown = (parse_credential(parse_bundle(file).credential) for file in (bundle, content))
    there = {item.digest for item in shown.disclosures}
    return [item for item in whole.disclosures if item.digest not in there]


def leaks(bundle: bytes, content: bytes, data: dict, allowed: set[str]) -> set[str]:
    """What stands in the content beside the allowed paths: values, disclosures, salts."""
    everything = everything_in(content)
    found = set()
    permitted = {json.dumps(told(data)[path], ensure_ascii=False) for path in allowed if path in told(data)}
    for path, value in told(data).items():
        text = json.dumps(value, ensure_ascii=False)
        # Short numbers and yes/no stand everywhere; their disclosures and salts are searched below.
        if path in allowed | PERIOD or len(text) < 5 or any(text.strip('"') in other for other in permitted):
            continue
        if value is True or value is False or value == "none":
            continue
        if text.strip('"').encode() in everything:
            found.add(path)
    for item in undisclosed(bundle, content):
        if item.encoded.encode() in everything or item.salt.encode() in everything:
            found.add(f"disclosure {item.name}")
    # With its salt the hash of the withheld data could be guessed.
    salt = parse_evidence(parse_bundle(bundle).evidence).data.salt
    if salt is not None and salt in everything:
        found.add("salt of the data")
    claims = peek_processed(parse_credential(parse_bundle(content).credential))
    return found | flat({name: claims[name] for name in claims if name not in IN_THE_CLEAR}) - allowed


def report(content: bytes, descriptor: bytes) -> Report:
    trust = mini_city().trust()
    return examine(
        content, trust=trust, policy=OFFLINE, now=NOW, sources=OfflineSources(), request=descriptor
    )


def flat(value: dict, way: str = "") -> set[str]:
    found: set[str] = set()
    for name, item in value.items():
        found |= flat(item, f"{way}{name}.") if isinstance(item, dict) and item else {way + name}
    return found


@pytest.mark.parametrize("data", [DATA, POOR], ids=["middle income", "low income"])
@pytest.mark.parametrize("name", SINGLE)
def test_no_other_value_of_the_resident_is_in_the_decrypted_submission(name, data):
    items = load_preset(name).items()
    bundle, descriptor, content = submission(data, items)
    request = parse_submission_request(descriptor)
    unanswered = unanswered_items(parse_bundle(bundle), request)
    allowed = set(items) - set(unanswered)
    assert leaks(bundle, content, data, allowed) == set()
    answer = report(content, descriptor)
    assert answer.verdict is Verdict.VALID, answer.findings
    clear = {"document_kind", "fiscal_year", "income_year"} | {
        f"issuing_authority.{n}" for n in data["issuing_authority"]
    }
    assert flat(dict(answer.certificate)) == allowed | clear
    assert answer.find("holder").code == ("items-missing" if unanswered else "ok")
    assert ("items-missing" in answer.not_asked) is bool(unanswered)


@pytest.mark.parametrize("extra", [("subject", "birthdate"), ("tax", "annual_total"), ("dependants", "none")])
def test_one_disclosure_too_many_is_found(extra):
    """Positive control: the same search finds the smallest leak, a yes or no as well."""
    items = load_preset("housing").items()
    bundle, _, content = submission(DATA, items, extra=[extra])
    assert ".".join(extra) in leaks(bundle, content, DATA, set(items))
    bundle, _, content = submission(DATA, items)
    assert leaks(bundle, content, DATA, set(items)) == set()


def test_a_value_a_disclosure_or_a_salt_hidden_anywhere_is_found():
    """Positive control for the search of the bytes: put into a member that says nothing of the resident."""
    items = load_preset("housing").items()
    bundle, _, content = submission(DATA, items)
    hidden = next(item for item in undisclosed(bundle, content) if item.name == "birthdate")
    salt = parse_evidence(parse_bundle(bundle).evidence).data.salt
    for secret, name in (
        (hidden.encoded.encode(), "disclosure birthdate"),
        (hidden.salt.encode(), "disclosure birthdate"),
        (base64url_encode(b"anything " + hidden.value.encode()).encode(), "subject.birthdate"),
        (base64url_encode(salt).encode(), "salt of the data"),
    ):
        spoilt = changed(content, status=lambda old, secret=secret: old + b" " + secret)
        assert name in leaks(bundle, spoilt, DATA, set(items))


@pytest.mark.parametrize(
    ("data", "holds"), [(DATA, False), (POOR, True)], ids=["3,560,000 is more", "1,234,567 is less"]
)
def test_a_threshold_that_does_not_hold_is_answered_honestly(data, holds):
    rung = "income_at_most.1300000"
    bundle, descriptor, content = submission(data, load_preset("health-insurance-dependant").items())
    request = parse_submission_request(descriptor)
    assert unanswered_items(parse_bundle(bundle), request) == (() if holds else (rung,))
    answer = report(content, descriptor)
    assert answer.verdict is Verdict.VALID
    assert answer.certificate.get("income_at_most") == ({"1300000": True} if holds else None)
    assert "income" not in answer.certificate
    assert (rung in answer.find("holder").detail) is not holds
    assert ("not confirmed" in answer.find("holder").detail) is not holds
    query = load_preset("health-insurance-dependant").query.credentials[0]
    shown = parse_credential(parse_bundle(content).credential)
    if holds:
        check_presented(shown, query)
    else:
        with pytest.raises(FormatError, match="missing-claim"):
            check_presented(shown, query)


def test_a_threshold_of_no_table_and_an_unknown_claim_stay_unknown():
    bundle = parse_bundle(mini_city().issue(DATA, with_page=False))
    for item in ("income_at_most.1300001", "income.lottery", "income_at_mos.1300000"):
        request = parse_submission_request(mini_city().request(items=("subject.name", item)))
        with pytest.raises(FormatError, match="no-such-claim"):
            select_for(bundle, request)


def test_a_whole_ladder_may_be_asked_for():
    _, descriptor, content = submission(DATA, ("subject.name", "levy_at_most"))
    answer = report(content, descriptor)
    assert answer.verdict is Verdict.VALID
    assert answer.certificate["levy_at_most"] == {"169000": True, "301000": True, "397000": True}


def test_everything_gives_the_data_and_no_thresholds_beside_them():
    _, descriptor, content = submission(DATA, ("all",))
    answer = report(content, descriptor)
    assert answer.verdict is Verdict.VALID
    assert answer.certificate == DATA


# --- five papers ------------------------------------------------------------------------------------------


def papers() -> dict[str, list[str]]:
    """The table of the format page."""
    text = (
        (ROOT / "docs/formats/presentation-query.md")
        .read_text(encoding="utf-8")
        .partition("## Five papers")[2]
    )
    return {
        name: re.findall(r"`([a-z_.0-9]+)`", paths)
        for name, paths in re.findall(r"^\| (\S+証明書\S*) \| (.+) \|$", text, re.M)
    }


GROUPS = {"subject", "income", "deductions", "dependants", "person_status", "tax"}
# What stands on the papers of 松阪市, once more by hand: groups, or one leaf of a group.
ON_PAPER = {
    "所得証明書（控除の記載なし）": {"subject", "income"},
    "所得証明書（控除・扶養人数の記載あり）": {"subject", "income", "deductions", "dependants"},
    "課税証明書（税額のみ）": {"subject", "tax"},
    "非課税証明書": {"subject", "tax.exempt"},
    "所得課税証明書": GROUPS,
}


@pytest.mark.parametrize("paper", ON_PAPER)
def test_one_credential_gives_each_of_the_five_papers(paper):
    assert papers().keys() == ON_PAPER.keys()
    paths = papers()[paper]
    assert set(paths) == ON_PAPER[paper]
    around = ("title", "certificate_number", "issued_on", "valid_until")
    _, descriptor, content = submission(DATA, (*around, *paths))
    answer = report(content, descriptor)
    assert answer.verdict is Verdict.VALID
    shown = {name for name in answer.certificate if name in GROUPS}
    assert shown == {path.partition(".")[0] for path in paths}
    for path in paths:
        group, _, leaf = path.partition(".")
        there = answer.certificate[group]
        assert there == ({leaf: DATA[group][leaf]} if leaf else DATA[group])
    assert answer.find("holder").code == "ok"


# --- two copies -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SINGLE)
def test_two_copies_without_page_share_only_what_everybody_of_the_day_shares(name):
    city = mini_city()
    query = load_preset(name).query.credentials[0]
    copies = []
    for index in (4711, 815):
        whole = city.credential(POOR, holder_jwk=format_jwk(new_key().public_key()), status_index=index)
        copies.append(select_for_query(parse_credential(whole), query).serialise())
    shared = all_strings(copies[0]) & all_strings(copies[1])
    claims = [peek_processed(parse_credential(copy)) for copy in copies]
    of_city = ("iss", "vct", "iat", "exp", "document_kind", "fiscal_year", "income_year", "issuing_authority")
    allowed = strings({member: claims[0][member] for member in of_city})
    allowed |= strings({member: claims[0][member] for member in set(claims[0]) - {*of_city, "cnf", "status"}})
    allowed |= COMMON_WORDS | {claims[0]["status"]["status_list"]["uri"]}
    assert shared <= allowed
    # Positive controls: a common index, a common salt (so a common digest), a common key are each seen.
    for member in ("status", "cnf"):
        spoilt = claims[1] | {member: claims[0][member]}
        assert (all_strings(copies[0]) & strings(spoilt)) - allowed
    one = parse_credential(copies[0]).disclosures[0]
    assert {one.salt, one.encoded, one.digest} & all_strings(copies[0]) - allowed


def test_a_copy_without_page_verifies_with_its_thresholds():
    bundle, descriptor, content = submission(POOR, ("subject.name", "levy_at_most.48600"))
    assert parse_bundle(bundle).page is None
    assert report(content, descriptor).verdict is Verdict.VALID
    # With the data beside it the ladder is recomputed, page or no page.
    whole = report_of(bundle)
    assert whole.verdict is Verdict.VALID
    assert whole.certificate == POOR
    assert build_bundle(parse_bundle(bundle)) == bundle


def report_of(bundle: bytes) -> Report:
    return examine(bundle, trust=mini_city().trust(), policy=OFFLINE, now=NOW, sources=OfflineSources())


def test_select_disclosures_opens_single_rungs():
    whole = parse_credential(mini_city().credential(POOR))
    chosen = select_disclosures(whole, [("income_at_most", "1300000")])
    assert peek_processed(chosen)["income_at_most"] == {"1300000": True}
    with pytest.raises(FormatError, match="no-such-claim"):
        select_disclosures(whole, [("income_at_most", "1030000")])
