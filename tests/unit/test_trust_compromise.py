"""Stolen keys on the trust list: what was logged before stays valid, what was logged from there on is not."""

import dataclasses
import datetime as dt
import json

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import verifier.verify
from app.sealing.certificates import SIGNING, Profile
from tests.support.attacks.compromises import NEXT_LOG, stolen
from tests.support.attacks.logs import own_tree, tlog_proof
from tests.support.mini_city import DAY, NOW, city
from tests.support.verifier_bundles import (
    ORIGIN,
    PUBLIC_URL,
    STATUS_INDEX,
    STATUS_URI,
    changed,
    head_of,
    mini_city,
    raw_public,
)
from verifier import ISSUANCE_GATE, OFFLINE, ONLINE, OfflineSources, Verdict, examine
from verifier.checks.case import passed
from verifier.errors import FormatError, SourceError
from verifier.formats.bundle import parse_bundle
from verifier.formats.checkpoint import Checkpoint
from verifier.formats.compromise import (
    MAX_COMPROMISED,
    CompromisedKey,
    FormerLog,
    format_compromised,
    format_former_logs,
    key_digest,
    parse_compromised,
    parse_former_logs,
)
from verifier.formats.encoding import base64_encode, sha256
from verifier.formats.jose import thumbprint
from verifier.formats.signed_note import build_vkey
from verifier.formats.trust_list import parse_trust_list
from verifier.policy import COMPROMISE
from verifier.refresh import refresh_evidence
from verifier.report import Reading, format_report
from verifier.sources import StaticSources
from verifier.trust import load_trust_list
from verifier.verify_qr import examine_page_qr

THEFT = CompromisedKey(sha256(b"stolen"), ORIGIN, 7, NOW, "印鍵の盗難 / seal key stolen")
PRESENT = build_vkey(ORIGIN, bytes(31) + b"\x01")
LAST = FormerLog(build_vkey(ORIGIN, bytes(31) + b"\x02"), 9, sha256(b"root"), True, NOW, "盗難 / theft")


def look(file, *, policy=OFFLINE, sources=None, trust=None, **content):
    return examine(
        file,
        trust=trust or load_trust_list(city().trust_data(**content)),
        policy=policy,
        now=NOW,
        sources=sources or OfflineSources(),
    )


def reason(report, check=COMPROMISE):
    finding = report.find(check)
    return finding.outcome.value, finding.code


def index_of(bundle):
    return tlog_proof(bundle).index


