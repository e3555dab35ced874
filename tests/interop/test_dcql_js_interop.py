"""Our presets and our reading of DCQL against the npm package dcql: as a wallet reads them, and as a verifier does."""

from __future__ import annotations

import json
from importlib import resources

import pytest

from tests.support import foreign_world as city
from tests.support.node_packages import ForeignError, run_node
from verifier import presets
from verifier.errors import FormatError
from verifier.formats.credential import Credential, parse_credential, peek_processed
from verifier.formats.dcql import check_presented, parse_dcql, select_for_query
from verifier.formats.encoding import canonical_json

DEPENDANT = "health-insurance-dependant"


def query_file(name: str) -> dict:
    return json.loads(resources.files(presets).joinpath(f"{name}.json").read_bytes())["dcql"]


def ours(query: dict):
    return parse_dcql(canonical_json(query)).credentials[0]


def is_taken(credential: Credential, query: dict) -> bool:
    try:
        check_presented(credential, ours(query))
    except FormatError:
        return False
    return True


def without(credential: Credential, place: int) -> Credential:
    kept = credential.disclosures[:place] + credential.disclosures[place + 1 :]
    return Credential(credential.issuer_jwt, credential.jws, kept)


def judge(query: dict, *shown: Credential, vct: str = city.VCT) -> list[dict]:
    cases = [peek_processed(credential) for credential in shown]
    return run_node("dcql.mjs", {"query": query, "vct": vct, "cases": cases})["answers"]


@pytest.fixture(scope="module")
def whole() -> Credential:
    return parse_credential(city.document().credential.encode())


@pytest.fixture(scope="module")
def low() -> Credential:
    """Of somebody whose income is below the limit for a dependant; the sample's is above it."""
    data = city.make_data() | {"income": {"gross_total": 900_000, "total": 900_000}}
    return parse_credential(city.make_document(data).credential.encode())


@pytest.fixture
def held(name: str, whole: Credential, low: Credential) -> Credential:
    """One that answers the preset."""
    return low if name == DEPENDANT else whole


@pytest.mark.parametrize("name", presets.PRESETS)
def test_a_wallet_with_dcql_shows_what_ours_shows(name: str, held: Credential) -> None:
    query = query_file(name)
    chosen = select_for_query(held, ours(query))
    answer, narrow = judge(query, held, chosen)
    assert answer["satisfied"] and narrow["complete"]
    claims = peek_processed(chosen)
    for path, value in _leaves(answer["shown"]):
        assert _at(claims, path) == value
    # … and the other way round: what ours discloses is what theirs would
    asked = {path for path, _ in _leaves(answer["shown"])}
    disclosed = {path for path, _ in _leaves(claims)} - {
        path for path, _ in _leaves(held.jws.payload_object())
    }
    assert {path for path in disclosed if not path[0].startswith("_")} <= asked


@pytest.mark.parametrize("name", presets.PRESETS)
def test_with_any_disclosure_withheld_it_is_no_answer(name: str, held: Credential) -> None:
    """The same for both where leaves are asked for. A group asked for as a whole is satisfied for dcql by its name alone:
    it sees processed claims only. We see that a digest is left in it, and refuse.
    """
    query = query_file(name)
    chosen = select_for_query(held, ours(query))
    narrower = []
    for place in range(len(chosen.disclosures)):
        try:
            peek_processed(without(chosen, place))
        except FormatError:
            continue  # a group withheld leaves its leaves unreferenced: no SD-JWT any more
        narrower.append(without(chosen, place))
    assert narrower and not any(is_taken(shown, query) for shown in narrower)
    theirs = [answer["complete"] for answer in judge(query, *narrower)]
    groups_asked = any(
        isinstance(_at(peek_processed(held), tuple(claim["path"])), dict)
        for claim in query["credentials"][0]["claims"]
    )
    assert groups_asked or not any(theirs)
    assert not all(theirs)


def test_above_the_limit_neither_answers_for_a_dependant(whole: Credential, low: Credential) -> None:
    """The sample's 3,560,000 yen: there is no true statement to show, so nothing is shown, not even the name."""
    query = query_file(DEPENDANT)
    above, below = judge(query, whole, low)
    assert not above["satisfied"] and above["shown"] is None and not above["complete"]
    assert not _held(whole, query) and not is_taken(whole, query)
    assert below["satisfied"] and _held(low, query)
    assert below["shown"]["income_at_most"] == {"1300000": True} and "income" not in below["shown"]


def test_values_and_claim_sets_are_read_alike(whole: Credential) -> None:
    """Types count (1 is not true), the first claim set that can be answered is taken."""
    tables = [
        ({"path": ["tax", "exempt"], "values": [False]}, True),
        ({"path": ["tax", "exempt"], "values": [True]}, False),
        ({"path": ["tax", "exempt"], "values": [0]}, False),
        ({"path": ["fiscal_year"], "values": [2026, 2025]}, True),
        ({"path": ["fiscal_year"], "values": ["2026"]}, False),
        ({"path": ["tax", "nothing"]}, False),
    ]
    for claim, expected in tables:
        query = _query([claim])
        assert judge(query, whole)[0]["satisfied"] is expected, claim
        assert _held(whole, query) is expected, claim
    both = _query([{"id": "a", "path": ["tax", "nothing"]}, {"id": "b", "path": ["income", "total"]}])
    both["credentials"][0]["claim_sets"] = [["a"], ["b"]]
    shown = judge(both, whole)[0]["shown"]
    assert shown == {"income": {"total": 3560000}}
    assert peek_processed(select_for_query(whole, ours(both)))["income"] == shown["income"]


def test_another_type_of_credential_answers_nothing(whole: Credential) -> None:
    assert not judge(query_file("housing"), whole, vct=city.VCT + "0")[0]["satisfied"]


def test_what_the_library_refuses_to_read_is_an_error() -> None:
    with pytest.raises(ForeignError):
        run_node("dcql.mjs", {"query": {"credentials": []}, "vct": city.VCT, "cases": []})


def _query(claims: list[dict]) -> dict:
    meta = {"vct_values": [city.VCT]}
    return {"credentials": [{"id": "one", "format": "dc+sd-jwt", "meta": meta, "claims": claims}]}


def _held(credential: Credential, query: dict) -> bool:
    try:
        select_for_query(credential, ours(query))
    except FormatError:
        return False
    return True


def _leaves(value: object, way: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], object]]:
    if not isinstance(value, dict):
        return [(way, value)]
    return [leaf for name, item in value.items() for leaf in _leaves(item, (*way, name))]


def _at(value: object, way: tuple[str, ...]) -> object:
    """None where nothing is: of a ladder's steps a credential holds only those that are true of it."""
    for name in way:
        value = value.get(name) if isinstance(value, dict) else None
    return value
