"""The walk over answers of wallets: a good one, and a table of hostile ones, each of which differs from it in one thing."""

import dataclasses
import datetime as dt
import json

import pytest

from tests.support.hostile_answers import HOSTILE, NO, OPEN, Scene, genuine, good_credential
from tests.support.presentation_desk import SECONDS, Desk, wallet_with
from tests.support.verifier_bundles import (
    ISS,
    NOW,
    STATUS_URI,
    VCT,
    mini_city,
    new_key,
)
from tests.support.wallet_of_others import unb64
from verifier import verify as file_walk
from verifier.checks import presentation as presentation_checks
from verifier.errors import TrustError, UsageError
from verifier.formats import presentation_response
from verifier.formats.compromise import CompromisedKey, key_digest
from verifier.formats.credential import parse_credential, select_disclosures
from verifier.formats.dcql import ClaimQuery, CredentialQuery, CredentialSet, DcqlQuery
from verifier.formats.jose import format_jwk
from verifier.policy import POLICIES, WALLET
from verifier.presentation import pending_report
from verifier.report import Outcome, Reading, Verdict, report_object
from verifier.sources import StaticSources

CITY = mini_city()


@pytest.fixture
def desk():
    return Desk()


@pytest.fixture
def wallet():
    return wallet_with(CITY, good_credential())


def outcome(report, check):
    finding = report.find(check)
    return finding.outcome, finding.code


def test_a_good_answer_is_valid_and_shows_what_was_asked_and_nothing_else(desk, wallet):
    report = desk.examine(wallet.answer(desk.read))
    assert report.verdict is Verdict.VALID and report.reading is Reading.VALID
    assert report.certificate["income"] == {"total": 3560000}
    assert set(report.certificate["subject"]) == {"name"}
    assert not {"tax", "deductions", "dependants"} & set(report.certificate)
    assert (report.kind, report.policy, report.mock, report.city) == (
        "presentation",
        "wallet",
        True,
        "992011",
    )
    assert report.not_asked == ("log", "withheld")
    assert report.status_as_of == NOW
    assert all(finding.outcome is Outcome.PASS for finding in report.findings)
    assert {finding.check for finding in report.findings} == WALLET.required
    assert json.dumps(report_object(report))


def shuffled(wallet, request):
    whole = wallet.select([("subject", "name"), ("income", "total")])
    jwt, *disclosures, _ = whole.split(b"~")
    shown = b"~".join([jwt, *reversed(disclosures), b""])
    return shown + wallet.bind(shown, request)


@pytest.mark.parametrize(
    "make",
    [
        lambda wallet, request: wallet.answer(request, presentation=shuffled(wallet, request)),
        lambda wallet, request: wallet.answer(request, more={"iss": "https://wallet.example"}),
        lambda wallet, request: wallet.answer(request, header={"enc": "A256GCM"}),
        lambda wallet, request: wallet.answer(
            request, presentation=wallet.present(request, jti="1", exp=SECONDS + 9)
        ),
        lambda wallet, request: wallet.answer(
            request, presentation=wallet.present(request, iat=SECONDS - 299)
        ),
        lambda wallet, request: wallet.answer(
            request, presentation=wallet.present(request, iat=SECONDS + 299)
        ),
    ],
    ids=["order of disclosures", "more members", "other encryption", "more claims", "slow", "clock ahead"],
)
def test_what_wallets_may_do_differently(make, desk, wallet):
    assert desk.examine(make(wallet, desk.read)).verdict is Verdict.VALID


def test_what_nobody_asked_for_is_named_and_left_out(desk, wallet):
    shown = wallet.select([("subject", "name"), ("income", "total"), ("tax",)])
    report = desk.examine(wallet.answer(desk.read, presentation=shown + wallet.bind(shown, desk.read)))
    assert report.verdict is Verdict.VALID
    assert outcome(report, "data") == (Outcome.PASS, "unasked-items")
    assert "tax" not in report.certificate
    assert "tax" not in json.dumps(report_object(report)["findings"])


@pytest.mark.parametrize("case", HOSTILE, ids=lambda case: case.name)
def test_hostile_answers(case, desk, wallet):
    report = desk.examine(case.make(Scene(wallet, desk)), **case.examine)
    assert report.verdict is case.verdict
    assert report.find(case.check).code == case.code
    assert report.find(case.check).outcome is (Outcome.FAIL if case.verdict is NO else Outcome.UNDETERMINED)
    assert report.certificate is None
    said = json.dumps(report_object(report), ensure_ascii=False)
    assert "3560000" not in said and "花子" not in said


