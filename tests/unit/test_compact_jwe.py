"""Compact JWE to and from programs of others: joserfc reads ours, we read joserfc's, and nothing else gets in."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from joserfc import jwe
from joserfc.jwk import ECKey

from verifier.errors import FormatError, LimitError
from verifier.formats import compact_jwe
from verifier.formats.compact_jwe import encrypt_compact, open_compact, parse_compact_jwe
from verifier.formats.encoding import base64url_decode, base64url_encode
from verifier.formats.jose import agreement, format_jwk

KEY = ec.generate_private_key(ec.SECP256R1())
OTHER = ec.generate_private_key(ec.SECP256R1())
REGISTRY = jwe.JWERegistry(algorithms=["ECDH-ES", "A128GCM", "A256GCM"])


def with_header(data: bytes, **changes):
    head, rest = data.split(b".", 1)
    header = {**json.loads(base64url_decode(head.decode())), **changes}
    header = {name: value for name, value in header.items() if value is not None}
    return base64url_encode(json.dumps(header).encode()).encode() + b"." + rest


@pytest.mark.parametrize("enc", ["A128GCM", "A256GCM"])
def test_a_foreign_library_reads_ours(enc):
    data = encrypt_compact(b"secret", KEY.public_key(), enc=enc, header={"kid": "k1"})
    private = ECKey.import_key(KEY)
    assert jwe.decrypt_compact(data, private, registry=REGISTRY).plaintext == b"secret"


@pytest.mark.parametrize("enc", ["A128GCM", "A256GCM"])
@pytest.mark.parametrize("party", [{}, {"apu": "QWxpY2U", "apv": "Qm9i"}])
def test_we_read_a_foreign_librarys(enc, party):
    public = ECKey.import_key(format_jwk(KEY.public_key()))
    header = {"alg": "ECDH-ES", "enc": enc, "kid": "k1", **party}
    data = jwe.encrypt_compact(header, b"secret", public, registry=REGISTRY)
    assert open_compact(data, agreement(KEY)) == b"secret"
    assert parse_compact_jwe(data).kid == "k1"


def test_another_key_does_not_open_it():
    with pytest.raises(FormatError) as error:
        open_compact(encrypt_compact(b"secret", KEY.public_key()), agreement(OTHER))
    assert error.value.code == "decryption-failed"


def test_every_flipped_byte_is_refused():
    data = encrypt_compact(b"secret", KEY.public_key())
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1
        with pytest.raises(FormatError):
            open_compact(bytes(changed), agreement(KEY))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"alg": "ECDH-ES+A256KW"}, "bad-alg"),
        ({"alg": "dir"}, "bad-alg"),
        ({"alg": None}, "bad-alg"),
        ({"enc": "A128CBC-HS256"}, "bad-enc"),
        ({"enc": ["A256GCM"]}, "bad-enc"),
        ({"zip": "DEF"}, "bad-jwe-header"),
        ({"crit": ["exp"]}, "bad-jwe-header"),
        ({"jku": "https://evil.example"}, "bad-jwe-header"),
        ({"kid": 1}, "bad-jwe-header"),
        ({"apu": 1}, "bad-jwe-header"),
        ({"apv": "A" * 513}, "bad-jwe-header"),
        ({"epk": None}, "bad-jwk"),
        ({"epk": {**format_jwk(OTHER.public_key()), "d": "AA"}}, "bad-jwk"),
        ({"epk": {**format_jwk(OTHER.public_key()), "x": "A" * 43}}, "bad-jwk"),
        ({"epk": format_jwk(OTHER.public_key())}, "decryption-failed"),
        ({"unknown": "ignored, but authenticated"}, "decryption-failed"),
    ],
)
def test_other_headers_are_refused(changes, code):
    data = encrypt_compact(b"secret", KEY.public_key())
    with pytest.raises(FormatError) as error:
        open_compact(with_header(data, **changes), agreement(KEY))
    assert error.value.code == code


@pytest.mark.parametrize("data", [b"", b"a.b.c", b"....", "あ.b.c.d.e", b"e30.x.AA.AA.AA"])
def test_rubbish_is_refused(data):
    with pytest.raises(FormatError):
        open_compact(data, agreement(KEY))


def test_a_text_too_long_is_refused_before_it_is_read():
    with pytest.raises(LimitError):
        open_compact(b"A" * (compact_jwe.MAX_JWE_BYTES + 1), agreement(KEY))


def test_two_encryptions_share_nothing():
    one, two = (encrypt_compact(b"secret", KEY.public_key()).split(b".") for _ in range(2))
    assert all(a != b for a, b in zip(one, two, strict=True) if a)


@pytest.mark.parametrize(
    ("key", "header", "code"),
    [
        (ec.generate_private_key(ec.SECP384R1()), {}, "bad-jwk"),
        (KEY, {"zip": "DEF"}, "bad-jwe-header"),
        (KEY, {"crit": ["exp"]}, "bad-jwe-header"),
        (KEY, {"apu": "QWxpY2U"}, "bad-jwe-header"),
        (KEY, {"apv": "Qm9i"}, "bad-jwe-header"),
        (KEY, {"kid": 1.5}, "not-canonical-data"),
    ],
)
def test_what_nobody_could_open_is_not_written(key, header, code):
    with pytest.raises(FormatError) as error:
        encrypt_compact(b"secret", key.public_key(), header=header)
    assert error.value.code == code
    # the same header members that do not change how it opens
    assert open_compact(encrypt_compact(b"x", KEY.public_key(), header={"typ": "t"}), agreement(KEY)) == b"x"


@pytest.mark.parametrize("name", ["crit", "zip", "jku", "x5u", "p2c", "p2s"])
def test_each_header_that_changes_the_meaning_is_refused_by_name(name):
    data = encrypt_compact(b"secret", KEY.public_key())
    with pytest.raises(FormatError) as error:
        parse_compact_jwe(with_header(data, **{name: "1"}))
    assert error.value.code == "bad-jwe-header"


def test_an_encrypted_key_beside_direct_agreement_is_refused():
    """It would be a second form of the same text: the part is authenticated by nothing."""
    parts = encrypt_compact(b"secret", KEY.public_key()).split(b".")
    parts[1] = b"AAAA"
    with pytest.raises(FormatError) as error:
        open_compact(b".".join(parts), agreement(KEY))
    assert error.value.code == "bad-jwe"
