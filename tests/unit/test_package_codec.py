"""The encrypted package: one encoding, one content key, nothing that an attacker could choose."""

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from verifier.errors import FormatError, LimitError
from verifier.formats import package as package_module
from verifier.formats.encoding import canonical_json
from verifier.formats.jose import agreement, format_jwk, thumbprint
from verifier.formats.names import ENVELOPE_TYPE, PACKAGE_TYPE
from verifier.formats.package import open_package, pack, parse_package

KEYS = [ec.generate_private_key(ec.SECP256R1()) for _ in range(3)]
CONTENT = "application/vnd.akashi.bundle"


def packed(content=b"secret", keys=KEYS, **options):
    return pack(content, [key.public_key() for key in keys], content_type=CONTENT, **options)


def opened(data, key=KEYS[0]):
    return open_package(data, thumbprint(key.public_key()), agreement(key))


def altered(data, change):
    value = json.loads(data)
    change(value)
    return canonical_json(value)


@pytest.mark.parametrize("key", KEYS)
def test_every_recipient_opens_the_same_content(key):
    result = opened(packed(), key)
    assert (result.plaintext, result.typ, result.content_type) == (b"secret", PACKAGE_TYPE, CONTENT)


def test_another_key_does_not_open_it():
    data = packed(keys=KEYS[:2])
    with pytest.raises(FormatError) as error:
        opened(data, KEYS[2])
    assert error.value.code == "not-for-this-key"


def test_a_key_under_a_false_name_does_not_open_it():
    data = packed(keys=KEYS[:1])
    with pytest.raises(FormatError) as error:
        open_package(data, thumbprint(KEYS[0].public_key()), agreement(KEYS[1]))
    assert error.value.code == "decryption-failed"


def test_the_type_is_authenticated():
    other = json.loads(packed(typ=ENVELOPE_TYPE))["protected"]
    data = altered(packed(), lambda value: value.update(protected=other))
    assert parse_package(data).typ == ENVELOPE_TYPE
    with pytest.raises(FormatError, match="decryption-failed"):
        opened(data)


def test_two_packings_share_nothing():
    one, two = json.loads(packed()), json.loads(packed())
    assert one["iv"] != two["iv"]
    assert one["ciphertext"] != two["ciphertext"]
    assert {r["header"]["epk"]["x"] for r in one["recipients"]}.isdisjoint(
        r["header"]["epk"]["x"] for r in two["recipients"]
    )


def test_given_randomness_makes_a_reproducible_package():
    counter = iter(range(1000))

    def numbers(size):
        return bytes([next(counter) % 256]) * size

    first = packed(random=numbers)
    counter = iter(range(1000))
    assert packed(random=numbers) == first


@pytest.mark.parametrize("count", [0, 9])
def test_the_number_of_recipients_is_limited(count):
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(count)]
    with pytest.raises(LimitError, match="recipients"):
        packed(keys=keys)


def test_eight_recipients_fit():
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(8)]
    assert opened(packed(keys=keys), keys[7]).plaintext == b"secret"


def test_one_key_twice_is_refused():
    with pytest.raises(FormatError, match="duplicate-recipient"):
        packed(keys=[KEYS[0], KEYS[0]])


CHANGES = {
    "zip": lambda v: v.update(zip="DEF"),
    "aad": lambda v: v.update(aad="eA"),
    "unprotected": lambda v: v.update(unprotected={}),
    "short iv": lambda v: v.update(iv=v["iv"][:-4]),
    "short tag": lambda v: v.update(tag="AAAA"),
    "no recipients": lambda v: v.update(recipients=[]),
    "recipients no list": lambda v: v.update(recipients={}),
    "same recipient twice": lambda v: v["recipients"].append(v["recipients"][0]),
    "another algorithm": lambda v: v["recipients"][0]["header"].update(alg="ECDH-ES"),
    "apu": lambda v: v["recipients"][0]["header"].update(apu="eA"),
    "kid missing": lambda v: v["recipients"][0]["header"].pop("kid"),
    "kid no thumbprint": lambda v: v["recipients"][0]["header"].update(kid="me"),
    "private epk": lambda v: v["recipients"][0]["header"]["epk"].update(d="eA"),
    "epk off the curve": lambda v: v["recipients"][0]["header"]["epk"].update(y="A" * 43),
    "long key": lambda v: v["recipients"][0].update(encrypted_key="A" * 64),
    "not base64url": lambda v: v.update(ciphertext="AAA="),
    "another enc": lambda v: v.update(
        protected=base64.urlsafe_b64encode(b'{"cty":"a","enc":"A128GCM","typ":"b"}').decode().rstrip("=")
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_other_shapes_are_refused(name):
    with pytest.raises(FormatError):
        parse_package(altered(packed(), CHANGES[name]))


@pytest.mark.parametrize(
    "spoil", [lambda d: d + b"\n", lambda d: b" " + d, lambda d: d.replace(b":", b": ", 1)]
)
def test_another_encoding_of_the_same_package_is_refused(spoil):
    with pytest.raises(FormatError):
        parse_package(spoil(packed()))


def test_each_flipped_byte_is_noticed():
    data = packed(keys=KEYS[:1])
    for position in range(len(data)):
        spoilt = data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]
        with pytest.raises(FormatError):
            opened(spoilt)


def test_size_is_limited_before_anything_is_parsed():
    with pytest.raises(LimitError, match="package-too-large"):
        parse_package(b"x" * 11, max_bytes=10)
    assert package_module.MAX_PACKAGE_BYTES >= 4 << 20


def test_leading_zeros_of_coordinates_are_kept():
    # one key in 256 has a short x or y; a form without the zeros would have another thumbprint
    for secret in range(1, 2000):
        key = ec.derive_private_key(secret, ec.SECP256R1())
        if key.public_key().public_numbers().x >> 248 == 0:
            break
    assert len(format_jwk(key.public_key())["x"]) == 43
    assert opened(packed(keys=[key]), key).plaintext == b"secret"


@pytest.mark.parametrize("key", KEYS)
def test_another_library_opens_it(key):
    """joserfc (a separate JOSE implementation) decrypts each recipient's part of the general JSON form."""
    from joserfc import jwe
    from joserfc.jwk import ECKey

    value = json.loads(packed())
    value["recipients"] = [
        r for r in value["recipients"] if r["header"]["kid"] == thumbprint(key.public_key())
    ]
    algorithms = ["ECDH-ES+A256KW", "A256GCM"]
    assert jwe.decrypt_json(value, ECKey.import_key(key), algorithms=algorithms).plaintext == b"secret"
