"""Attacks on the credential: signed by somebody else, or a token that another reader might take for one.

Where a signature is made, the credential is entered into the city's own log, so that it alone is wrong.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from app.sealing.certificates import SIGNING, Profile
from tests.support.attacks.case import Attempt, attack, control
from tests.support.mini_city import DAY, ISS, NOW, OTHER_ISS, Party, city
from tests.support.verifier_bundles import DATA, VCT, changed, new_key, with_data
from verifier.formats.bundle import parse_bundle
from verifier.formats.encoding import base64url_decode, base64url_encode, canonical_json, parse_json, sha256
from verifier.formats.jose import es256_signer, format_jwk
from verifier.formats.ladder import derive_ladders


@control
def credential_by_a_second_certificate() -> Attempt:
    """The city's authority may certify a new credential key at any time."""
    return _by(city().certified(Profile(SIGNING, san_uri=ISS)))


@control
def credential_rebuilt_without_change() -> Attempt:
    """The way of rebuilding tokens is sound."""
    return Attempt(city().issue(credential=_resigned(lambda header, payload: None)))


@control
def thresholds_without_the_figure() -> Attempt:
    """A presentation may tell a threshold, and nothing of the amount behind it."""
    return _presented({}, ("subject", "name"), AT_MOST, AT_LEAST)


@control
def thresholds_beside_the_figure() -> Attempt:
    """Thresholds and the amount may be told together."""
    return _presented({}, ("income", "total"), AT_MOST)


@attack
def credential_of_another_city_with_the_same_names() -> Attempt:
    return _by(city().party("credential-1", city().twin.pki))


@attack
def credential_of_a_neighbour_city_under_the_same_authority() -> Attempt:
    return _by(
        city().certified(Profile(SIGNING, san_uri=OTHER_ISS), organisation="隣市", number="1000020992020")
    )


@attack
def credential_by_a_certificate_for_two_cities() -> Attempt:
    """One certificate that speaks for the neighbour, whose name begins like ours."""
    return _by(city().certified(Profile(SIGNING, san_uri=ISS + "/x")))


@attack
def credential_by_the_page_seal_key() -> Attempt:
    return _by(city().party("page-seal-1"))


@attack
def credential_by_the_status_list_key() -> Attempt:
    return _by(city().party("status-list-1"))


@attack
def credential_by_an_expired_certificate() -> Attempt:
    return _by(city().certified(Profile(SIGNING, san_uri=ISS), start=NOW - 400 * DAY, years=1))


@attack
def credential_by_a_stranger_with_the_citys_certificates() -> Attempt:
    genuine = city().party("credential-1")
    return _by(Party(new_key(), genuine.chain))


@attack
def credential_with_the_key_in_its_header() -> Attempt:
    key = new_key()

    def add(header: dict[str, Any], payload: dict[str, Any]) -> None:
        header["jwk"] = format_jwk(key.public_key())

    return Attempt(city().issue(credential=_resigned(add, sign=es256_signer(key))))


@attack
def credential_with_another_kid() -> Attempt:
    def other(header: dict[str, Any], payload: dict[str, Any]) -> None:
        header["kid"] = "A" * 43

    return Attempt(city().issue(credential=_resigned(other)))


@attack
def credential_with_a_critical_header() -> Attempt:
    def critical(header: dict[str, Any], payload: dict[str, Any]) -> None:
        header["crit"] = ["b64"]

    return Attempt(city().issue(credential=_resigned(critical)))


@attack
def credential_with_alg_none() -> Attempt:
    return Attempt(city().issue(credential=_unsigned("none", lambda text: b"")))


@attack
def credential_with_hs256_under_the_public_key() -> Attempt:
    secret = city().party("credential-1").chain[0]
    return Attempt(
        city().issue(credential=_unsigned("HS256", lambda text: hmac.digest(secret, text, "sha256")))
    )


@attack
def credential_of_another_type() -> Attempt:
    return _framed(vct=VCT.replace("income-certificate", "residence-certificate"))


@attack
def credential_of_an_issuer_nobody_vouches_for() -> Attempt:
    party = city().certified(Profile(SIGNING, san_uri=OTHER_ISS))
    return _framed(iss=OTHER_ISS, **party.frame)


@attack
def credential_that_names_another_city() -> Attempt:
    authority = {**DATA["issuing_authority"], "code": "992020"}
    return Attempt(city().issue(data=with_data(issuing_authority=authority)))


@attack
def credential_with_a_disclosure_nobody_signed() -> Attempt:
    added = base64url_encode(canonical_json(["c2FsdA", "remarks_2", "anything"])).encode()
    return _disclosures(lambda items: sorted([*items, added], key=_digest))


@attack
def credential_with_a_disclosure_twice() -> Attempt:
    return _disclosures(lambda items: [items[0], *items])


@attack
def credential_with_an_edited_disclosure() -> Attempt:
    return _disclosures(lambda items: sorted((_edited(item) for item in items), key=_digest))


@attack
def credential_with_disclosures_in_another_order() -> Attempt:
    return _disclosures(lambda items: items[::-1])


@attack
def credential_with_a_disclosure_left_out() -> Attempt:
    return _disclosures(
        lambda items: [item for item in items if b"remarks" not in base64url_decode(item.decode())]
    )


@attack
def credential_with_too_many_disclosures() -> Attempt:
    extra = [base64url_encode(canonical_json([str(n), "x", n])).encode() for n in range(257)]
    return _disclosures(lambda items: [*items, *extra])


@attack
def credential_with_a_key_binding_in_it() -> Attempt:
    return Attempt(changed(city().bundle, credential=lambda data: data + b"e30.e30.e30"))


