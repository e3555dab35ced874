"""Parsers of the verifier room: on any bytes they return or raise FormatError, never anything else."""

import base64
import json
import re

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from verifier.errors import FormatError
from verifier.formats.bundle import Bundle, build_bundle, parse_bundle
from verifier.formats.credential import parse_credential, parse_disclosure, peek_claims, peek_processed
from verifier.formats.encoding import base64url_decode, base64url_encode, canonical_json, parse_json
from verifier.formats.evidence import parse_evidence
from verifier.formats.jose import build_jws, es256_signer, parse_jwk, parse_jws
from verifier.formats.key_binding import parse_foreign_key_binding, parse_key_binding
from verifier.formats.leaf import check_document_kind, parse_validity
from verifier.formats.package import parse_package
from verifier.formats.presentation_request import check_return_uri, parse_link, parse_presentation_request
from verifier.formats.presentation_response import parse_presentation, parse_presentation_response
from verifier.formats.recipient import parse_recipient_statement
from verifier.formats.status_list import inflate, parse_status_list
from verifier.formats.submission_request import (
    decrypt_descriptor,
    parse_instant,
    parse_request_qr,
    parse_submission_request,
)

KEY = ec.derive_private_key(7, ec.SECP256R1())
PARSERS = [
    parse_bundle,
    parse_package,
    parse_evidence,
    parse_jws,
    parse_credential,
    parse_disclosure,
    parse_key_binding,
    parse_foreign_key_binding,
    parse_presentation,
    parse_presentation_request,
    parse_presentation_response,
    parse_status_list,
    inflate,
    parse_recipient_statement,
    parse_submission_request,
    lambda data: decrypt_descriptor(data, bytes(32)),
]
TEXT_PARSERS = [
    parse_validity,
    parse_instant,
    parse_request_qr,
    check_document_kind,
    parse_link,
    check_return_uri,
]

NUMBERS = st.integers(-(2**53) + 1, 2**53 - 1)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["_sd", "...", "_sd_alg", "cnf", "jwk", "status", "status_list", "a"])
            | st.text(alphabet="abc", max_size=3),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)
CLAIM_NAMES = re.findall(
    r"\S+",
    "vct iss iat exp cnf status status_list sub bits lst ttl idx uri aud nonce sd_hash v city name keys "
    "signing_key upload recipient purpose items keep_until expires salt signing_jwk _sd _sd_alg ... "
    "vp_token state error response_type response_uri client_id dcql_query client_metadata verifier_info",
)
PAYLOADS = st.dictionaries(st.sampled_from(CLAIM_NAMES), VALUES, max_size=12)
TYPES = st.sampled_from(
    [
        "dc+sd-jwt",
        "kb+jwt",
        "statuslist+jwt",
        "akashi-recipient+jwt",
        "akashi-submission-request+jwt",
        "oauth-authz-req+jwt",
    ]
)


def only_our_errors(function, *arguments):
    try:
        return function(*arguments)
    except FormatError:
        return None


@pytest.mark.parametrize("parser", PARSERS)
@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=300))
def test_any_bytes(parser, data):
    only_our_errors(parser, data)


@pytest.mark.parametrize("parser", TEXT_PARSERS)
@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=40) | st.from_regex(r"\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\dZ|/\d{4}-\d\d-\d\d)?"))
def test_any_text(parser, text):
    only_our_errors(parser, text)


@settings(max_examples=150, deadline=None)
@given(typ=TYPES, payload=PAYLOADS, header=st.dictionaries(st.sampled_from(["x5c", "kid", "crit"]), VALUES))
def test_any_signed_payload(typ, payload, header):
    data = build_jws({**header, "typ": typ}, canonical_json(payload), es256_signer(KEY))
    for parser in (parse_key_binding, parse_status_list, parse_recipient_statement, parse_submission_request):
        only_our_errors(parser, data)
    credential = only_our_errors(parse_credential, data + b"~")
    if credential is not None:
        only_our_errors(peek_processed, credential)
        only_our_errors(peek_claims, credential)


@settings(max_examples=150, deadline=None)
@given(disclosed=st.lists(VALUES, max_size=4), payload=PAYLOADS)
def test_any_disclosures(disclosed, payload):
    parts = [base64url_encode(canonical_json(value)).encode() for value in disclosed]
    jwt = build_jws({"typ": "dc+sd-jwt"}, canonical_json(payload), es256_signer(KEY))
    credential = only_our_errors(parse_credential, b"~".join([jwt, *parts, b""]))
    if credential is not None:
        only_our_errors(peek_processed, credential)


@settings(max_examples=100, deadline=None)
@given(value=VALUES)
def test_any_json_key(value):
    only_our_errors(parse_jwk, value)
    only_our_errors(parse_evidence, json.dumps(value).encode())
    only_our_errors(parse_package, json.dumps(value).encode())


MEMBERS = st.binary(min_size=1, max_size=40)
OPTIONAL = st.none() | MEMBERS
BUNDLES = st.builds(
    Bundle,
    credential=MEMBERS,
    evidence=MEMBERS,
    inclusion=MEMBERS,
    status=MEMBERS,
    page=OPTIONAL,
    certificate=OPTIONAL,
    anchor=OPTIONAL,
    timestamp=OPTIONAL,
    key_binding=OPTIONAL,
)


@settings(max_examples=100, deadline=None)
@given(bundle=BUNDLES)
def test_bundles_round_trip(bundle):
    assert parse_bundle(build_bundle(bundle)) == bundle


@settings(max_examples=200, deadline=None)
@given(bundle=BUNDLES, data=st.data())
def test_an_accepted_bundle_has_one_encoding(bundle, data):
    spoilt = bytearray(build_bundle(bundle))
    position = data.draw(st.integers(0, len(spoilt) - 1))
    spoilt[position] ^= data.draw(st.integers(1, 255))
    accepted = only_our_errors(parse_bundle, bytes(spoilt))
    assert accepted is None or build_bundle(accepted) == bytes(spoilt)


@given(st.text("ABQgwAEIM048zZ-_+/= \nYé\x00", max_size=12) | st.binary(max_size=40).map(base64url_encode))
def test_base64url_is_read_as_the_standard_library_would_and_in_its_only_form(text):
    try:
        padded = text + "=" * (-len(text) % 4)
        expected = base64.b64decode(padded, altchars=b"-_", validate=True)
    except ValueError:
        expected = None
    if expected is None or base64.urlsafe_b64encode(expected).rstrip(b"=").decode() != text:
        with pytest.raises(FormatError, match="bad-base64url"):
            base64url_decode(text)
    else:
        assert base64url_decode(text) == expected
        assert base64url_encode(expected) == text


@given(st.text(' \t\n[]{}",:01-ab\ufeff', max_size=10))
def test_json_is_read_as_the_standard_library_would_where_both_read_it(text):
    try:
        expected = json.loads(text)
    except ValueError:
        expected = None
    accepted = only_our_errors(parse_json, text.encode())
    assert accepted is None or accepted == expected
    if accepted is None and expected is not None:
        # Ours is the narrower one: floats, doubled keys, -0.
        assert {"float", "duplicate-key", "negative-zero"} & {code_of(parse_json, text.encode())}


def code_of(function, data):
    with pytest.raises(FormatError) as caught:
        function(data)
    return caught.value.code
