"""Attacks on a submission: bound by somebody else, for somebody else, or not at all."""

from __future__ import annotations

import datetime as dt
from typing import Any

from tests.support.attacks.case import Attempt, attack, control
from tests.support.mini_city import DAY, NOW, city
from tests.support.verifier_bundles import changed, new_key
from verifier.formats.bundle import add_key_binding, parse_bundle
from verifier.formats.encoding import base64url_encode, canonical_json
from verifier.formats.jose import build_jws, es256_signer, format_jwk
from verifier.formats.key_binding import audience, presentation_hash
from verifier.formats.submission_request import parse_submission_request, request_nonce


@control
def submission() -> Attempt:
    """The genuine submission."""
    return Attempt(city().submission, request=city().request)


@control
def submission_of_a_presentation() -> Attempt:
    """Selected claims, bound after the selection."""
    shown = city().base.present(city().bundle, [("subject", "name"), ("income", "total")])
    return Attempt(city().submit(shown), request=city().request)


@control
def submission_of_ninety_days_ago() -> Attempt:
    """A binding may be as old as a certificate."""
    return _bound(issued=int((NOW - 90 * DAY).timestamp()))


@attack
def bundle_not_bound_to_any_request() -> Attempt:
    return Attempt(city().bundle, request=city().request)


@attack
def page_instead_of_a_submission() -> Attempt:
    return Attempt(city().page(city().hanako), request=city().request)


@attack
def submission_without_its_request() -> Attempt:
    return Attempt(city().submission)


@attack
def submission_bound_by_another_phone() -> Attempt:
    return _bound(sign=es256_signer(new_key()))


@attack
def submission_bound_by_the_phone_of_another_resident() -> Attempt:
    return _bound(sign=es256_signer(city().taro.holder))


@attack
def binding_of_another_residents_submission() -> Attempt:
    theirs = city().base.bind(city().other_bundle, city().request, sign=es256_signer(city().taro.holder))
    return Attempt(
        changed(city().bundle, key_binding=parse_bundle(theirs).key_binding), request=city().request
    )


@attack
def submission_for_another_recipient() -> Attempt:
    """Handed to another employer, who now shows it as handed to the desk."""
    return _bound(audience=audience(new_key().public_key()))


@attack
def submission_for_another_request_of_the_desk() -> Attempt:
    other = city().base.request(salt=b"x" * 16)
    return Attempt(city().submit(request=other), request=city().request)


@attack
def submission_with_another_nonce() -> Attempt:
    return _bound(nonce="A" * 43)


@attack
def submission_of_another_selection() -> Attempt:
    less = parse_bundle(city().base.present(city().bundle, [("title",)])).credential
    return _bound(credential=less)


@attack
def submission_with_less_than_was_bound() -> Attempt:
    less = city().base.present(city().bundle, [("subject", "name")])
    binding = parse_bundle(city().submission).key_binding
    return Attempt(changed(less, key_binding=binding), request=city().request)


@attack
def submission_bound_too_long_ago() -> Attempt:
    return _bound(issued=int((NOW - 93 * DAY).timestamp()))


@attack
def submission_bound_in_the_future() -> Attempt:
    return _bound(issued=int((NOW + dt.timedelta(minutes=6)).timestamp()))


@attack
def submission_after_the_end_of_the_request() -> Attempt:
    ended = city().base.request(expires=NOW - DAY)
    return Attempt(city().submit(request=ended), request=ended)


@attack
def binding_with_the_key_in_its_header() -> Attempt:
    key = new_key()
    return _binding({"jwk": format_jwk(key.public_key())}, sign=es256_signer(key))


@attack
def binding_with_another_header_by_the_right_phone() -> Attempt:
    return _binding({"kid": "1"}, sign=es256_signer(city().hanako.holder))


@attack
def binding_with_alg_none() -> Attempt:
    header = base64url_encode(canonical_json({"alg": "none", "typ": "kb+jwt"}))
    text = f"{header}.{base64url_encode(canonical_json(_claims()))}."
    return Attempt(add_key_binding(city().bundle, text.encode()), request=city().request)


@attack
def binding_of_another_kind() -> Attempt:
    """A proof to the street door, signed by the right phone, in the place of a binding."""
    binding = build_jws(
        {"typ": "akashi-proof+jwt"}, canonical_json(_claims()), es256_signer(city().hanako.holder)
    )
    return Attempt(add_key_binding(city().bundle, binding), request=city().request)


@attack
def binding_with_more_claims() -> Attempt:
    claims = {**_claims(), "exp": 1 << 33}
    binding = build_jws({"typ": "kb+jwt"}, canonical_json(claims), es256_signer(city().hanako.holder))
    return Attempt(add_key_binding(city().bundle, binding), request=city().request)


def _bound(**changes: Any) -> Attempt:
    return Attempt(city().submit(**changes), request=city().request)


def _claims() -> dict[str, Any]:
    return {
        "aud": parse_submission_request(city().request).audience(),
        "iat": int(NOW.timestamp()),
        "nonce": request_nonce(city().request),
        "sd_hash": presentation_hash(parse_bundle(city().bundle).credential),
    }


def _binding(header: dict[str, Any], *, sign) -> Attempt:
    binding = build_jws({"typ": "kb+jwt", **header}, canonical_json(_claims()), sign)
    return Attempt(add_key_binding(city().bundle, binding), request=city().request)
