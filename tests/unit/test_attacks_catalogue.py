"""The catalogue of attacks, run in process: each ends in its expected verdict for its expected reason.

Beside each attack stands its control, the genuine thing made in the same way. `tests/vectors/bad/catalogue.json` is the
reviewed list; the builders are `tests/support/attacks`.
"""

from __future__ import annotations

import pytest

from tests.support.attacks.case import ACCEPTED, REFUSED, TRUST_ADD, TRUST_UPDATE, VERIFY, bring
from tests.support.attacks.catalogue import (
    CHAPTERS,
    FROZEN,
    PAGE,
    by_wrong_party,
    format_page,
    load_builders,
    read_list,
    stories,
)
from tests.support.mini_city import NOW
from verifier import OFFLINE, OfflineSources, Verdict, examine
from verifier.policy import CHECKS
from verifier.trust import load_trust_list

STORIES = {story.name: story for story in stories()}
CONTROLS = {item["name"]: item for item in read_list()["controls"]}


@pytest.mark.parametrize("name", STORIES)
def test_the_attack_ends_as_expected(name):
    story = STORIES[name]
    attempt = load_builders()[0][name]()
    assert (attempt.door, attempt.policy.name) == (story.door, story.policy)
    answer = bring(attempt)
    assert (answer.verdict, answer.findings) == (story.verdict, story.findings)
    if answer.report is not None:
        assert answer.report.certificate is None
        assert answer.report.page is None
        assert answer.report.verdict.value in ("not-valid", "undetermined")


@pytest.mark.parametrize("name", CONTROLS)
def test_the_control_is_accepted(name):
    item, attempt = CONTROLS[name], load_builders()[1][name]()
    answer = bring(attempt)
    assert (attempt.door, attempt.policy.name) == (item["door"], item["policy"])
    assert (answer.verdict, list(answer.findings)) == (item["verdict"], item["findings"])


def test_controls_are_as_good_as_their_kind_can_be():
    """A bare page and its code are never more than undetermined, for this one reason; all others are accepted."""
    for item in CONTROLS.values():
        if item["verdict"] == "undetermined":
            assert item["findings"] == ["status:no-status-reference"], item["name"]
        else:
            assert (item["verdict"], item["findings"]) in (("valid", []), (ACCEPTED, [])), item["name"]


def test_list_and_builders_are_in_step():
    attacks, controls = load_builders()
    assert sorted(attacks) == sorted(STORIES)
    assert sorted(controls) == sorted(CONTROLS)
    assert len(STORIES) == len(read_list()["attacks"])
    for name, item in CONTROLS.items():
        assert item["why"] == " ".join(controls[name].__doc__.split())


def test_every_line_of_the_list_is_whole():
    parties = read_list()["parties"]
    for story in STORIES.values():
        assert load_builders()[0][story.name].__module__.endswith("." + story.chapter)
        assert story.control in CONTROLS
        assert story.party is None or story.party in parties
        assert story.findings
        assert story.ja
        assert story.en
        assert not story.ja.isascii()
        checks = {finding.partition(":")[0] for finding in story.findings}
        assert checks <= ({"error"} if story.verdict == REFUSED else set(CHECKS)), story.name
        if story.door in (TRUST_ADD, TRUST_UPDATE):
            assert story.verdict == REFUSED
    told = [text for story in STORIES.values() for text in (story.ja, story.en)]
    assert len(told) - len(set(told)) <= 12, "stories that cannot be told apart"


def test_there_are_enough_of_them():
    assert len(STORIES) >= 40
    assert len(by_wrong_party()) >= 15
    assert {story.chapter for story in STORIES.values()} == set(CHAPTERS)
    examined = {story.findings[0].partition(":")[0] for story in STORIES.values() if story.door == VERIFY}
    assert examined >= set(CHECKS) - {"trust", "witnesses"}, "a check that no attack meets first"


def test_the_page_of_the_documents_is_made_from_the_list():
    assert PAGE.read_text(encoding="utf-8") == format_page()


def test_the_frozen_bundle_is_still_valid():
    """A bundle of another day, kept in the tree: a format that changes unnoticed is noticed here."""
    trust = load_trust_list((FROZEN / "992011.root.json").read_bytes())
    bundle = (FROZEN / "certificate.akashi-bundle").read_bytes()
    report = examine(bundle, trust=trust, policy=OFFLINE, now=NOW, sources=OfflineSources())
    assert report.verdict is Verdict.VALID, report.findings
    spoilt = bundle.replace(b"income_certificate", b"income_certificatf", 1)
    report = examine(spoilt, trust=trust, policy=OFFLINE, now=NOW, sources=OfflineSources())
    assert report.verdict is Verdict.NOT_VALID
