"""What the verifier remembers between files never changes a verdict: every case is asked cold and warm.

Remembered are a certificate path (without its dates), a parsed and a verified status list, the desk's own request, and a
parsed certificate: each by all the bytes it follows from, and only what was found good.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import itertools

import pytest

from app.sealing.certificates import SIGNING, Profile
from tests.support.mini_city import DAY, ISS, NOW, OTHER_ISS, city
from tests.support.verifier_bundles import changed, new_key
from verifier import OFFLINE, OfflineSources, examine
from verifier.checks import case as case_room
from verifier.checks import credential as credential_room
from verifier.checks import holder as holder_room
from verifier.checks import status as status_room
from verifier.errors import AkashiVerifierError
from verifier.formats import x509_path
from verifier.formats.encoding import base64url_decode, base64url_encode
from verifier.formats.jose import es256_signer
from verifier.formats.x509_path import Usage, parse_certificate, verify_path

MEMORIES = (
    x509_path._find_path,
    status_room._parsed,
    status_room._check_signature,
    holder_room._asked,
    credential_room._thumbprint_of,
    case_room._load_certificate,
)


def forget() -> None:
    for memory in MEMORIES:
        memory.cache_clear()


@functools.cache
def path_questions() -> tuple[dict, ...]:
    """Questions that differ in one argument from one that has an answer."""
    genuine = city().party("credential-1")
    second = city().certified(Profile(SIGNING, san_uri=OTHER_ISS))
    twin = city().twin.pki
    leaf, issuing = (parse_certificate(der) for der in genuine.chain)
    root = parse_certificate(city().pki.der("root"))
    twin_root, twin_issuing = (parse_certificate(twin.der(name)) for name in ("root", "issuing"))
    good = {
        "leaf": leaf, "intermediates": (issuing,), "anchors": (root,), "at": NOW, "usage": Usage.CREDENTIAL,
        "san_uri": ISS,
    }  # fmt: skip
    return (
        good,
        good | {"at": NOW + 4000 * DAY},
        good | {"at": NOW - 4000 * DAY},
        good | {"at": leaf.not_valid_after_utc},
        good | {"at": leaf.not_valid_after_utc + dt.timedelta(seconds=1)},
        good | {"anchors": (twin_root,)},
        good | {"anchors": ()},
        good | {"anchors": (twin_root, root)},
        good | {"intermediates": (twin_issuing,)},
        good | {"intermediates": ()},
        good | {"san_uri": OTHER_ISS},
        good | {"san_uri": None},
        good | {"usage": Usage.STATUS_LIST, "san_uri": ISS},
        good | {"usage": Usage.PAGE_SEAL, "san_uri": None},
        good | {"usage": Usage.PAGE_SEAL},
        good | {"leaf": parse_certificate(second.chain[0])},
        good | {"leaf": parse_certificate(second.chain[0]), "san_uri": OTHER_ISS},
        good | {"leaf": parse_certificate(second.chain[0]), "at": NOW + 4000 * DAY, "anchors": (twin_root,)},
        good | {"leaf": issuing},
        good | {"leaf": parse_certificate(_flipped(genuine.chain[0]))},
    )


def _flipped(der: bytes) -> bytes:
    """The same certificate with another last bit in its signature."""
    return der[:-1] + bytes([der[-1] ^ 1])


def answer(question: dict) -> tuple[str, ...]:
    try:
        path = verify_path(question["leaf"], **{name: question[name] for name in question if name != "leaf"})
    except AkashiVerifierError as error:
        return (type(error).__name__, error.code, error.detail)
    return tuple(certificate.subject.rfc4514_string() for certificate in path)


def cold(question: dict) -> tuple[str, ...]:
    forget()
    return answer(question)


def test_a_remembered_path_answers_no_other_question():
    questions = path_questions()
    expected = [cold(question) for question in questions]
    assert len(set(expected)) >= 7
    for first, second in itertools.permutations(range(len(questions)), 2):
        forget()
        for _ in range(2):
            assert answer(questions[first]) == expected[first]
            assert answer(questions[second]) == expected[second]


@pytest.mark.parametrize("left_out", ["leaf", "intermediates", "anchors", "usage", "san_uri"])
def test_a_memory_by_less_than_everything_would_be_caught(left_out, monkeypatch):
    """Positive control: leave one argument out of the key, and the cases above give it away."""
    genuine = x509_path._find_path.__wrapped__
    names = ("leaf", "intermediates", "anchors", "usage", "san_uri")
    expected = [cold(question) for question in path_questions()]
    kept: dict = {}

    def careless(*args):
        key = tuple(value for name, value in zip(names, args, strict=True) if name != left_out)
        if key not in kept:
            kept[key] = genuine(*args)
        return kept[key]

    monkeypatch.setattr(x509_path, "_find_path", careless)
    assert [answer(question) for question in path_questions()] != expected


def test_a_path_whose_dates_are_not_asked_anew_would_be_caught(monkeypatch):
    expected = [cold(question) for question in path_questions()]
    monkeypatch.setattr(x509_path, "_check_dates", lambda certificate, at: None)
    assert [answer(question) for question in path_questions()] != expected


@functools.cache
def files() -> dict[str, tuple[bytes, dict]]:
    """Bundles that differ in the status list or the credential only, and circumstances."""
    base, bundle = city().base, city().bundle
    index = city().hanako.index
    genuine = base.status()
    revoked = base.status(revoked=[index], issued=NOW - dt.timedelta(minutes=5))
    stranger = base.status(sign=es256_signer(new_key()))
    jwt = genuine.decode().split(".")
    spoilt = bytearray(base64url_decode(jwt[2]))
    spoilt[5] ^= 1
    unsigned = ".".join([*jwt[:2], base64url_encode(bytes(spoilt))]).encode()
    moved = ".".join([jwt[0], revoked.decode().split(".")[1], jwt[2]]).encode()
    return {
        "good": (bundle, {}),
        "revoked": (changed(bundle, status=revoked), {}),
        "by a stranger": (changed(bundle, status=stranger), {}),
        "another signature": (changed(bundle, status=unsigned), {}),
        "another payload": (changed(bundle, status=moved), {}),
        "other resident": (city().other_bundle, {}),
        "later": (bundle, {"now": NOW + 20 * DAY}),
        "before": (bundle, {"now": NOW - 20 * DAY}),
        "older than the policy": (
            bundle,
            {"policy": dataclasses.replace(OFFLINE, max_status_age=dt.timedelta(0)), "now": NOW + DAY},
        ),
        "submission": (city().submission, {"request": city().request}),
        "submission to another": (city().submission, {"request": base.request(purpose="別の目的")}),
        "submission, an item missing": (
            city().submit(city().base.present(bundle, [("subject", "name")])),
            {"request": city().request},
        ),
    }


def verdict(name: str) -> tuple:
    file, circumstances = files()[name]
    values = {"policy": OFFLINE, "now": NOW, "sources": OfflineSources()} | circumstances
    report = examine(file, trust=city().trust, **values)
    return report.verdict, tuple((f.check, f.outcome, f.code, f.detail) for f in report.findings)


def test_a_verdict_is_the_same_whatever_was_examined_before():
    expected = {}
    for name in files():
        forget()
        expected[name] = verdict(name)
    assert len(set(expected.values())) >= 8
    forget()
    for order in (list(files()), list(files())[::-1], sorted(files())):
        for name in order:
            assert verdict(name) == expected[name], (name, order)


def test_a_status_list_remembered_by_its_beginning_would_be_caught(monkeypatch):
    """Positive control: header and first characters are the same for the lists above."""
    forget()
    expected = {name: verdict(name) for name in files()}
    kept: dict = {}
    genuine = status_room._parsed.__wrapped__
    monkeypatch.setattr(
        status_room, "_parsed", lambda data: kept.setdefault(data[: data.index(b".")], genuine(data))
    )
    monkeypatch.setattr(status_room, "_check_signature", lambda data, certificate: None)
    assert {name: verdict(name) for name in files()} != expected


def test_what_is_remembered_is_bounded():
    for memory in MEMORIES:
        assert 0 < memory.cache_info().maxsize <= 64
    assert status_room._parsed.cache_info().maxsize <= 8, "lists may have two million octets each"


def test_a_list_that_was_refused_is_not_remembered():
    forget()
    verdict("another signature")
    assert status_room._check_signature.cache_info().currsize == 0
    verdict("good")
    assert status_room._check_signature.cache_info().currsize == 1
