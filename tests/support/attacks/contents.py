"""Attacks that put genuine parts of different certificates together, or show other parts than the log entry has."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable
from typing import Any

from tests.support.attacks.case import Attempt, attack, control
from tests.support.mini_city import DAY, city
from tests.support.verifier_bundles import DATA, changed, with_data
from verifier.formats.bundle import parse_bundle
from verifier.formats.encoding import base64url_encode, canonical_json, parse_json, sha256
from verifier.formats.evidence import build_evidence, parse_evidence, withhold
from verifier.formats.pdf_seal import parse_sealed_page


@control
def second_bundle() -> Attempt:
    """Another resident's genuine bundle."""
    return Attempt(city().other_bundle)


@control
def copy_without_page() -> Attempt:
    """A copy that was made without a page."""
    return Attempt(city().issue(with_page=False))


@control
def presentation() -> Attempt:
    """Two claims shown, page and data withheld."""
    return Attempt(city().base.present(city().bundle, [("subject", "name"), ("income", "total")]))


@control
def last_moment_of_the_last_day() -> Attempt:
    """One second before midnight in Japan."""
    end = dt.datetime(2027, 2, 20, 15, tzinfo=dt.UTC)
    return Attempt(_fresh(end), at=end - dt.timedelta(seconds=1))


@attack
def page_of_one_person_credential_of_another() -> Attempt:
    return _swapped("credential", "status")


@attack
def everything_of_another_person_but_the_page() -> Attempt:
    page = parse_bundle(city().bundle).page
    return Attempt(changed(city().other_bundle, page=page))


@attack
def data_of_another_person() -> Attempt:
    return _swapped("certificate")


@attack
def evidence_of_another_person() -> Attempt:
    return _swapped("evidence")


@attack
def data_edited() -> Attempt:
    income = {**DATA["income"], "total": 9_900_000}
    return Attempt(changed(city().bundle, certificate=canonical_json(with_data(income=income))))


@attack
def data_edited_and_logged() -> Attempt:
    """An insider enters other data than the credential and the page say."""
    income = {**DATA["income"], "total": 9_900_000}
    return Attempt(city().issue(certificate=canonical_json(with_data(income=income))))


@attack
def page_of_other_data_sealed_and_logged() -> Attempt:
    """An insider has the city seal a page with other data than the credential's."""
    page = city().seal(city().taro.certificate)
    return Attempt(city().issue(page=page))


@attack
def credential_of_another_page_logged() -> Attempt:
    page = city().page(city().hanako)
    credential = city().credential(city().hanako, page=page, page_digest=bytes(32))
    return Attempt(city().issue(credential=credential))


@attack
def salts_swapped() -> Attempt:
    def swap(parts: dict[str, Any]) -> None:
        parts["data"], parts["page"] = parts["page"], parts["data"]

    return _evidence(swap)


@attack
def salt_of_another_certificate() -> Attempt:
    def other(parts: dict[str, Any]) -> None:
        parts["credential"] = {"salt": base64url_encode(city().taro.salt("credential"))}

    return _evidence(other)


@attack
def page_withheld_but_shown() -> Attempt:
    whole = parse_bundle(city().bundle)
    hidden = withhold(parse_evidence(whole.evidence), page=parse_sealed_page(whole.page).revision)
    return Attempt(changed(city().bundle, evidence=build_evidence(hidden)))


@attack
def data_withheld_while_its_salt_is_shown() -> Attempt:
    return Attempt(changed(city().bundle, certificate=None, page=None))


@attack
def page_taken_out() -> Attempt:
    return Attempt(changed(city().bundle, page=None))


@attack
def page_shown_without_its_data() -> Attempt:
    return Attempt(city().base.present(city().bundle, [("page_digest",)], keep_page=True))


@attack
def page_put_into_a_copy_without_one() -> Attempt:
    return Attempt(changed(city().issue(with_page=False), page=city().page(city().hanako)))


@attack
def credential_withheld() -> Attempt:
    def hide(parts: dict[str, Any]) -> None:
        parts["credential"] = {"hash": base64url_encode(sha256(b"anything"))}

    return _evidence(hide)


@attack
def validity_made_longer() -> Attempt:
    evidence = parse_evidence(parse_bundle(city().bundle).evidence)
    longer = dataclasses.replace(evidence, validity="2026-11-20/2027-12-31")
    return Attempt(changed(city().bundle, evidence=build_evidence(longer)))


@attack
def kind_of_document_changed() -> Attempt:
    evidence = parse_evidence(parse_bundle(city().bundle).evidence)
    other = dataclasses.replace(evidence, document_kind="residence_certificate")
    return Attempt(changed(city().bundle, evidence=build_evidence(other)))


@attack
def evidence_with_a_duplicate_key() -> Attempt:
    def doubled(data: bytes) -> bytes:
        return data.replace(b'"v":1', b'"v":2,"v":1')

    return Attempt(changed(city().bundle, evidence=doubled))


@attack
def evidence_in_another_encoding() -> Attempt:
    return Attempt(changed(city().bundle, evidence=lambda data: data.replace(b":", b": ")))


@attack
def data_in_another_encoding() -> Attempt:
    return Attempt(changed(city().bundle, certificate=lambda data: data.replace("塚".encode(), b"\\u585a")))


@attack
def data_with_another_form_of_a_character() -> Attempt:
    """U+585A of the name becomes U+FA10, which normalisation (NFC) would make the same."""
    return Attempt(
        changed(city().bundle, certificate=lambda data: data.replace("塚".encode(), "\ufa10".encode()))
    )


@attack
def after_the_last_day() -> Attempt:
    end = dt.datetime(2027, 2, 20, 15, tzinfo=dt.UTC)
    return Attempt(_fresh(end), at=end)


@attack
def before_the_first_day() -> Attempt:
    data = with_data(issued_on="2026-11-21", valid_until="2027-02-20")
    return Attempt(city().issue(data=data))


@attack
def real_certificate_under_mock_trust() -> Attempt:
    authority = {name: value for name, value in DATA["issuing_authority"].items() if name != "mock"}
    return Attempt(city().issue(data=with_data(issuing_authority=authority)))


@attack
def mock_certificate_under_real_trust() -> Attempt:
    return Attempt(city().bundle, trust=(city().trust_data(mock=False),))


def _swapped(*members: str) -> Attempt:
    other = parse_bundle(city().other_bundle)
    return Attempt(changed(city().bundle, **{name: getattr(other, name) for name in members}))


def _evidence(change: Callable[[dict[str, Any]], None]) -> Attempt:
    value = parse_json(parse_bundle(city().bundle).evidence)
    change(value["parts"])
    return Attempt(changed(city().bundle, evidence=canonical_json(value)))


def _fresh(moment: dt.datetime) -> bytes:
    return changed(city().bundle, status=city().base.status(issued=moment - DAY))