class TestForm:
    def test_both_members_read_back(self):
        assert parse_compromised(format_compromised([THEFT]), [ORIGIN]) == (THEFT,)
        assert parse_former_logs(format_former_logs([LAST]), PRESENT) == (LAST,)

    def test_a_list_that_says_nothing_has_neither_member(self):
        """Readers made before the members go on reading such lists; and what they signed reads as before."""
        content = json.loads(city().trust_data())["signed"]["x-akashi"]
        assert not {"compromised", "former_logs"} & set(content)
        assert parse_trust_list(city().trust_data()).content.compromised == ()

    def test_a_key_is_named_by_its_subject_public_key_info(self):
        """Cut out of the certificate by hand (RFC 5280 section 4.1), for an authority as for a seal."""
        from verifier.formats.der import SEQUENCE, read_single

        for name in ("page-seal-1", "root", "tsa"):
            der = city().pki.der(name)
            body = read_single(der, SEQUENCE).take(SEQUENCE).content
            key = x509.load_der_x509_certificate(der).public_key()
            # the structure that holds id-ecPublicKey and prime256v1, with its 65 octets: 91 bytes on P-256
            start = body.index(bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200"))
            assert key_digest(key) == sha256(body[start : start + 91])

    @pytest.mark.parametrize(
        "change",
        [
            {"key": "00"},
            {"key": "Z" * 64},
            {"log": "elsewhere/992011/log/1"},
            {"log": None},
            {"from_index": -1},
            {"from_index": True},
            {"from_index": "7"},
            {"from_index": 1 << 53},
            {"from_index": 1.5},
            {"since": "2026-11-20"},
            {"reason": ""},
            {"reason": "x" * 201},
            {"reason": "red\x1b[2J"},
            {"reason": "line\nline"},
            {"more": 1},
        ],
        ids=str,
    )
    def test_other_entries_are_refused(self, change):
        good = format_compromised([THEFT])[0]
        assert parse_compromised([good], [ORIGIN])
        with pytest.raises(FormatError):
            parse_compromised([{**good, **change}], [ORIGIN])

    @pytest.mark.parametrize(
        "change",
        [
            {"vkey": "no"},
            {"size": -1},
            {"size": 1 << 53},
            {"root": base64_encode(bytes(31))},
            {"compromised": 1},
            {"compromised": None},
            {"since": ""},
            {"reason": "\u202e"},
        ],
        ids=str,
    )
    def test_other_former_logs_are_refused(self, change):
        good = format_former_logs([LAST])[0]
        with pytest.raises(FormatError):
            parse_former_logs([{**good, **change}], PRESENT)

    @pytest.mark.parametrize("value", [[], {}, None, "x", [None], [[]]], ids=str)
    def test_other_lists_are_refused(self, value):
        for parse, second in ((parse_compromised, [ORIGIN]), (parse_former_logs, PRESENT)):
            with pytest.raises(FormatError):
                parse(value, second)

    def test_there_is_a_limit(self):
        many = [dataclasses.replace(THEFT, key=sha256(bytes([n]))) for n in range(MAX_COMPROMISED + 1)]
        assert len(parse_compromised(format_compromised(many[:-1]), [ORIGIN])) == MAX_COMPROMISED
        with pytest.raises(FormatError):
            parse_compromised(format_compromised(many), [ORIGIN])

    def test_one_key_stands_once(self):
        with pytest.raises(FormatError):
            parse_compromised(format_compromised([THEFT, dataclasses.replace(THEFT, from_index=9)]), [ORIGIN])
        with pytest.raises(FormatError):
            parse_former_logs(format_former_logs([LAST, LAST]), PRESENT)
        with pytest.raises(FormatError):
            parse_former_logs(format_former_logs([LAST]), LAST.log)


class TestIndex:
    @pytest.mark.parametrize("name", ["page-seal-1", "credential-1", "tsa", "tsa-ca"])
    @pytest.mark.parametrize("policy", [ISSUANCE_GATE, OFFLINE], ids=lambda policy: policy.name)
    def test_the_entry_before_is_valid_and_the_entry_itself_is_not(self, name, policy):
        bundle = city().bundle
        before = look(bundle, policy=policy, compromised=(stolen(name, index_of(bundle) + 1),))
        assert (before.verdict, reason(before)) == (Verdict.VALID, ("pass", "logged-before"))
        after = look(bundle, policy=policy, compromised=(stolen(name, index_of(bundle)),))
        assert (after.verdict, after.reading) == (Verdict.NOT_VALID, Reading.KEY_COMPROMISED)
        assert reason(after) == ("fail", "key-compromised")
        assert after.certificate is None

    def test_the_sentence_names_the_theft_japanese_first(self):
        report = look(city().bundle, compromised=(stolen("page-seal-1", 0),))
        assert report.sentence_ja.startswith("【模擬】盗まれた鍵")
        assert "Stolen key" in report.sentence_en
        value = json.loads(format_report(report))
        assert (value["reading"], value["certificate"]) == ("key-compromised", None)

    def test_a_key_that_is_on_the_list_and_not_in_the_file_changes_nothing(self):
        report = look(city().bundle, compromised=(THEFT,))
        assert (report.verdict, reason(report)) == (Verdict.VALID, ("pass", "ok"))

    def test_without_the_rule_the_stolen_key_would_pass(self, monkeypatch):
        """Nothing else in the walk refuses it: what the tests above see is this rule."""
        monkeypatch.setattr(verifier.verify, "check_compromise", lambda *_: passed(COMPROMISE))
        assert look(city().bundle, compromised=(stolen("page-seal-1", 0),)).verdict is Verdict.VALID

    def test_a_walk_that_forgets_the_rule_ends_undetermined(self, monkeypatch):
        monkeypatch.setattr(verifier.verify, "check_compromise", lambda *_: passed("format"))
        assert look(city().bundle).verdict is Verdict.UNDETERMINED

    def test_an_altered_file_is_altered_first_of_all(self):
        broken = changed(city().bundle, status=city().base.status(uri="https://door.mihon.example/x/1"))
        report = look(broken, compromised=(stolen("page-seal-1", 0),))
        assert report.reading is Reading.TAMPERED

    def test_a_stolen_key_outweighs_a_revocation(self):
        revoked = changed(city().bundle, status=city().base.status(revoked=[STATUS_INDEX]))
        assert look(revoked, compromised=(stolen("page-seal-1", 0),)).reading is Reading.KEY_COMPROMISED

    def test_online_too(self):
        sources = StaticSources({STATUS_URI: city().base.status()}, _chain())
        for offset, verdict in ((1, Verdict.VALID), (0, Verdict.NOT_VALID)):
            entry = stolen("page-seal-1", index_of(city().bundle) + offset)
            report = look(city().bundle, policy=ONLINE, sources=sources, compromised=(entry,))
            assert report.verdict is verdict, report.findings


class TestWithoutLog:
    def test_a_bare_page_is_never_called_forged(self):
        report = look(city().page(city().hanako), compromised=(stolen("page-seal-1", 0),))
        assert report.verdict is Verdict.UNDETERMINED
        assert reason(report) == ("undetermined", "no-log-evidence")

    def test_a_printed_code_keeps_its_words_to_itself(self):
        text = city().page_code()
        good, statement = examine_page_qr(text, trust=(city().trust,), now=NOW)
        assert statement is not None
        assert reason(good) == ("pass", "ok")
        trust = load_trust_list(city().trust_data(compromised=(stolen("credential-1", 1 << 40),)))
        report, statement = examine_page_qr(text, trust=(trust,), now=NOW)
        assert statement is None
        assert reason(report) == ("undetermined", "no-log-evidence")

    def test_a_time_stamp_of_the_checkpoint_by_a_stolen_key_is_not_counted(self):
        bundle = city().bundle
        assert "logged" in look(bundle).find("timestamp").detail
        report = look(bundle, compromised=(stolen("tsa", index_of(bundle) + 1),))
        assert report.verdict is Verdict.VALID
        assert "logged" not in report.find("timestamp").detail


class TestStatusList:
    """No entry of the log contains a status list: by a stolen key it says nothing at all."""

    def test_neither_valid_nor_revoked(self):
        for revoked in ((), (STATUS_INDEX,)):
            bundle = changed(city().bundle, status=city().base.status(revoked=revoked))
            report = look(bundle, compromised=(stolen("status-list-1", 1 << 40),))
            assert report.verdict is Verdict.UNDETERMINED
            assert reason(report, "status") == ("undetermined", "key-compromised")

    def test_online_the_list_by_the_new_key_decides(self):
        thefts = (stolen("status-list-1", 0),)
        for revoked, verdict in (((), Verdict.VALID), ((STATUS_INDEX,), Verdict.NOT_VALID)):
            sources = StaticSources({STATUS_URI: _status_by_a_new_key(revoked=revoked)}, _chain())
            report = look(city().bundle, policy=ONLINE, sources=sources, compromised=thefts)
            assert report.verdict is verdict, report.findings
        sources = StaticSources({STATUS_URI: city().base.status()}, _chain())
        report = look(city().bundle, policy=ONLINE, sources=sources, compromised=thefts)
        assert reason(report, "status") == ("undetermined", "list-unreachable")

    def test_the_phone_takes_the_new_list_even_if_it_looks_older(self):
        trust = load_trust_list(city().trust_data(compromised=(stolen("status-list-1", 0),)))
        fresh = _status_by_a_new_key(issued=NOW - dt.timedelta(hours=1))
        sources = StaticSources({STATUS_URI: fresh})
        bundle = refresh_evidence(city().bundle, trust, sources, now=NOW)
        assert parse_bundle(bundle).status == fresh
        assert look(bundle, trust=trust).verdict is Verdict.VALID
        # never back to the stolen one, and not at all without a reason
        stolen_list = StaticSources({STATUS_URI: city().base.status(issued=NOW + DAY)})
        assert refresh_evidence(bundle, trust, stolen_list, now=NOW) == bundle
        assert refresh_evidence(city().bundle, city().trust, sources, now=NOW) == city().bundle


class TestLogKey:
    def former(self, last, *, is_stolen=True):
        return FormerLog(city().base.log_vkey, last.size, last.root, is_stolen, NOW, "鍵の交代 / key change")

    def look(self, bundle, former, **options):
        log = build_vkey(NEXT_LOG, raw_public(Ed25519PrivateKey.generate()))
        return look(bundle, log=log, former_logs=(former,), **options)

    def test_the_state_that_the_list_names_needs_nobody_else(self):
        head = head_of(city().bundle)
        report = self.look(changed(city().bundle, anchor=None), self.former(head))
        assert report.verdict is Verdict.VALID
        assert reason(report, "witnesses") == ("pass", "named-state")

    def test_another_state_of_the_named_size_is_a_fork(self):
        last = dataclasses.replace(head_of(city().bundle), root=sha256(b"what the city had"))
        for is_stolen in (True, False):
            report = self.look(city().bundle, self.former(last, is_stolen=is_stolen))
            assert (report.verdict, report.reading) == (Verdict.NOT_VALID, Reading.TAMPERED)
            assert reason(report) == ("fail", "log-fork")

    def test_the_receipt_is_the_same_keys_word(self):
        last = dataclasses.replace(head_of(city().bundle), size=1 << 20)
        report = self.look(city().bundle, self.former(last))
        assert report.find("anchor").outcome.value == "pass"
        assert (report.verdict, reason(report)) == (
            Verdict.UNDETERMINED,
            ("undetermined", "log-key-compromised"),
        )
        assert report.find(COMPROMISE).retry

    def test_the_chain_is_another_word(self):
        last = dataclasses.replace(head_of(city().bundle), size=1 << 20)
        sources = StaticSources({STATUS_URI: city().base.status()}, _chain())
        report = self.look(city().bundle, self.former(last), policy=ONLINE, sources=sources)
        assert report.verdict is Verdict.VALID, report.findings
        silent = StaticSources({STATUS_URI: city().base.status()})
        report = self.look(city().bundle, self.former(last), policy=ONLINE, sources=silent)
        assert reason(report) == ("undetermined", "log-key-compromised")

    def test_a_log_that_ended_in_peace_is_believed_up_to_its_end(self):
        head = head_of(city().bundle)
        for size, verdict in ((head.size + 1, Verdict.VALID), (head.size - 1, Verdict.UNDETERMINED)):
            last = dataclasses.replace(head, size=size, root=sha256(b"other"))
            assert self.look(city().bundle, self.former(last, is_stolen=False)).verdict is verdict

    def test_without_the_member_the_old_key_is_nobodys(self):
        log = build_vkey(NEXT_LOG, raw_public(Ed25519PrivateKey.generate()))
        report = look(city().bundle, log=log)
        assert reason(report, "inclusion") == ("fail", "signature-missing")

    def test_the_phone_finds_the_proof_under_the_named_state(self):
        bundle = city().issue()
        for _ in range(3):
            city().issue(city().taro)
        newest = city().log.published
        last = Checkpoint(ORIGIN, newest.size, newest.root)
        trust = load_trust_list(
            city().trust_data(log=build_vkey(NEXT_LOG, bytes(31) + b"\x02"), former_logs=(self.former(last),))
        )
        assert look(bundle, trust=trust).verdict is Verdict.UNDETERMINED
        refreshed = refresh_evidence(bundle, trust, _LogFiles(city().log, last.size), now=NOW)
        assert head_of(refreshed) == last
        assert look(refreshed, trust=trust).verdict is Verdict.VALID
        # a history that the thief made has no way to that state
        forged = own_tree(city().base.log_key)
        assert refresh_evidence(forged, trust, _LogFiles(city().log, last.size), now=NOW) == forged

    @pytest.mark.parametrize(
        ("who", "hours", "is_taken"),
        [("ours", -1, True), ("a stranger", -1, False), ("ours", 1, False), ("garbage", 0, False)],
    )
    def test_a_time_stamp_that_would_spoil_the_certificate_is_not_taken(self, who, hours, is_taken):
        """Whoever serves public files could otherwise make an honest phone hand over what is called a forgery."""
        bundle, base = city().issue(), city().base
        for _ in range(2):
            city().issue(city().taro)
        newest = city().log.published
        last = Checkpoint(ORIGIN, newest.size, newest.root)
        authority = mini_city.__wrapped__() if who == "a stranger" else base
        stamp = authority.timestamp(sha256(newest.checkpoint), at=NOW + dt.timedelta(hours=hours))
        files = _LogFiles(city().log, last.size)
        object.__setattr__(files, "stamp", b"rubbish" if who == "garbage" else stamp)
        log = build_vkey(NEXT_LOG, bytes(31) + b"\x02")
        trust = load_trust_list(base.trust_data(log=log, former_logs=(self.former(last),)))
        refreshed = refresh_evidence(bundle, trust, files, now=NOW)
        assert head_of(refreshed) == last
        assert parse_bundle(refreshed).timestamp == (stamp if is_taken else None)
        assert look(refreshed, trust=trust).verdict is Verdict.VALID
        if not is_taken:  # what the verdict would have been
            assert _verdict_with(refreshed, files.stamp, trust) is not Verdict.VALID

    def test_logs_follow_each_other(self):
        """log/0 has ended, log/1 is the present one: what stands in log/0 lies before every entry of log/1."""
        older = build_vkey(ORIGIN.replace("log/1", "log/0"), bytes(31) + b"\x03")
        head = head_of(city().bundle)
        ended = FormerLog(older, 5, sha256(b"end"), False, NOW, "終了 / ended")
        in_the_old_one = dataclasses.replace(stolen("page-seal-1", 1 << 40), log=older.name)
        report = look(city().bundle, former_logs=(ended,), compromised=(in_the_old_one,))
        assert reason(report) == ("fail", "key-compromised")
        # the other way round: the bundle's log has ended, the theft is counted in the next
        present = build_vkey(NEXT_LOG, bytes(31) + b"\x02")
        later = dataclasses.replace(stolen("page-seal-1", 0), log=NEXT_LOG)
        for size, verdict in ((head.size, Verdict.VALID), (index_of(city().bundle), Verdict.NOT_VALID)):
            end = self.former(Checkpoint(ORIGIN, size, head.root), is_stolen=False)
            report = look(city().bundle, log=present, former_logs=(end,), compromised=(later,))
            assert report.verdict is verdict, report.findings


def _chain():
    base, head = city().base, head_of(city().bundle)
    return base.online().chain_calls | {"eth_getTransactionReceipt": base.transaction(head)}


def _status_by_a_new_key(**changes):
    profile = Profile(SIGNING, san_uri=f"{PUBLIC_URL}/992011/status")
    party = city().certified(profile, name="見本市 status list 2")
    header = {
        "kid": thumbprint(party.key.public_key()),
        "x5c": [base64_encode(der) for der in party.chain],
    }
    return city().base.status(header=header, sign=party.sign, **changes)


def _verdict_with(bundle, stamp, trust):
    try:
        return look(changed(bundle, timestamp=stamp), trust=trust).verdict
    except FormatError:
        return None


class _LogFiles(StaticSources):
    """The public files of the log on disk; the checkpoint of `size` is kept as that of an anchored size is."""

    def __init__(self, log, size):
        super().__init__()
        object.__setattr__(self, "log", log)
        object.__setattr__(self, "size", size)
        object.__setattr__(self, "stamp", None)

    def public_file(self, public_url, path):
        if path.endswith(f"/timestamps/{self.size}") and self.stamp is not None:
            return self.stamp
        name = path.removeprefix("/992011/log/1/").replace(f"checkpoints/{self.size}", "checkpoint")
        data = self.log.files.find(name)
        if data is None:
            raise SourceError("http-404", "no such file")
        return data
