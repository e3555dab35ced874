"""Presets: each hands over what it names and no other value of the resident, and a withheld claim is missed."""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from app.claims.certificate_data import DEMO_AUTHORITY, build_certificate_data
from app.claims.figures import compute_figures
from app.claims.record_json import parse_record
from app.sealing.credential import CLEAR, CredentialFrame, finish_credential, prepare_credential
from tests.support.sealing_world import ISS, world
from verifier.cli import main
from verifier.errors import FormatError
from verifier.formats.credential import (
    ENVELOPE_CLAIMS,
    Credential,
    parse_credential,
    peek_processed,
    select_disclosures,
)
from verifier.formats.dcql import check_presented, select_for_query
from verifier.formats.jose import format_jwk
from verifier.formats.submission_request import MAX_TEXT_LENGTH, parse_submission_request
from verifier.key_file import DeskKeys, format_desk_keys
from verifier.presets import PRESETS, load_preset, parse_preset
from verifier.request_file import parse_request_file

ROOT = Path(__file__).parents[2]
VCT = "https://door.mihon.example/vct/income-certificate/1"
RESIDENTS = (
    "case-a", "single-mother", "salary-and-pension", "spouse-special", "no-income", "young-dependant-high-salary",
    "special-disability-living-together",
)  # fmt: skip
# What each preset is for, said once more by hand: a file that asks for more has to be changed here too.
ASKED = {
    "health-insurance-dependant": {"subject.name", "income.total"},
    "nursery-fee": {"subject.name", "tax.municipal_income_levy", "dependants.count"},
    "housing": {"subject.name", "income.total"},
    "loan": {"subject.name", "subject.birthdate", "income.total", "tax.annual_total"},
}
CLEAR_NAMES = {*CLEAR, *ENVELOPE_CLAIMS}


def issue(data: dict) -> Credential:
    """A credential for a new phone key; nothing here looks at the signature."""
    frame = CredentialFrame(
        iss=ISS,
        vct=VCT,
        holder_jwk=format_jwk(ec.generate_private_key(ec.SECP256R1()).public_key()),
        status_uri=f"{ISS}/status/1",
        status_index=7,
        page_digest=bytes(range(32)),
        certificates=(world().pki.der("credential-1"), world().pki.der("issuing")),
    )
    return parse_credential(finish_credential(prepare_credential(data, frame), bytes(64)).encode())


@functools.cache
def resident(name: str) -> tuple[dict, Credential]:
    """certificate.json of a mock resident with values of their own, and a credential over it."""
    number = RESIDENTS.index(name)
    record = json.loads((ROOT / f"tests/vectors/good/tax/{name}.json").read_text(encoding="utf-8"))["record"]
    person = {
        "name": f"見本{number}　花子{number}",
        "family_name": f"見本{number}",
        "given_name": f"花子{number}",
        "family_name_kana": "ミホン" + "ー" * number,
        "given_name_kana": "ハナコ" + "ー" * number,
        "birthdate": f"1985-03-{number + 1:02}",
        "address_jan1": f"見本県見本市中央区本町一丁目{number + 1}番3号",
    }
    parsed = parse_record(record | {"person": person | record.get("person", {})})
    data = build_certificate_data(
        parsed,
        compute_figures(parsed),
        bytes([number] * 16),
        dt.date(2026, 11, 20),
        "確認のため",
        DEMO_AUTHORITY,
    )
    return data, issue(data)


def leaves(value: object, way: str = "") -> dict[str, object]:
    """Every value by its dotted path; an empty group is a value too."""
    if not isinstance(value, dict) or not value:
        return {way: value}
    found: dict[str, object] = {}
    for name, item in value.items():
        found |= leaves(item, f"{way}.{name}" if way else name)
    return found


def told(credential: Credential) -> dict[str, object]:
    """What a presentation tells of the resident: all but the claims in the clear."""
    claims = peek_processed(credential)
    return leaves({name: value for name, value in claims.items() if name not in CLEAR_NAMES})


def raw(credential: Credential) -> list[object]:
    """Every value that any disclosure of the presentation holds, read without our processing."""
    return [item.value for item in credential.disclosures if not isinstance(item.value, dict)]


