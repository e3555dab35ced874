"""P-256 JWKs and compact JWS: one algorithm, one form, checked against another library."""

import json

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from verifier.errors import FormatError, LimitError
from verifier.formats.encoding import base64url_encode, parse_json
from verifier.formats.jose import (
    agreement,
    build_jws,
    es256_signer,
    format_jwk,
    parse_jwk,
    parse_jws,
    parse_thumbprint,
    thumbprint,
    verify_es256,
)

KEY = ec.generate_private_key(ec.SECP256R1())
PUBLIC = KEY.public_key()


def jws(header=None, payload=b'{"a":1}', key=KEY):
    return build_jws(header or {"typ": "x+jwt"}, payload, es256_signer(key))


def test_what_is_built_can_be_read_and_verified():
    parsed = parse_jws(jws(), typ="x+jwt")
    parsed.verify(PUBLIC)
    assert parsed.payload_object() == {"a": 1}


def test_another_library_agrees_in_both_directions():
    assert jwt.decode(jws(), PUBLIC, algorithms=["ES256"]) == {"a": 1}
    parsed = parse_jws(jwt.encode({"b": 2}, KEY, algorithm="ES256", headers={"typ": "x+jwt"}))
    parsed.verify(PUBLIC)


def test_another_key_does_not_verify():
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    with pytest.raises(FormatError, match="bad-signature"):
        parse_jws(jws()).verify(other)


def test_every_flipped_signature_bit_is_noticed():
    parsed = parse_jws(jws())
    for position in range(64):
        spoilt = bytearray(parsed.signature)
        spoilt[position] ^= 1
        with pytest.raises(FormatError, match="bad-signature"):
            verify_es256(PUBLIC, bytes(spoilt), parsed.signing_input)


@pytest.mark.parametrize("signature", [bytes(64), b"\xff" * 64, b"", bytes(63), bytes(65)])
def test_degenerate_signatures_are_refused(signature):
    with pytest.raises(FormatError, match="bad-signature"):
        verify_es256(PUBLIC, signature, b"")


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none"},
        {"alg": "HS256"},
        {"alg": "es256"},
        {},
        {"alg": "ES256", "crit": ["b64"], "b64": False},
        {"alg": "ES256", "jku": "https://evil.example"},
        {"alg": "ES256", "zip": "DEF"},
    ],
)
def test_a_header_chooses_nothing(header):
    text = f"{base64url_encode(json.dumps(header).encode())}.e30.{base64url_encode(bytes(64))}"
    with pytest.raises(FormatError):
        parse_jws(text)


@pytest.mark.parametrize(
    "spoil", [lambda t: t + b".", lambda t: t + b"=", lambda t: b" " + t, lambda t: t + b"\n"]
)
def test_other_spellings_are_refused(spoil):
    with pytest.raises(FormatError):
        parse_jws(spoil(jws()))


def test_duplicate_header_members_are_refused():
    header = base64url_encode(b'{"alg":"ES256","alg":"ES256"}')
    with pytest.raises(FormatError, match="duplicate-key"):
        parse_jws(f"{header}.e30.{base64url_encode(bytes(64))}")


def test_typ_is_compared_exactly():
    with pytest.raises(FormatError, match="bad-typ"):
        parse_jws(jws(), typ="y+jwt")


def test_sizes_are_limited():
    with pytest.raises(LimitError):
        parse_jws(b"a" * 100, max_bytes=99)
    with pytest.raises(LimitError):
        parse_jws(b"A" * 20000 + b".e30.AA")


def test_thumbprint_is_the_example_of_the_rfc_form():
    # RFC 7638 section 3.2: required members in lexical order, no white space
    members = json.dumps(format_jwk(PUBLIC), sort_keys=True, separators=(",", ":")).encode()
    import hashlib

    assert thumbprint(PUBLIC) == base64url_encode(hashlib.sha256(members).digest())
    assert parse_thumbprint(thumbprint(PUBLIC)) == thumbprint(PUBLIC)


@pytest.mark.parametrize("text", ["", "A" * 42, "A" * 43 + "=", "é" * 43, None, 1])
def test_thumbprints_have_one_form(text):
    with pytest.raises(FormatError):
        parse_thumbprint(text)


@pytest.mark.parametrize(
    "change",
    [
        {"d": "AA"},
        {"kid": "x"},
        {"crv": "P-384"},
        {"kty": "OKP"},
        {"x": 1},
        {"x": "AA"},
        {"y": base64url_encode(bytes(32))},
    ],
)
def test_other_keys_are_refused(change):
    with pytest.raises(FormatError):
        parse_jwk({**format_jwk(PUBLIC), **change})


def test_the_adjacent_good_key_is_accepted():
    assert parse_jwk(format_jwk(PUBLIC)).public_numbers() == PUBLIC.public_numbers()


def test_another_curve_has_no_form():
    with pytest.raises(FormatError):
        format_jwk(ec.generate_private_key(ec.SECP384R1()).public_key())


def test_agreement_is_symmetric():
    other = ec.generate_private_key(ec.SECP256R1())
    assert agreement(KEY)(other.public_key()) == agreement(other)(PUBLIC)


@pytest.mark.parametrize(
    ("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")], ids=["arrays", "objects", "both"]
)
def test_json_is_as_deep_as_the_limit_and_no_deeper(opening, closing):
    """Brackets inside strings are no depth, and escaped quotation marks end no string."""
    levels = 16 // (2 if opening.startswith("[{") else 1)

    def nested(count, inner="0"):
        return (opening * count + inner + closing * count).encode()

    parse_json(nested(levels))
    parse_json(nested(levels - 1, '"' + '[{\\"' * 99 + '"'))
    for count in (levels + 1, 500):
        with pytest.raises(LimitError, match="json-too-deep"):
            parse_json(nested(count))
