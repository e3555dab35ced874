"""DCQL: what a query may say, the fewest disclosures that answer it, and answers that lack something."""

import copy
import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from verifier.errors import FormatError, LimitError
from verifier.formats.credential import Credential, parse_credential, peek_processed
from verifier.formats.dcql import (
    ClaimQuery,
    CredentialQuery,
    check_answer,
    check_presented,
    parse_dcql,
    read_dcql,
    select_for_query,
)
from verifier.formats.encoding import base64url_encode, canonical_json, sha256
from verifier.formats.jose import build_jws, es256_signer

KEY = ec.derive_private_key(21, ec.SECP256R1())
VCT = "https://v/1"


def disclosure(*parts):
    encoded = base64url_encode(canonical_json(list(parts)))
    return encoded, base64url_encode(sha256(encoded.encode()))


def sd_jwt(payload, *disclosures) -> Credential:
    jwt = build_jws({"typ": "dc+sd-jwt"}, canonical_json({"vct": VCT, **payload}), es256_signer(KEY))
    return parse_credential(b"~".join([jwt, *(text.encode() for text in disclosures), b""]))


NAME, NAME_D = disclosure("s", "name", "佐藤")
BIRTH, BIRTH_D = disclosure("s", "birthdate", "1985-03-15")
SUBJECT, SUBJECT_D = disclosure("s", "subject", {"_sd": sorted([NAME_D, BIRTH_D])})
TOTAL, TOTAL_D = disclosure("s", "total", 3560000)
INCOME, INCOME_D = disclosure("s", "income", {"_sd": [TOTAL_D]})
EXEMPT, EXEMPT_D = disclosure("s", "exempt", True)
US, US_D = disclosure("s", "US")
DE, DE_D = disclosure("s", "DE")
PAYLOAD = {
    "_sd": sorted([SUBJECT_D, INCOME_D, EXEMPT_D]),
    "year": 2026,
    "authority": {"code": "992011", "name": "見本市"},
    "nations": ["JP", {"...": US_D}, {"...": DE_D}],
    "rows": [{"a": 1, "b": 2}, {"b": 3}],
}
ALL = (NAME, BIRTH, SUBJECT, TOTAL, INCOME, EXEMPT, US, DE)


def whole() -> Credential:
    return sd_jwt(PAYLOAD, *ALL)


def asking(*paths, **members) -> CredentialQuery:
    return CredentialQuery("c", (VCT,), tuple(ClaimQuery(tuple(path)) for path in paths), **members)


def selected(query) -> set[str]:
    return {item.encoded for item in select_for_query(whole(), query).disclosures}


def without(credential: Credential, *texts: str) -> Credential:
    kept = tuple(item for item in credential.disclosures if item.encoded not in texts)
    return Credential(credential.issuer_jwt, credential.jws, kept)


# --- selection --------------------------------------------------------------------------------------------

SELECTED = {
    "a leaf and its way": ([("subject", "name")], {NAME, SUBJECT}),
    "two leaves share their way": ([("subject", "name"), ("subject", "birthdate")], {NAME, BIRTH, SUBJECT}),
    "a whole group": ([("subject",)], {NAME, BIRTH, SUBJECT}),
    "in the clear": ([("year",), ("authority", "code")], set()),
    "nothing": ([], set()),
    "an element": ([("nations", 2)], {DE}),
    "an element in the clear": ([("nations", 0)], set()),
    "every element": ([("nations", None)], {US, DE}),
    "a whole array": ([("nations",)], {US, DE}),
    "through an array": ([("rows", None, "a")], set()),
}


@pytest.mark.parametrize("name", SELECTED)
def test_the_fewest_disclosures_that_answer(name):
    paths, expected = SELECTED[name]
    query = asking(*paths)
    assert selected(query) == expected
    chosen = select_for_query(whole(), query)
    check_presented(chosen, query)
    # Not one of them can be spared.
    for text in expected:
        with pytest.raises(FormatError):
            check_presented(without(chosen, text), query)