def test_the_control_of_the_table(desk, wallet):
    assert desk.examine(Scene(wallet, desk).answer()).verdict is Verdict.VALID
    assert len({case.name for case in HOSTILE}) == len(HOSTILE) > 44


def test_the_words_for_people(desk, wallet):
    missing = wallet.select([("subject", "name")])
    readings = {
        Reading.INCOMPLETE: wallet.answer(desk.read, presentation=missing + wallet.bind(missing, desk.read)),
        Reading.NOT_FOR_YOU: wallet.answer(desk.read, presentation=wallet.present(desk.read, nonce="x")),
        Reading.TAMPERED: wallet.answer(desk.read, presentation=wallet.present(desk.read, key=new_key())),
    }
    for reading, answer in readings.items():
        assert _fresh(desk).examine(answer).reading is reading
    declined = desk.examine(wallet.answer(desk.read, payload=b'{"error":"access_denied"}'))
    assert declined.reading is Reading.INCOMPLETE and "そろっていません" in declined.sentence_ja


def _fresh(desk):
    desk.taken = []
    return desk


def test_one_answer_is_taken_and_its_repetition_is_the_same_answer(desk, wallet):
    first, second = wallet.answer(desk.read), wallet.answer(desk.read)
    assert first != second
    assert desk.examine(first).verdict is Verdict.VALID
    assert desk.examine(first).verdict is Verdict.VALID
    report = desk.examine(second)
    assert report.verdict is NO and outcome(report, "holder") == (Outcome.FAIL, "answered-before")
    assert report.reading is Reading.NOT_FOR_YOU and report.certificate is None


def test_an_answer_is_not_replayed_to_another_request_of_the_desk(desk, wallet):
    answer = wallet.answer(desk.read)
    again = Desk(signing=desk.signing, key=desk.key)  # not even with the same keys
    report = again.examine(answer)
    assert report.verdict is NO and outcome(report, "holder") == (Outcome.FAIL, "other-request")


def test_what_carries_another_state_does_not_use_the_request_up(desk, wallet):
    desk.examine(wallet.answer(desk.read, more={"state": "x"}))
    assert desk.taken == []
    assert desk.examine(wallet.answer(desk.read)).verdict is Verdict.VALID


def test_a_stolen_credential_key_is_not_believed_without_the_log(desk, wallet):
    key = CITY.pki.certificates["credential-1"].public_key()
    entry = CompromisedKey(key_digest(key), CITY.log_vkey.name, 0, NOW, "stolen")
    report = desk.examine(wallet.answer(desk.read), trust=CITY.trust(compromised=(entry,)))
    assert report.verdict is OPEN
    assert outcome(report, "compromise") == (Outcome.UNDETERMINED, "no-log-evidence")


def test_an_answer_fetched_the_next_day_counts_from_when_it_came(desk, wallet):
    answer = wallet.answer(desk.read)
    later = NOW + dt.timedelta(hours=20)
    status = StaticSources({STATUS_URI: CITY.status(issued=later)})
    assert desk.examine(answer, now=later, received=NOW, sources=status).verdict is Verdict.VALID
    assert desk.examine(answer, now=later, sources=status).find("holder").code == "request-expired"
    # the door cannot make an old binding young by naming a time before the request
    early = wallet.answer(desk.read, presentation=wallet.present(desk.read, iat=SECONDS - 3600))
    report = _fresh(desk).examine(early, received=NOW - dt.timedelta(hours=1))
    assert report.find("holder").code == "binding-too-old"


def test_a_binding_from_before_the_request_is_refused_however_young(desk, wallet):
    made = dt.timedelta(seconds=60)  # `Desk.asked` was made a minute ago
    for seconds, is_valid in ((0, True), (1, False)):
        moment = NOW - made - WALLET.clock_skew - dt.timedelta(seconds=seconds)
        iat = int(moment.timestamp())
        early = wallet.answer(desk.read, presentation=wallet.present(desk.read, iat=iat))
        policy = dataclasses.replace(WALLET, max_binding_age=dt.timedelta(hours=1))
        report = _fresh(desk).examine(early, received=NOW - made, policy=policy)
        assert (report.verdict is Verdict.VALID) is is_valid
    assert report.find("holder").code == "binding-too-old"