@attack
def credential_with_a_duplicate_key_signed_by_the_city() -> Attempt:
    def doubled(text: bytes) -> bytes:
        return text.replace(b'"fiscal_year":2026', b'"fiscal_year":2025,"fiscal_year":2026')

    return Attempt(city().issue(credential=_resigned(lambda header, payload: None, encode=doubled)))


@attack
def credential_with_loose_base64() -> Attempt:
    """The unused bits of the last character of a signature are set: the same bytes for a lenient reader."""

    def loose(data: bytes) -> bytes:
        jwt, tilde, rest = data.partition(b"~")
        last = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        return jwt[:-1] + last[last.index(jwt[-1:]) + 1 :][:1] + tilde + rest

    return Attempt(changed(city().bundle, credential=loose))


@attack
def threshold_that_is_false() -> Attempt:
    return _laddered({"income_at_most": RUNGS["income_at_most"] | {"1300000": False}})


@attack
def threshold_told_as_false_alone() -> Attempt:
    low = ("income_at_most", "1300000")
    return _presented({"income_at_most": {low[1]: False}}, ("subject", "name"), low)


@attack
def threshold_of_no_table() -> Attempt:
    own = ("income_at_least", "3500000")
    return _presented({"income_at_least": {own[1]: True}}, ("subject", "name"), own)


@attack
def threshold_that_is_an_amount() -> Attempt:
    return _presented({"income_at_most": {AT_MOST[1]: 3_560_000}}, ("subject", "name"), AT_MOST)


@attack
def thresholds_that_the_data_deny() -> Attempt:
    return _laddered({"income_at_most": dict.fromkeys(["1300000", *RUNGS["income_at_most"]], True)})


@attack
def thresholds_that_the_data_demand_left_out() -> Attempt:
    return _laddered({"levy_at_most": {}})


@attack
def threshold_against_the_figure_beside_it() -> Attempt:
    low = ("income_at_most", "1300000")
    return _presented({"income_at_most": {low[1]: True}}, ("income", "total"), low)


@attack
def thresholds_against_each_other() -> Attempt:
    low = ("income_at_most", "1300000")
    return _presented({"income_at_most": {low[1]: True}}, ("subject", "name"), low, AT_LEAST)


@attack
def threshold_of_another_residents_credential() -> Attempt:
    """Taro's income is at most 5 million as well, but it is his."""
    bundle = city().base.present(city().bundle, [("subject", "name")])
    other = city().base.present(city().other_bundle, [("income_at_most", "5000000")])
    foreign = parse_bundle(other).credential.split(b"~")[1:-1]

    def add(data: bytes) -> bytes:
        jwt, *items, _ = data.split(b"~")
        return b"~".join([jwt, *sorted([*items, *foreign], key=_digest), b""])

    return Attempt(changed(bundle, credential=add))


def _by(party: Party) -> Attempt:
    return _framed(**party.frame)


RUNGS = derive_ladders(DATA)
AT_MOST = ("income_at_most", "5000000")
AT_LEAST = ("income_at_least", "3000000")


@contextmanager
def _issuing(rungs: dict[str, Any]) -> Iterator[None]:
    """An insider at the issuer: these ladders instead of those that follow from the data."""
    with mock.patch("app.sealing.credential.derive_ladders", lambda data: RUNGS | rungs):
        yield


def _laddered(rungs: dict[str, Any]) -> Attempt:
    with _issuing(rungs):
        return _framed()


def _presented(rungs: dict[str, Any], *paths: tuple[str, ...]) -> Attempt:
    with _issuing(rungs):
        bundle = city().issue(credential=city().credential(city().hanako, page=city().page(city().hanako)))
    return Attempt(city().base.present(bundle, paths))


def _framed(**changes: Any) -> Attempt:
    page = city().page(city().hanako)
    return Attempt(city().issue(credential=city().credential(city().hanako, page=page, **changes)))


def _disclosures(change: Callable[[list[bytes]], list[bytes]]) -> Attempt:
    def edit(data: bytes) -> bytes:
        jwt, *items, _ = data.split(b"~")
        return b"~".join([jwt, *change(items), b""])

    return Attempt(changed(city().bundle, credential=edit))


def _digest(item: bytes) -> str:
    return base64url_encode(sha256(item))


def _edited(item: bytes) -> bytes:
    salt, name, value = parse_json(base64url_decode(item.decode()))
    if name != "gross_total":
        return item
    return base64url_encode(canonical_json([salt, name, value + 1])).encode()


def _parts() -> tuple[dict[str, Any], dict[str, Any], bytes]:
    data = city().credential(city().hanako, page=city().page(city().hanako))
    jwt, _, rest = data.partition(b"~")
    header, payload, _ = (base64url_decode(part.decode()) for part in jwt.split(b"."))
    return parse_json(header), parse_json(payload), b"~" + rest


def _resigned(
    change: Callable[[dict[str, Any], dict[str, Any]], None],
    *,
    sign: Callable[[bytes], bytes] | None = None,
    encode: Callable[[bytes], bytes] = bytes,
) -> bytes:
    header, payload, rest = _parts()
    change(header, payload)
    text = f"{base64url_encode(canonical_json(header))}.{base64url_encode(encode(canonical_json(payload)))}"
    signature = (sign or city().party("credential-1").sign)(sha256(text.encode()))
    return f"{text}.{base64url_encode(signature)}".encode() + rest


def _unsigned(algorithm: str, sign: Callable[[bytes], bytes]) -> bytes:
    header, payload, rest = _parts()
    header["alg"] = algorithm
    text = f"{base64url_encode(canonical_json(header))}.{base64url_encode(canonical_json(payload))}"
    return f"{text}.{base64url_encode(sign(text.encode()))}".encode() + rest