def query_of(name: str):
    return load_preset(name).query.credentials[0]


def expected(name: str, data: dict) -> dict[str, object]:
    everything = leaves({key: value for key, value in data.items() if key not in CLEAR_NAMES})
    return everything if name == "all" else {path: everything[path] for path in ASKED[name]}


@pytest.mark.parametrize("who", RESIDENTS)
@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_hands_over_what_it_names_and_nothing_else(name, who):
    data, credential = resident(who)
    chosen = select_for_query(credential, query_of(name))
    check_presented(chosen, query_of(name))
    assert told(chosen) == expected(name, data)
    assert sorted(map(repr, raw(chosen))) == sorted(map(repr, expected(name, data).values()))
    items = [tuple(item.split(".")) for item in load_preset(name).items()]
    # The phone, which answers items and not DCQL, opens the same.
    assert select_disclosures(credential, items).disclosures == chosen.disclosures
    # Positive control: one disclosure more is seen by the same look.
    extra = "page_digest" if name == "all" else "address_jan1"
    more = select_disclosures(credential, [*items, ("page_digest",) if name == "all" else ("subject", extra)])
    assert len(raw(more)) == len(raw(chosen)) + 1


@pytest.mark.parametrize("who", RESIDENTS)
@pytest.mark.parametrize("name", [name for name in PRESETS if name != "all"])
def test_no_other_value_of_the_resident_stands_anywhere_in_it(name, who):
    data, credential = resident(who)
    chosen = select_for_query(credential, query_of(name))
    text = json.dumps(
        [chosen.jws.payload_object(), [d.value for d in chosen.disclosures]], ensure_ascii=False
    )
    allowed = set(map(str, expected(name, data).values()))
    own = {
        value
        for path, value in leaves(data["subject"]).items()
        if f"subject.{path}" not in ASKED[name] and not any(str(value) in other for other in allowed)
    } | {data["certificate_number"], data["remarks"]}
    assert len(own) >= 5
    assert [value for value in own if value in text] == []
    # Positive control: in the whole credential each of them is found.
    everything = json.dumps([d.value for d in credential.disclosures], ensure_ascii=False)
    assert all(value in everything for value in own)


@pytest.mark.parametrize("who", RESIDENTS[:3])
@pytest.mark.parametrize("name", PRESETS)
def test_a_claim_that_is_withheld_is_missed(name, who):
    _, credential = resident(who)
    query = query_of(name)
    chosen = select_for_query(credential, query)
    check_presented(chosen, query)
    indifferent = dataclasses.replace(query, claims=())
    for withheld in chosen.disclosures:
        below = withheld.value.get("_sd", []) if isinstance(withheld.value, dict) else []
        gone = {withheld.digest, *below}
        kept = tuple(item for item in chosen.disclosures if item.digest not in gone)
        poorer = Credential(chosen.issuer_jwt, chosen.jws, kept)
        with pytest.raises(FormatError, match="missing-claim"):
            check_presented(poorer, query)
        # Positive control: a reader that does not enforce the claims takes it.
        check_presented(poorer, indifferent)


@pytest.mark.parametrize("name", PRESETS)
def test_two_copies_have_nothing_in_common_but_what_was_asked(name):
    data, one = resident("case-a")
    copies = [select_for_query(credential, query_of(name)) for credential in (one, issue(data))]
    digests = [{item.digest for item in copy.disclosures} for copy in copies]
    assert not digests[0] & digests[1]
    payloads = [copy.jws.payload_object() for copy in copies]
    assert not set(payloads[0]["_sd"]) & set(payloads[1]["_sd"])
    same = {member for member in payloads[0] if payloads[0][member] == payloads[1][member]}
    # The status index is the gate's to draw anew; here both frames name the same one.
    assert same == {*CLEAR, "iss", "vct", "iat", "exp", "status", "_sd_alg"}
    assert told(copies[0]) == told(copies[1])


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_says_why_in_both_languages(name):
    preset = load_preset(name)
    for words in (preset.title, preset.reason):
        assert not words.ja.isascii()
        assert words.en.isascii()
        assert len(words.ja) <= MAX_TEXT_LENGTH
    assert preset.query.credentials[0].vct_values == (VCT,)
    if name != "all":
        assert set(preset.items()) == ASKED[name]