def two_queries(*, required=True):
    claims = (ClaimQuery(("income", "total")),)
    asked = tuple(CredentialQuery(name, (VCT,), claims) for name in ("a", "b"))
    return DcqlQuery(asked, (CredentialSet((("a",),)), CredentialSet((("b",),), required)))


def answer_both(desk, wallets):
    shown = {}
    for name, wallet in wallets.items():
        chosen = select_disclosures(parse_credential(wallet.credential), [("income", "total")]).serialise()
        shown[name] = [(chosen + wallet.bind(chosen, desk.read)).decode()]
    return next(iter(wallets.values())).answer(desk.read, vp_token=shown)


def test_several_credentials_are_one_persons_only_where_a_key_shows_it(desk, wallet):
    desk.asked = desk.ask(query=two_queries())
    other = new_key()
    another = dataclasses.replace(
        wallet, credential=CITY.credential(holder_jwk=format_jwk(other.public_key())), key=other
    )
    report = desk.examine(answer_both(desk, {"a": wallet, "b": another}))
    assert report.verdict is OPEN and outcome(report, "holder") == (Outcome.UNDETERMINED, "several-holders")
    same = _fresh(desk).examine(answer_both(desk, {"a": wallet, "b": genuine(wallet)}))
    assert same.verdict is Verdict.VALID
    assert {name: item["income"] for name, item in same.certificate.items()} == {
        name: {"total": 3560000} for name in "ab"
    }
    # one bad credential among two spoils the answer, wherever it stands
    for bad in ("a", "b"):
        pair = {"a": wallet, "b": genuine(wallet)} | {bad: genuine(wallet, sign=CITY.signer("status-list-1"))}
        report = _fresh(desk).examine(answer_both(desk, pair))
        assert report.verdict is NO and outcome(report, "credential") == (Outcome.FAIL, "bad-signature")


def test_a_credential_that_is_not_required_may_be_missing(desk, wallet):
    desk.asked = desk.ask(query=two_queries())
    assert desk.examine(answer_both(desk, {"a": wallet})).find("data").code == "missing-credential"
    desk = Desk(signing=desk.signing)
    desk.asked = desk.ask(query=two_queries(required=False))
    assert desk.examine(answer_both(desk, {"a": wallet})).verdict is Verdict.VALID


def test_arguments_that_make_no_sense(desk, wallet):
    answer = wallet.answer(desk.read)
    with pytest.raises(UsageError, match="other-key"):
        desk.examine(answer, key=new_key())
    with pytest.raises(UsageError, match="bad-request"):
        desk.examine(answer, request=b"x")
    with pytest.raises(UsageError, match="naive-time"):
        desk.examine(answer, now=NOW.replace(tzinfo=None))
    with pytest.raises(UsageError, match="no-trust"):
        desk.examine(answer, trust=())
    with pytest.raises(TrustError, match="mock-mix"):
        desk.examine(answer, trust=(CITY.trust(), CITY.trust(mock=False)))


def test_the_policy_is_not_for_files_and_waiting_is_not_valid():
    assert WALLET.name not in POLICIES
    report = pending_report(WALLET, NOW, "no-answer-yet", "nobody has answered yet", retry=True)
    assert report.verdict is OPEN and report.certificate is None


@pytest.mark.parametrize(
    ("place", "name", "broken", "case"),
    [
        (presentation_checks, "_same", lambda one, other: True, "other audience"),
        (presentation_checks, "_same", lambda one, other: True, "disclosure removed after binding"),
        (
            presentation_checks,
            "_check_times",
            lambda *_: presentation_checks.passed("holder"),
            "bound 301 s ago",
        ),
        (presentation_checks, "check_answer", lambda *_: None, "a claim withheld"),
        (presentation_response, "same_thumbprint", lambda one, other: True, "encrypted to another key"),
    ],
)
def test_a_broken_check_is_found_out(place, name, broken, case, monkeypatch, desk, wallet):
    """The positive control of the table: with one check made to nod, the case no longer fails as it should."""
    chosen = next(item for item in HOSTILE if item.name == case)
    monkeypatch.setattr(place, name, broken)
    finding = desk.examine(chosen.make(Scene(wallet, desk)), **chosen.examine).find(chosen.check)
    assert finding is None or finding.code != chosen.code


def test_the_walk_for_files_does_not_take_a_presentation(desk, wallet):
    assert file_walk.peek_kind(wallet.answer(desk.read)) == "unknown"
    assert ISS in json.dumps(json.loads(unb64(wallet.present(desk.read).split(b".")[1].decode())))