@pytest.mark.parametrize(
    "path",
    [
        ("nobody",),
        ("subject", "salary"),
        ("subject", "name", "first"),
        ("subject", None),
        ("subject", 0),
        ("nations", "JP"),
        ("nations", 3),
        ("rows", None, "z"),
        ("rows", 1, "a"),
        ("year", None),
    ],
)
def test_what_the_credential_does_not_have_is_not_held(path):
    with pytest.raises(FormatError) as caught:
        select_for_query(whole(), asking(path))
    assert caught.value.code == "claim-not-held"
    with pytest.raises(FormatError, match="missing-claim"):
        check_presented(whole(), asking(path))


def test_an_object_without_the_name_is_left_out_of_the_elements():
    chosen = select_for_query(whole(), asking(("rows", None, "b")))
    check_presented(chosen, asking(("rows", None, "b")))
    with pytest.raises(FormatError, match="missing-claim"):
        check_presented(chosen, asking(("rows", None, "b", "c")))


def test_values_choose_and_refuse():
    def query(*values, path=("nations", None)):
        return CredentialQuery("c", (VCT,), (ClaimQuery(path, values),))

    assert selected(query("DE")) == {DE}
    assert selected(query("DE", "US", "FR")) == {DE, US}
    check_presented(select_for_query(whole(), query("DE")), query("DE"))
    with pytest.raises(FormatError, match="claim-not-held"):
        select_for_query(whole(), query("FR"))
    with pytest.raises(FormatError, match="missing-claim"):
        check_presented(select_for_query(whole(), query("US")), query("DE"))
    assert selected(query(True, path=("exempt",))) == {EXEMPT}
    # 1 is not true, "2026" is not 2026.
    for value, path in ((1, ("exempt",)), ("2026", ("year",)), (False, ("exempt",))):
        with pytest.raises(FormatError, match="claim-not-held"):
            select_for_query(whole(), query(value, path=path))


def test_the_first_claim_set_that_can_be_answered_is_taken():
    claims = (
        ClaimQuery(("income_at_most", "1300000"), (True,), "ladder"),
        ClaimQuery(("income", "total"), (), "total"),
        ClaimQuery(("exempt",), (), "exempt"),
    )
    query = CredentialQuery("c", (VCT,), claims, (("ladder",), ("total",), ("exempt",)))
    assert selected(query) == {TOTAL, INCOME}
    check_presented(select_for_query(whole(), query), query)
    # Another set than the preferred one is an answer too, no set is none.
    check_presented(without(whole(), TOTAL, INCOME), query)
    with pytest.raises(FormatError, match="missing-claim"):
        check_presented(without(whole(), TOTAL, INCOME, EXEMPT), query)


def test_the_order_of_the_file_is_kept():
    chosen = select_for_query(whole(), asking(("subject",), ("income", "total")))
    order = [item.encoded for item in whole().disclosures]
    assert [item.encoded for item in chosen.disclosures] == [
        text for text in order if text in {NAME, BIRTH, SUBJECT, TOTAL, INCOME}
    ]


# --- answers ----------------------------------------------------------------------------------------------


def test_a_withheld_claim_is_named():
    query = asking(("subject", "name"), ("income", "total"))
    given_all = select_for_query(whole(), query)
    check_presented(given_all, query)
    with pytest.raises(FormatError) as caught:
        check_presented(without(given_all, TOTAL), query)
    assert (caught.value.code, "income.total" in caught.value.detail) == ("missing-claim", True)
    assert "subject.name" not in caught.value.detail
    # The reader that does not ask for claims takes it: what refuses is the query.
    check_presented(without(given_all, TOTAL), asking())


def test_a_group_opened_and_left_empty_is_no_answer():
    emptied = without(select_for_query(whole(), asking(("subject",))), NAME, BIRTH)
    assert peek_processed(emptied)["subject"] == {}
    with pytest.raises(FormatError, match="missing-claim"):
        check_presented(emptied, asking(("subject",)))
    check_presented(whole(), asking(("subject",)))