def test_every_file_is_a_preset():
    files = {path.stem for path in (ROOT / "verifier/presets").glob("*.json")}
    assert files == set(PRESETS)
    for name in ("", "../all", "nothing", "all.json"):
        with pytest.raises(FormatError, match="unknown-preset"):
            load_preset(name)


def test_a_preset_is_asked_of_another_citys_credentials():
    preset = load_preset("housing").for_types(("https://other/1",))
    assert preset.query.credentials[0].vct_values == ("https://other/1",)
    assert preset.query.credentials[0].claims == query_of("housing").claims
    with pytest.raises(FormatError, match="other-vct"):
        select_for_query(resident("case-a")[1], preset.query.credentials[0])


GOOD = json.loads((ROOT / "verifier/presets/housing.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "change",
    [
        {"v": 2},
        {"v": True},
        {"more": 1},
        {"name": ""},
        {"name": 1},
        {"title": {"ja": "x"}},
        {"title": {"ja": "x", "en": ""}},
        {"reason": "x"},
        {"dcql": {}},
        {"dcql": None},
    ],
)
def test_other_files_are_refused(change):
    parse_preset(json.dumps(GOOD).encode())
    with pytest.raises(FormatError):
        parse_preset(json.dumps(GOOD | change).encode())


def test_a_query_that_items_cannot_express_is_not_made_into_items():
    credential = GOOD["dcql"]["credentials"][0]
    for change in (
        {"claims": [{"path": ["tax", "exempt"], "values": [True]}]},
        {"claims": [{"path": ["tax", None]}]},
        {"claims": [{"id": "a", "path": ["tax"]}], "claim_sets": [["a"]]},
    ):
        spoiled = GOOD | {"dcql": {"credentials": [credential | change]}}
        with pytest.raises(FormatError, match="preset-not-plain"):
            parse_preset(json.dumps(spoiled).encode()).items()
    without = GOOD | {"dcql": {"credentials": [{k: v for k, v in credential.items() if k != "claims"}]}}
    with pytest.raises(FormatError, match="preset-not-plain"):
        parse_preset(json.dumps(without).encode()).items()


# --- the employer's command -------------------------------------------------------------------------------


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    keys = DeskKeys(ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1()))
    (tmp_path / "desk.key").write_bytes(format_desk_keys(keys))
    return tmp_path


def ask(desk: Path, *options: str) -> int:
    return main(
        ["request", "--key", str(desk / "desk.key"), "--name", "見本保育課", "--keep-until", "2031-03-31",
         "--public-url", "https://door.mihon.example", "--out", str(desk / "request.json"), *options]
    )  # fmt: skip


@pytest.mark.parametrize("name", PRESETS)
def test_the_command_asks_for_the_items_of_a_preset(name: str, desk: Path) -> None:
    assert ask(desk, "--preset", name) == 0
    asked = parse_submission_request(parse_request_file((desk / "request.json").read_bytes()).descriptor)
    preset = load_preset(name)
    assert asked.items == preset.items()
    assert asked.purpose == preset.reason.ja
    assert not asked.asks_for_page()


def test_the_askers_own_purpose_comes_first(desk: Path) -> None:
    assert ask(desk, "--preset", "housing", "--purpose", "住居手当の確認") == 0
    asked = parse_submission_request(parse_request_file((desk / "request.json").read_bytes()).descriptor)
    assert (asked.purpose, asked.items) == ("住居手当の確認", load_preset("housing").items())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "purpose-needed"),
        (["--preset", "nothing"], "invalid choice"),
        (["--preset", "housing", "--item", "tax"], "not allowed with"),
    ],
)
def test_other_ways_of_asking_are_wrong_use(options: list[str], words: str, desk: Path, capsys) -> None:
    assert ask(desk, *options) == 2
    assert words in capsys.readouterr().err
    assert not (desk / "request.json").exists()
