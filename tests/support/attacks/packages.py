"""Attacks on the package: to other keys, relabelled, in other algorithms, or with something else inside."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from tests.support.attacks.case import Attempt, attack, control
from tests.support.mini_city import city
from tests.support.verifier_bundles import new_key
from verifier.formats.encoding import base64url_decode, base64url_encode, canonical_json, parse_json
from verifier.formats.jose import thumbprint
from verifier.formats.names import BUNDLE_TYPE, ENVELOPE_TYPE, PRESENTATION_TYPE
from verifier.formats.package import MAX_PACKAGE_BYTES, pack


@control
def package() -> Attempt:
    """The genuine submission, encrypted to the desk."""
    return _open(city().package)


@control
def package_to_two_keys() -> Attempt:
    """The desk's key and its recovery key."""
    keys = [new_key().public_key(), city().base.desk.public_key()]
    return _open(pack(city().submission, keys, content_type=PRESENTATION_TYPE))


@control
def package_written_anew() -> Attempt:
    """The way of altering packages is sound."""
    return _open(canonical_json(json.loads(city().package)))


@attack
def package_to_a_foreign_key() -> Attempt:
    return _open(pack(city().submission, [new_key().public_key()], content_type=BUNDLE_TYPE))


@attack
def package_without_a_key_at_hand() -> Attempt:
    return dataclasses.replace(_open(city().package), key=None)


@attack
def package_to_a_foreign_key_relabelled() -> Attempt:
    data = pack(city().submission, [new_key().public_key()], content_type=BUNDLE_TYPE)
    return _recipient(data, kid=thumbprint(city().base.desk.public_key()))


@attack
def package_with_a_wrong_kid() -> Attempt:
    return _recipient(city().package, kid=thumbprint(new_key().public_key()))


@attack
def package_compressed() -> Attempt:
    return _protected(zip="DEF")


@attack
def package_with_another_encryption() -> Attempt:
    return _protected(enc="A128CBC-HS256")


@attack
def package_with_another_type() -> Attempt:
    return _protected(cty="application/pdf")


@attack
def package_with_another_key_wrapping() -> Attempt:
    return _recipient(city().package, alg="ECDH-ES")


@attack
def package_with_a_point_off_the_curve() -> Attempt:
    epk = json.loads(city().package)["recipients"][0]["header"]["epk"]
    return _recipient(city().package, epk={**epk, "y": base64url_encode(bytes(31) + b"\x05")})


@attack
def package_with_one_recipient_twice() -> Attempt:
    value = json.loads(city().package)
    value["recipients"] *= 2
    return _open(canonical_json(value))


@attack
def package_with_too_many_recipients() -> Attempt:
    value = json.loads(city().package)
    value["recipients"] *= 9
    return _open(canonical_json(value))


@attack
def package_with_the_content_of_another() -> Attempt:
    other = json.loads(city().base.packed(city().other_bundle))
    value = json.loads(city().package)
    value["ciphertext"] = other["ciphertext"]
    return _open(canonical_json(value))


@attack
def package_with_a_changed_byte() -> Attempt:
    value = json.loads(city().package)
    content = bytearray(base64url_decode(value["ciphertext"]))
    content[1000] ^= 1
    return _open(canonical_json({**value, "ciphertext": base64url_encode(bytes(content))}))


@attack
def package_with_more_members() -> Attempt:
    return _open(canonical_json({**json.loads(city().package), "unprotected": {"kid": "1"}}))


@attack
def package_with_a_duplicate_key() -> Attempt:
    return _open(city().package[:-1] + b',"tag":"AAAAAAAAAAAAAAAAAAAAAA"}')


@attack
def package_in_another_encoding() -> Attempt:
    return _open(json.dumps(json.loads(city().package)).encode())


@attack
def package_with_a_letter_in_it() -> Attempt:
    return _open(pack(b"hello", [city().base.desk.public_key()], content_type=ENVELOPE_TYPE))


@attack
def package_with_a_bare_page_in_it() -> Attempt:
    return _open(city().base.packed(city().page(city().hanako)))


@attack
def package_in_a_package() -> Attempt:
    return _open(city().base.packed(city().package))


@attack
def package_of_another_kind_of_message() -> Attempt:
    keys = [city().base.desk.public_key()]
    return _open(pack(city().submission, keys, content_type=BUNDLE_TYPE, typ=ENVELOPE_TYPE))


@attack
def package_beyond_its_limit() -> Attempt:
    return _open(city().package + b" " * MAX_PACKAGE_BYTES)


@attack
def package_cut_off() -> Attempt:
    return _open(city().package[:-40])


@attack
def package_with_a_bundle_for_nobody() -> Attempt:
    """Encrypted to the desk, but not bound to its request: no submission."""
    return _open(city().base.packed(city().bundle))


def _open(data: bytes) -> Attempt:
    return Attempt(data, request=city().request, key=city().base.desk)


def _recipient(data: bytes, **changes: Any) -> Attempt:
    value = json.loads(data)
    value["recipients"][0]["header"] |= changes
    return _open(canonical_json(value))


def _protected(**changes: Any) -> Attempt:
    value = json.loads(city().package)
    header = parse_json(base64url_decode(value["protected"])) | changes
    return _open(canonical_json({**value, "protected": base64url_encode(canonical_json(header))}))
