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
    "health-insurance-dependant": {"subject.name"},
    "nursery-fee": {"subject.name", "dependants.count"},
    "housing": {"subject.name"},
    "loan": {"subject.name", "subject.birthdate", "income.total", "tax.annual_total"},
}
# And one of these: the first threshold that holds, else the figure, else no answer.
RUNGS = {
    "health-insurance-dependant": ("income_at_most", (1_300_000,), "income.total", None),
    "nursery-fee": (
        "levy_at_most",
        (48_600, 57_700, 97_000, 169_000, 301_000, 397_000),
        "tax.municipal_income_levy",
        "tax.municipal_income_levy",
    ),
    "housing": ("income_at_least", (3_000_000, 2_000_000), "income.total", "income.total"),
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


def holding(name: str, data: dict) -> list[str]:
    """The thresholds of a preset that hold, reckoned here."""
    if name not in RUNGS:
        return []
    ladder, thresholds, source, _ = RUNGS[name]
    amount = leaves(data)[source]
    return [
        f"{ladder}.{n}" for n in thresholds if (amount >= n if ladder == "income_at_least" else amount <= n)
    ]


def expected(name: str, data: dict) -> dict[str, object] | None:
    """What a wallet that reads DCQL hands over; None = the credential does not answer."""
    everything = leaves({key: value for key, value in data.items() if key not in CLEAR_NAMES})
    if name == "all":
        return everything
    told = {path: everything[path] for path in ASKED[name]}
    if name not in RUNGS:
        return told
    fallback = RUNGS[name][3]
    if rungs := holding(name, data):
        return told | {rungs[0]: True}
    return None if fallback is None else told | {fallback: everything[fallback]}


def expected_items(name: str, data: dict) -> dict[str, object]:
    """What the phone hands over for the preset's items: the thresholds that hold, and never a figure for them."""
    everything = leaves({key: value for key, value in data.items() if key not in CLEAR_NAMES})
    told = everything if name == "all" else {path: everything[path] for path in ASKED[name]}
    return told | dict.fromkeys(holding(name, data), True)


def item_paths(name: str, data: dict) -> list[tuple[str, ...]]:
    paths = [tuple(item.split(".")) for item in load_preset(name).items()]
    return [path for path in paths if not path[-1].isdigit() or ".".join(path) in holding(name, data)]


@pytest.mark.parametrize("who", RESIDENTS)
@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_hands_over_what_it_names_and_nothing_else(name, who):
    data, credential = resident(who)
    wanted = expected(name, data)
    if wanted is None:
        with pytest.raises(FormatError, match="claim-not-held"):
            select_for_query(credential, query_of(name))
        return
    chosen = select_for_query(credential, query_of(name))
    check_presented(chosen, query_of(name))
    assert told(chosen) == wanted
    assert sorted(map(repr, raw(chosen))) == sorted(map(repr, wanted.values()))
    # Positive control: one disclosure more is seen by the same look.
    extra = ("page_digest",) if name == "all" else ("subject", "address_jan1")
    paths = [tuple(path.split(".")) for path in wanted]
    more = select_disclosures(credential, [*paths, extra])
    assert len(raw(more)) == len(raw(chosen)) + 1


@pytest.mark.parametrize("who", RESIDENTS)
@pytest.mark.parametrize("name", PRESETS)
def test_the_items_of_a_preset_hand_over_what_they_name_and_nothing_else(name, who):
    """The phone answers items and not DCQL: no "either … or", no figure in the place of a threshold."""
    data, credential = resident(who)
    chosen = select_disclosures(credential, item_paths(name, data))
    assert told(chosen) == expected_items(name, data)
    assert sorted(map(repr, raw(chosen))) == sorted(map(repr, expected_items(name, data).values()))


def test_the_residents_meet_every_turn_of_the_presets():
    """Else the tests above show less than they seem to."""
    for name, (_, _, _, fallback) in RUNGS.items():
        met = {bool(holding(name, resident(who)[0])) for who in RESIDENTS}
        assert met == {True, False} or fallback == "tax.municipal_income_levy", name
    brackets = {tuple(holding("nursery-fee", resident(who)[0])) for who in RESIDENTS}
    assert len(brackets) >= 3


@pytest.mark.parametrize("who", RESIDENTS)
@pytest.mark.parametrize("name", [name for name in PRESETS if name != "all"])
def test_no_other_value_of_the_resident_stands_anywhere_in_it(name, who):
    data, credential = resident(who)
    chosen = select_disclosures(credential, item_paths(name, data))
    text = json.dumps(
        [chosen.jws.payload_object(), [d.value for d in chosen.disclosures]], ensure_ascii=False
    )
    allowed = set(map(str, expected_items(name, data).values()))
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
    data, credential = resident(who)
    query = query_of(name)
    if expected(name, data) is None:
        return  # not answered at all, see above
    chosen = select_for_query(credential, query)
    check_presented(chosen, query)
    indifferent = dataclasses.replace(query, claims=(), claim_sets=())
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
    data, one = resident("no-income" if name == "health-insurance-dependant" else "case-a")
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
        ladder, thresholds, _, _ = RUNGS.get(name, ("", (), "", None))
        assert set(preset.items()) == ASKED[name] | {f"{ladder}.{n}" for n in thresholds}
        assert len(set(preset.items())) == len(preset.items())


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


GOOD = json.loads((ROOT / "verifier/presets/loan.json").read_text(encoding="utf-8"))


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
        {"claims": [{"path": ["income_at_most", "1300000"], "values": [True, "yes"]}]},
        {"claims": [{"path": ["income_at_most", "1300001"], "values": [True]}]},
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
