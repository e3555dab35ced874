"""What `import verifier` offers, and what it does not do."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import verifier
from verifier.formats.signed_note import VerifierKey, format_vkey
from verifier.formats.witness_policy import parse_witness_policy
from verifier.policy import CHECKS, POLICIES, find_policy
from verifier.qr_image import format_terminal, qr_matrix
from verifier.report import NOT_ASKED_TEXTS, SENTENCES, TITLES, Finding, Outcome, Reading, Verdict, conclude

ROOT = Path(__file__).parents[2]


def test_every_public_name_exists():
    for name in verifier.__all__:
        assert getattr(verifier, name) is not None
    with pytest.raises(AttributeError):
        _ = verifier.default_trust


def test_import_loads_nothing_heavy():
    heavy = "{'cryptography', 'orjson', 'flask', 'qrcode'}"
    script = f"import sys, verifier; print(sorted({heavy} & set(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.stdout.strip() == "[]"


def test_every_check_and_reading_has_words_in_both_languages():
    assert set(TITLES) == set(CHECKS)
    assert set(SENTENCES) == set(Reading)
    for texts in (*TITLES.values(), *SENTENCES.values(), *NOT_ASKED_TEXTS.values()):
        assert len(texts) == 2
        assert all(texts)
        assert not texts[0].isascii()
        assert texts[1].isascii()
    for policy in POLICIES.values():
        assert policy.required <= set(CHECKS)


def findings(**outcomes):
    return [Finding(check, Outcome(outcome), "x") for check, outcome in outcomes.items()]


def all_of(policy, outcome="pass"):
    return dict.fromkeys(policy.required, outcome)


class TestConclude:
    offline = find_policy("offline")

    def conclude(self, **changes):
        return conclude(findings(**{**all_of(self.offline), "anchor": "pass", **changes}), self.offline)

    def test_all_passed(self):
        assert self.conclude() == (Verdict.VALID, Reading.VALID)

    @pytest.mark.parametrize("check", sorted(find_policy("offline").required))
    def test_one_that_could_not_be_made(self, check):
        assert self.conclude(**{check: "undetermined"})[0] is Verdict.UNDETERMINED

    @pytest.mark.parametrize("check", sorted(CHECKS))
    def test_one_that_failed_required_or_not(self, check):
        assert self.conclude(**{check: "fail"})[0] is Verdict.NOT_VALID

    def test_a_check_that_was_never_made_is_not_passed(self):
        made = all_of(self.offline) | {"anchor": "pass"}
        del made["status"]
        assert conclude(findings(**made), self.offline)[0] is Verdict.UNDETERMINED

    @pytest.mark.parametrize(
        ("anchor", "witnesses", "verdict"),
        [
            ("pass", "not-applicable", Verdict.VALID),
            ("undetermined", "pass", Verdict.VALID),
            ("undetermined", "undetermined", Verdict.UNDETERMINED),
            ("not-applicable", "not-applicable", Verdict.UNDETERMINED),
        ],
    )
    def test_one_of_anchor_and_witnesses(self, anchor, witnesses, verdict):
        assert self.conclude(anchor=anchor, witnesses=witnesses)[0] is verdict

    def test_nothing_at_all_is_not_valid_by_accident(self):
        assert conclude([], self.offline)[0] is Verdict.UNDETERMINED

    def test_failure_outweighs_outage(self):
        assert self.conclude(status="undetermined", seal="fail")[0] is Verdict.NOT_VALID


def vkey(number):
    key = VerifierKey(f"w{number}.example", 4, bytes([number]) * 32)
    return key, format_vkey(key)


class TestWitnessPolicy:
    def policy(self, quorum="g", threshold="2"):
        lines = [f"witness w{n} {vkey(n)[1]}" for n in (1, 2, 3)]
        return parse_witness_policy(
            "\n".join(["# comment", *lines, f"group g {threshold} w1 w2 w3", f"quorum {quorum}", ""])
        )

    def test_two_of_three(self):
        policy = self.policy()
        keys = [vkey(n)[0] for n in (1, 2, 3)]
        assert policy.keys == tuple(keys)
        assert not policy.is_met_by(keys[:1])
        assert policy.is_met_by(keys[1:])

    @pytest.mark.parametrize(("threshold", "needed"), [("any", 1), ("all", 3), ("3", 3)])
    def test_thresholds(self, threshold, needed):
        keys = [vkey(n)[0] for n in (1, 2, 3)]
        policy = self.policy(threshold=threshold)
        assert policy.is_met_by(keys[:needed])
        assert not policy.is_met_by(keys[: needed - 1])

    @pytest.mark.parametrize("text", ["", "\n", "quorum none\n"])
    def test_no_witnesses(self, text):
        policy = parse_witness_policy(text)
        assert policy.quorum is None
        assert policy.is_met_by([])

    @pytest.mark.parametrize(
        "text",
        [
            "quorum x\n",
            "log a b\nquorum none\n",
            "quorum none\nquorum none\n",
            f"witness a {vkey(1)[1]}\n",
            f"witness none {vkey(1)[1]}\nquorum none\n",
            f"witness a {vkey(1)[1]}\nwitness a {vkey(2)[1]}\nquorum a\n",
            f"witness a {vkey(1)[1]}\nwitness b {vkey(1)[1]}\nquorum a\n",
            f"witness a {vkey(1)[1]}\ngroup g 0 a\nquorum g\n",
            f"witness a {vkey(1)[1]}\ngroup g 2 a\nquorum g\n",
            f"witness a {vkey(1)[1]}\ngroup g 1 a a\nquorum g\n",
            f"witness a {vkey(1)[1]}\ngroup g 1 b\nquorum g\n",
            f"witness a {vkey(1)[1]}\ngroup g ² a\nquorum g\n",
        ],
    )
    def test_other_texts_are_refused(self, text):
        from verifier.errors import FormatError

        with pytest.raises(FormatError):
            parse_witness_policy(text)


def test_a_server_that_drips_is_stopped():
    from verifier import http as module

    class Drip:
        def read1(self, size):
            return b"x"

    with pytest.raises(TimeoutError):
        module._read(Drip(), 10, deadline=-1.0)


def test_terminal_codes_fall_back_where_blocks_are_missing():
    matrix = qr_matrix("https://door.mihon.example/r/ABCDE23456")
    assert "█" in format_terminal(matrix, "utf-8")
    plain = format_terminal(matrix, "cp932")
    assert set(plain) == {" ", "#", "\n"}
    assert len(plain.split("\n")) == len(matrix)
    assert format_terminal(matrix, None) == plain