def test_a_place_in_an_array_stays_the_same_when_others_are_withheld():
    """DE is at place 2 of what was signed; alone it is not taken for what stood at place 1."""
    chosen = select_for_query(whole(), asking(("nations", 2)))
    assert peek_processed(chosen)["nations"] == ["JP", "DE"]
    check_presented(chosen, asking(("nations", 2)))
    with pytest.raises(FormatError, match="missing-claim"):
        check_presented(chosen, asking(("nations", 1)))


def test_a_withheld_element_is_missed_where_all_are_asked_for():
    query = asking(("nations", None))
    check_presented(without(whole()), query)
    with pytest.raises(FormatError, match="missing-claim"):
        check_presented(without(whole(), DE), query)


def test_a_credential_of_another_type_is_no_answer():
    query = CredentialQuery("c", ("https://v/2",), ())
    for function in (select_for_query, check_presented):
        with pytest.raises(FormatError, match="other-vct"):
            function(whole(), query)
    check_presented(whole(), CredentialQuery("c", ("https://v/2", VCT)))


def test_nothing_is_looked_up_in_a_credential_that_is_refused():
    stranger, _ = disclosure("s", "stranger", 1)
    spoiled = sd_jwt(PAYLOAD, *ALL, stranger)
    for function in (select_for_query, check_presented):
        with pytest.raises(FormatError, match="unreferenced-disclosure"):
            function(spoiled, asking(("year",)))


def sets_query(*sets):
    credential = {"format": "dc+sd-jwt", "meta": {"vct_values": [VCT]}}
    ids = ("a", "b", "c")
    query = {"credentials": [{"id": name, "claims": [{"path": ["exempt"]}], **credential} for name in ids]}
    return read_dcql(query | ({"credential_sets": list(sets)} if sets else {}))


def test_an_answer_holds_every_credential_unless_sets_say_otherwise():
    good = whole()
    check_answer(sets_query(), {"a": good, "b": good, "c": good})
    with pytest.raises(FormatError, match="missing-credential"):
        check_answer(sets_query(), {"a": good, "b": good})
    either = sets_query({"options": [["a"], ["b", "c"]]})
    check_answer(either, {"a": good})
    check_answer(either, {"b": good, "c": good})
    with pytest.raises(FormatError, match="missing-credential"):
        check_answer(either, {"b": good})
    optional = sets_query({"options": [["a"]]}, {"options": [["b"]], "required": False})
    check_answer(optional, {"a": good})
    with pytest.raises(FormatError, match="missing-credential"):
        check_answer(optional, {"b": good})


def test_every_credential_of_an_answer_is_checked():
    good, poor = whole(), without(whole(), EXEMPT)
    with pytest.raises(FormatError, match="missing-claim"):
        check_answer(sets_query({"options": [["a"]]}), {"a": good, "b": poor})
    with pytest.raises(FormatError, match="unexpected-credential"):
        check_answer(sets_query({"options": [["a"]]}), {"a": good, "z": good})
    with pytest.raises(FormatError, match="missing-credential"):
        check_answer(sets_query(), {})


# --- reading ----------------------------------------------------------------------------------------------

QUERY = {
    "credentials": [
        {
            "id": "income_certificate",
            "format": "dc+sd-jwt",
            "multiple": False,
            "require_cryptographic_holder_binding": True,
            "meta": {"vct_values": [VCT]},
            "claims": [
                {"id": "n", "path": ["subject", "name"]},
                {"id": "t", "path": ["rows", None, 0, "x"], "values": ["x", 1, True]},
            ],
            "claim_sets": [["n", "t"], ["n"]],
        }
    ],
    "credential_sets": [{"options": [["income_certificate"]], "required": True}],
}


def test_a_query_is_read():
    query = parse_dcql(json.dumps(QUERY).encode())
    (credential,) = query.credentials
    assert (credential.id, credential.vct_values) == ("income_certificate", (VCT,))
    assert credential.claims[1] == ClaimQuery(("rows", None, 0, "x"), ("x", 1, True), "t")
    assert credential.claims[1].text == "rows.*.0.x"
    assert credential.options() == (credential.claims, credential.claims[:1])
    assert query.credential_sets[0].options == (("income_certificate",),)


