"""What wallets of others, and the street door on their behalf, may send: our errors only, and one form of each thing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from mobile_api import exchanges
from mobile_api.exchanges import format_answer, parse_answer, parse_question
from verifier.errors import FormatError
from verifier.formats.compact_jwe import open_compact, parse_compact_jwe
from verifier.formats.encoding import base64url_encode, canonical_json
from verifier.formats.jose import agreement, format_jwk
from verifier.formats.ladder import LADDERS, check_ladders, read_ladders

KEY = ec.derive_private_key(7, ec.SECP256R1())
JWK = format_jwk(KEY.public_key())
ID = base64url_encode(bytes(16))
MEMBERS = {
    "credential": ("configuration", "proofs", "response"),
    "sealed_credential": ("jwe",),
    "deferred": ("transaction", "response"),
    "sealed_deferred": ("jwe",),
    "notification": ("notification", "event"),
    "login_start": ("session", "configuration"),
    "login_finish": ("session", "query"),
    "issued": ("content_type", "body"),
    "pending": ("transaction", "interval", "body"),
    "denied": ("error", "description"),
    "noted": (),
    "redirect": ("location",),
    "granted": ("grant",),
}
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.text(max_size=12)
    | st.sampled_from(
        [
            ID,
            "t" * 22,
            "income_certificate",
            "application/json",
            "e30=",
            "invalid_nonce",
            "https://a.example/x",
        ]
    )
    | st.just({"jwk": JWK, "kid": None, "enc": "A128GCM"})
    | st.just(["a.b.c"])
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["jwk", "kid", "enc", "x"]), inner)
    ),
    max_leaves=6,
)


@st.composite
def bodies(draw: st.DrawFn) -> tuple[str, Any]:
    kind = draw(st.sampled_from(sorted(MEMBERS)))
    return kind, draw(st.fixed_dictionaries(dict.fromkeys(MEMBERS[kind], VALUES)) | VALUES)


@settings(max_examples=300, deadline=None)
@given(
    body=bodies(),
    changes=st.dictionaries(st.sampled_from(["v", "exchange", "grant", "dpop", "profile"]), VALUES),
)
def test_any_question_and_answer(body: tuple[str, Any], changes: dict[str, Any]) -> None:
    kind, content = body
    about = {"v": 1, "exchange": ID, "kind": kind, "body": content}
    question = {**about, "profile": "p1", "grant": ID, "dpop": None, "reply_jwk": JWK, **changes}
    reads = [(parse_question, question)]
    reads.append((parse_answer, {**about, **{name: changes[name] for name in changes if name in about}}))
    for read, value in reads:
        try:
            data = canonical_json(value)
            found = read(data)
        except FormatError:
            continue
        # what was read is written again as it came
        if read is parse_answer:
            assert format_answer(*found) == data
        else:
            assert exchanges._question_bytes(found) == data


@pytest.mark.parametrize("read", [parse_question, parse_answer, parse_compact_jwe])
@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=200))
def test_any_bytes(read: Any, data: bytes) -> None:
    _only_our_errors(read, data)


@settings(max_examples=200, deadline=None)
@given(
    header=st.dictionaries(
        st.sampled_from(["alg", "enc", "epk", "kid", "apu", "apv", "crit", "cty"]), VALUES
    ),
    parts=st.tuples(*(st.binary(max_size=17) for _ in range(4))),
)
def test_any_header_and_parts_of_a_jwe(header: dict[str, Any], parts: tuple[bytes, ...]) -> None:
    whole = {"alg": "ECDH-ES", "enc": "A128GCM", "epk": JWK} | header
    _key, iv, text, tag = parts
    right = [iv.ljust(12, b"0")[:12], text, tag.ljust(16, b"0")[:16]]
    for pieces in (parts, (b"", *right)):
        data = ".".join([base64url_encode(json.dumps(whole).encode()), *map(base64url_encode, pieces)])
        for given_ in (data, data.encode()):
            with pytest.raises(FormatError):
                open_compact(given_, agreement(KEY))


@settings(max_examples=300, deadline=None)
@given(
    claims=st.dictionaries(
        st.sampled_from([*(ladder.name for ladder in LADDERS), "income", "tax"]),
        VALUES | st.dictionaries(st.sampled_from(["1000000", "10000000", "48600", "total"]), LEAVES),
    ),
    certificate=st.none() | st.dictionaries(st.sampled_from(["income", "tax"]), VALUES),
)
def test_any_claims_and_data_of_a_ladder(claims: dict[str, Any], certificate: dict[str, Any] | None) -> None:
    _only_our_errors(read_ladders, claims)
    _only_our_errors(check_ladders, claims, certificate)


def _only_our_errors(read: Any, *arguments: Any) -> None:
    try:
        read(*arguments)
    except FormatError:
        return