DROP = object()


def spoil(*way, to):
    value = copy.deepcopy(QUERY)
    node = value
    for part in way[:-1]:
        node = node[part]
    if to is DROP:
        del node[way[-1]]
    else:
        node[way[-1]] = to
    return value


C = ("credentials", 0)
BAD = {
    "no credentials": (spoil("credentials", to=DROP), "bad-dcql"),
    "empty credentials": (spoil("credentials", to=[]), "bad-dcql"),
    "unknown member": (spoil("purpose", to="x"), "bad-dcql"),
    "unknown member of a credential": (spoil(*C, "intent", to=1), "bad-dcql"),
    "unknown member of a claim": (spoil(*C, "claims", 0, "intent_to_retain", to=True), "bad-dcql"),
    "no id": (spoil(*C, "id", to=DROP), "bad-dcql"),
    "empty id": (spoil(*C, "id", to=""), "bad-dcql"),
    "id with a dot": (spoil(*C, "id", to="a.b"), "bad-dcql"),
    "same credential twice": (spoil("credentials", to=QUERY["credentials"] * 2), "bad-dcql"),
    "mdoc": (spoil(*C, "format", to="mso_mdoc"), "unsupported-dcql"),
    "draft format": (spoil(*C, "format", to="vc+sd-jwt"), "unsupported-dcql"),
    "no format": (spoil(*C, "format", to=DROP), "bad-dcql"),
    "multiple": (spoil(*C, "multiple", to=True), "unsupported-dcql"),
    "multiple as a number": (spoil(*C, "multiple", to=0), "unsupported-dcql"),
    "trusted authorities": (spoil(*C, "trusted_authorities", to=[{}]), "unsupported-dcql"),
    "no binding": (spoil(*C, "require_cryptographic_holder_binding", to=False), "unsupported-dcql"),
    "no meta": (spoil(*C, "meta", to=DROP), "bad-dcql"),
    "no types": (spoil(*C, "meta", to={}), "bad-dcql"),
    "empty types": (spoil(*C, "meta", to={"vct_values": []}), "bad-dcql"),
    "type no text": (spoil(*C, "meta", to={"vct_values": [1]}), "bad-dcql"),
    "empty claims": (spoil(*C, "claims", to=[]), "bad-dcql"),
    "same claim twice": (spoil(*C, "claims", 1, "path", to=["subject", "name"]), "bad-dcql"),
    "same claim id twice": (spoil(*C, "claims", 1, "id", to="n"), "bad-dcql"),
    "no path": (spoil(*C, "claims", 0, "path", to=DROP), "bad-dcql"),
    "empty path": (spoil(*C, "claims", 0, "path", to=[]), "bad-dcql"),
    "path as text": (spoil(*C, "claims", 0, "path", to="subject"), "bad-dcql"),
    "path from null": (spoil(*C, "claims", 0, "path", to=[None]), "bad-dcql"),
    "path from an index": (spoil(*C, "claims", 0, "path", to=[0]), "bad-dcql"),
    "negative index": (spoil(*C, "claims", 0, "path", to=["a", -1]), "bad-dcql"),
    "true as an index": (spoil(*C, "claims", 0, "path", to=["a", True]), "bad-dcql"),
    "object in a path": (spoil(*C, "claims", 0, "path", to=["a", {}]), "bad-dcql"),
    "path to digests": (spoil(*C, "claims", 0, "path", to=["subject", "_sd"]), "bad-dcql"),
    "path to an element's digest": (spoil(*C, "claims", 0, "path", to=["rows", 0, "..."]), "bad-dcql"),
    "path to the algorithm": (spoil(*C, "claims", 0, "path", to=["_sd_alg"]), "bad-dcql"),
    "empty values": (spoil(*C, "claims", 1, "values", to=[]), "bad-dcql"),
    "null as a value": (spoil(*C, "claims", 1, "values", to=[None]), "bad-dcql"),
    "object as a value": (spoil(*C, "claims", 1, "values", to=[{}]), "bad-dcql"),
    "claim sets without claims": (spoil(*C, "claims", to=DROP), "bad-dcql"),
    "claim without id": (spoil(*C, "claims", 0, "id", to=DROP), "bad-dcql"),
    "empty claim sets": (spoil(*C, "claim_sets", to=[]), "bad-dcql"),
    "empty claim set": (spoil(*C, "claim_sets", to=[[]]), "bad-dcql"),
    "unknown claim in a set": (spoil(*C, "claim_sets", to=[["z"]]), "bad-dcql"),
    "a claim twice in a set": (spoil(*C, "claim_sets", to=[["n", "n"]]), "bad-dcql"),
    "empty credential sets": (spoil("credential_sets", to=[]), "bad-dcql"),
    "empty options": (spoil("credential_sets", 0, "options", to=[]), "bad-dcql"),
    "unknown credential in a set": (spoil("credential_sets", 0, "options", to=[["z"]]), "bad-dcql"),
    "required as a number": (spoil("credential_sets", 0, "required", to=1), "bad-dcql"),
    "list": ([QUERY], "bad-dcql"),
}


@pytest.mark.parametrize("name", BAD)
def test_other_queries_are_refused(name):
    value, code = BAD[name]
    read_dcql(QUERY)
    with pytest.raises(FormatError) as caught:
        read_dcql(value)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("value", "fits"),
    [
        (spoil("credential_sets", to=[{"options": [["income_certificate"]]}] * 17), 16),
        (spoil(*C, "claim_sets", to=[["n"]] * 17), 16),
        (spoil(*C, "claims", 0, "path", to=["a"] * 9), 8),
        (spoil(*C, "meta", "vct_values", to=["x"] * 65), 64),
        (spoil(*C, "claims", 1, "values", to=[1] * 65), 64),
    ],
)
def test_lists_have_limits(value, fits):
    with pytest.raises(LimitError, match=f"more than {fits}"):
        read_dcql(value)


def test_claims_credentials_and_bytes_have_limits():
    def of(claims, credentials=1):
        credential = {"format": "dc+sd-jwt", "meta": {"vct_values": [VCT]}}
        asked = [{"path": [f"n{n}"]} for n in range(claims)]
        return {"credentials": [{"id": f"c{n}", "claims": asked, **credential} for n in range(credentials)]}

    assert len(read_dcql(of(64, 4)).credentials) == 4
    for value in (of(65), of(1, 5)):
        with pytest.raises(LimitError, match="dcql-too-large"):
            read_dcql(value)
    with pytest.raises(LimitError, match="json-too-large"):
        parse_dcql(json.dumps(QUERY).encode() + b" " * (33 << 10))
    with pytest.raises(FormatError, match="bad-dcql"):
        read_dcql(spoil(*C, "claims", 0, "path", to=["x" * 129]))


NAMES = st.sampled_from([*QUERY, *QUERY["credentials"][0], "options", "required", "path", "values", "a"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 300) | st.sampled_from(["a", "_sd", "dc+sd-jwt", VCT, ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=10,
)
PLACES = st.sampled_from(
    [("credentials",), C, (*C, "claims"), (*C, "claims", 1), (*C, "meta"), (*C, "claim_sets", 0)]
)


@settings(max_examples=150, deadline=None)
@given(place=PLACES, value=VALUES)
def test_any_value_in_any_place_gives_a_query_or_our_error(place, value):
    try:
        query = read_dcql(spoil(*place, to=value))
    except FormatError:
        return
    for credential in query.credentials:
        with pytest.raises(FormatError, match=r"claim-not-held|other-vct"):
            select_for_query(sd_jwt({}), credential)


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=200))
def test_any_bytes_give_our_error(data):
    with pytest.raises(FormatError):
        parse_dcql(data)
