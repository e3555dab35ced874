"""The whole walk on whole files: one thing wrong at a time, and an outage is never a forgery."""

import dataclasses
import datetime as dt

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.support.verifier_bundles import (
    CHAIN_ID,
    CONTRACT,
    DATA,
    DAY,
    NOW,
    ORIGIN,
    STATUS_INDEX,
    changed,
    head_of,
    merkle_root,
    mini_city,
    new_key,
    with_data,
)
from verifier import (
    ISSUANCE_GATE,
    OFFLINE,
    ONLINE,
    NotValidError,
    OfflineSources,
    Outcome,
    UndeterminedError,
    Verdict,
    examine,
)
from verifier.errors import SourceError, TrustError, UsageError
from verifier.formats.bundle import parse_bundle
from verifier.formats.checkpoint import Checkpoint
from verifier.formats.encoding import canonical_json, parse_json, sha256
from verifier.formats.evidence import parse_evidence
from verifier.formats.jose import es256_signer
from verifier.formats.merkle import leaf_hash
from verifier.formats.names import ENVELOPE_TYPE
from verifier.formats.package import pack
from verifier.formats.pdf_seal import parse_sealed_page
from verifier.formats.status_list import parse_status_list
from verifier.report import Reading, report_object
from verifier.sources import StaticSources
from verifier.verify import verify

CITY = mini_city()


def look(file, *, policy=OFFLINE, trust=None, now=NOW, sources=None, **options):
    return examine(
        file,
        trust=trust or CITY.trust(),
        policy=policy,
        now=now,
        sources=sources or OfflineSources(),
        **options,
    )


def assert_fails(report, check, code, reading):
    finding = report.find(check)
    assert (finding.outcome, finding.code) == (Outcome.FAIL, code), finding
    assert (report.verdict, report.reading) == (Verdict.NOT_VALID, reading)
    assert report.certificate is None
    assert report.page is None


def assert_open(report, check, code):
    finding = report.find(check)
    assert (finding.outcome, finding.code) == (Outcome.UNDETERMINED, code), finding
    assert report.verdict is Verdict.UNDETERMINED
    assert report.reading is Reading.UNFINISHED
    assert report.certificate is None
    return finding


@pytest.fixture(scope="module")
def request_bytes():
    return CITY.request()


class TestGood:
    @pytest.mark.parametrize("policy", [ISSUANCE_GATE, OFFLINE])
    def test_offline(self, policy):
        report = look(CITY.bundle, policy=policy)
        assert report.verdict is Verdict.VALID
        assert report.certificate == DATA
        assert report.page == CITY.page
        assert {"print", "chain", "status-now", "holder"} <= set(report.not_asked)
        assert report.mock is True
        assert report.sentence_ja.startswith("【模擬】有効")
        assert "MOCK" in report.sentence_en
        assert report.status_as_of == NOW

    def test_online(self):
        report = look(CITY.bundle, policy=ONLINE, sources=CITY.online())
        assert report.verdict is Verdict.VALID
        assert report.find("chain").outcome is Outcome.PASS
        assert "chain" not in report.not_asked

    def test_a_copy_without_page(self):
        report = look(CITY.issue(with_page=False))
        assert report.verdict is Verdict.VALID
        assert report.find("seal").code == "no-page"
        assert report.certificate == DATA

    def test_a_submission_in_a_package(self, request_bytes):
        file = CITY.packed(CITY.bind(CITY.bundle, request_bytes))
        report = look(file, request=request_bytes, key=CITY.desk)
        assert (report.verdict, report.kind) == (Verdict.VALID, "submission")
        assert report.find("holder").code == "ok"
        assert "holder" not in report.not_asked

    def test_a_key_that_lives_elsewhere(self, request_bytes):
        from verifier.formats.jose import agreement, thumbprint

        file = CITY.packed(CITY.bind(CITY.bundle, request_bytes))
        key = (thumbprint(CITY.desk.public_key()), agreement(CITY.desk))
        assert look(file, request=request_bytes, key=key).verdict is Verdict.VALID

    def test_a_presentation_shows_only_what_was_selected(self, request_bytes):
        shown = CITY.present(CITY.bundle, [("subject", "name"), ("income", "total")])
        report = look(CITY.bind(shown, request_bytes), request=request_bytes)
        assert report.verdict is Verdict.VALID
        assert report.certificate["income"] == {"total": 3560000}
        assert set(report.certificate["subject"]) == {"name"}
        assert "withheld" in report.not_asked
        assert report.find("holder").code == "items-missing"

    def test_asked_for_and_handed_over(self):
        asked = CITY.request(items=("income.total", "tax"))
        shown = CITY.present(CITY.bundle, [("income", "total"), ("tax",)])
        assert look(CITY.bind(shown, asked), request=asked).find("holder").code == "ok"

    def test_witnesses_stand_in_for_the_anchor(self):
        trust = CITY.trust(witnesses=CITY.witness_policy)
        report = look(CITY.issue(anchored=False, witnessed=True), trust=trust)
        assert report.verdict is Verdict.VALID
        assert report.find("witnesses").outcome is Outcome.PASS

    def test_verify_returns_the_report(self):
        report = verify(CITY.bundle, trust=CITY.trust(), policy=OFFLINE, now=NOW, sources=OfflineSources())
        assert report.verdict is Verdict.VALID


class TestForged:
    def test_another_citys_seal(self):
        report = look(CITY.page, trust=CITY.trust(seal_cas=(CITY.pki.der("tsa-ca"),)))
        assert report.find("path").code in ("no-path", "path-too-long")
        assert report.reading is Reading.UNKNOWN_ISSUER

    def test_a_bundle_with_a_foreign_seal_is_forged(self):
        report = look(CITY.bundle, trust=CITY.trust(credential_cas=(CITY.pki.der("tsa-ca"),)))
        assert_fails(report, "credential", "no-path", Reading.TAMPERED)

    def test_an_issuer_that_nobody_vouches_for(self):
        report = look(CITY.bundle, trust=CITY.trust(iss="https://other.example/131016"))
        assert_fails(report, "trust", "unknown-issuer", Reading.UNKNOWN_ISSUER)
        assert report.mock is True

    def test_a_foreign_time_stamp(self):
        report = look(CITY.bundle, trust=CITY.trust(tsa_cas=(CITY.pki.der("root"),)))
        assert_fails(report, "timestamp", "no-path", Reading.TAMPERED)

    def test_a_page_with_one_changed_byte(self):
        page = bytearray(CITY.page)
        place = page.index(b"stream", len(page) // 3) + 40
        page[place] ^= 1
        report = look(changed(CITY.bundle, page=bytes(page)))
        assert report.verdict is Verdict.NOT_VALID
        assert report.reading is Reading.TAMPERED

    def test_a_credential_signed_by_somebody_else(self):
        forged = CITY.credential(page=CITY.page, sign=es256_signer(new_key()))
        assert_fails(look(CITY.issue(credential=forged)), "credential", "bad-signature", Reading.TAMPERED)

    def test_a_credential_of_another_type(self):
        other = CITY.credential(page=CITY.page, vct="https://door.mihon.example/vct/other/1")
        assert_fails(look(CITY.issue(credential=other)), "credential", "other-type", Reading.TAMPERED)

    def test_a_certificate_meant_for_status_lists_signs_no_credential(self):
        chain = (CITY.pki.der("status-list-1"), CITY.pki.der("issuing"))
        wrong = CITY.credential(page=CITY.page, certificates=chain, sign=CITY.signer("status-list-1"))
        assert_fails(look(CITY.issue(credential=wrong)), "credential", "wrong-name", Reading.TAMPERED)

    def test_disclosures_in_another_order(self):
        head, *rest, _ = CITY.credential(page=CITY.page).split(b"~")
        swapped = b"~".join([head, *reversed(rest), b""])
        assert_fails(look(CITY.issue(credential=swapped)), "credential", "not-canonical", Reading.TAMPERED)

    def test_data_that_the_credential_does_not_say(self):
        data = with_data(remarks="別")
        report = look(CITY.issue(with_page=False, certificate=canonical_json(data)))
        assert_fails(report, "data", "credential-differs", Reading.TAMPERED)

    def test_a_page_with_other_data(self):
        data = with_data(remarks="別")
        report = look(CITY.issue(data, page=CITY.page))
        assert_fails(report, "data", "page-differs", Reading.TAMPERED)

    def test_a_credential_of_another_page(self):
        wrong = CITY.credential(page=CITY.page, page_digest=bytes(32))
        assert_fails(look(CITY.issue(credential=wrong)), "data", "page-differs", Reading.TAMPERED)

    def test_a_page_taken_out_although_the_leaf_has_none(self):
        named = CITY.credential(page=CITY.page)
        report = look(CITY.issue(with_page=False, credential=named))
        assert_fails(report, "data", "page-missing", Reading.TAMPERED)

    def test_a_page_taken_out_of_a_whole_bundle(self):
        report = look(changed(CITY.bundle, page=None))
        assert_fails(report, "inclusion", "root-mismatch", Reading.TAMPERED)

    def test_data_withheld_while_its_salt_is_shown(self):
        report = look(changed(CITY.bundle, certificate=None, page=None))
        assert_fails(report, "inclusion", "evidence-mismatch", Reading.TAMPERED)

    def test_a_page_without_its_data(self):
        report = look(CITY.present(CITY.bundle, [("page_digest",)], keep_page=True))
        assert_fails(report, "data", "page-without-data", Reading.TAMPERED)

    def test_not_in_the_log(self):
        def salted(evidence):
            value = parse_json(evidence)
            value["parts"]["credential"]["salt"] = "A" * 43
            return canonical_json(value)

        report = look(changed(CITY.bundle, evidence=salted))
        assert_fails(report, "inclusion", "root-mismatch", Reading.TAMPERED)

    def test_a_log_signed_by_somebody_else(self):
        other = dataclasses.replace(CITY, log_key=Ed25519PrivateKey.generate())
        assert_fails(look(other.issue()), "inclusion", "signature-missing", Reading.TAMPERED)

    def test_a_cosignature_that_nobody_asked_for(self):
        assert_fails(look(CITY.issue(witnessed=True)), "inclusion", "signature-unexpected", Reading.TAMPERED)

    def test_a_forged_receipt(self):
        head = CITY._head
        for note, code in (
            (CITY.anchor_note(CITY.receipt(head), Ed25519PrivateKey.generate()), "bad-signature"),
            (CITY.anchor_note(CITY.receipt(head, chain_id=1)), "other-chain"),
            (CITY.anchor_note(CITY.receipt(head, contract=bytes(20))), "other-chain"),
            (CITY.anchor_note(CITY.receipt(head, size=head.size + 1)), "other-checkpoint"),
            (CITY.anchor_note(CITY.receipt(head, root=bytes(32))), "other-checkpoint"),
        ):
            assert_fails(look(changed(CITY.bundle, anchor=note)), "anchor", code, Reading.TAMPERED)

    def test_a_receipt_although_the_city_has_no_chain(self):
        assert_fails(
            look(CITY.bundle, trust=CITY.trust(chain=None)), "anchor", "other-chain", Reading.TAMPERED
        )

    def test_a_time_stamp_of_another_checkpoint(self):
        report = look(changed(CITY.bundle, timestamp=CITY.timestamp(bytes(32))))
        assert_fails(report, "timestamp", "wrong-imprint", Reading.TAMPERED)

    def test_a_forged_status_list(self):
        for status, code in (
            (CITY.status(sign=es256_signer(new_key())), "bad-signature"),
            (CITY.status(uri="https://door.mihon.example/992011/status/2"), "other-list"),
        ):
            report = look(changed(CITY.bundle, status=status))
            assert_fails(report, "status", code, Reading.TAMPERED)

    def test_a_status_list_that_the_trust_list_does_not_know(self):
        report = look(CITY.bundle, trust=CITY.trust(status_lists=("https://other.example/status/1",)))
        assert_fails(report, "status", "other-list", Reading.TAMPERED)

    def test_mock_trust_does_not_vouch_for_real_certificates(self):
        authority = {name: value for name, value in DATA["issuing_authority"].items() if name != "mock"}
        real = with_data(issuing_authority=authority)
        report = look(CITY.issue(real, with_page=False))
        assert_fails(report, "data", "mock-mix", Reading.TAMPERED)

    def test_real_trust_does_not_vouch_for_mock_certificates(self):
        report = look(CITY.bundle, trust=CITY.trust(mock=False))
        assert_fails(report, "data", "mock-mix", Reading.TAMPERED)
        assert report.mock is False
        assert "模擬" not in report.sentence_ja

    def test_days_that_differ(self):
        report = look(CITY.issue(validity="2026-11-20/2027-02-21"))
        assert_fails(report, "validity", "dates-differ", Reading.TAMPERED)

    @pytest.mark.parametrize(
        "member", ["credential", "evidence", "inclusion", "status", "anchor", "timestamp"]
    )
    def test_a_flipped_bit_in_any_member_is_never_valid(self, member):
        original = getattr(parse_bundle(CITY.bundle), member)
        step = max(1, len(original) // 60)
        for position in range(0, len(original), step):
            spoilt = bytearray(original)
            spoilt[position] ^= 1
            report = look(changed(CITY.bundle, **{member: bytes(spoilt)}))
            assert report.verdict is Verdict.NOT_VALID, position
            assert report.certificate is None


class TestDead:
    def test_revoked_in_the_snapshot(self):
        report = look(changed(CITY.bundle, status=CITY.status(revoked=[STATUS_INDEX])))
        assert_fails(report, "status", "revoked", Reading.REVOKED)

    def test_a_neighbour_is_revoked(self):
        status = CITY.status(revoked=[STATUS_INDEX - 1, STATUS_INDEX + 1])
        assert look(changed(CITY.bundle, status=status)).verdict is Verdict.VALID

    def test_revoked_since_the_snapshot_is_seen_online(self):
        later = CITY.status(issued=NOW + dt.timedelta(minutes=1), revoked=[STATUS_INDEX])
        report = look(CITY.bundle, policy=ONLINE, sources=CITY.online(status=later))
        assert_fails(report, "status", "revoked", Reading.REVOKED)
        # offline it cannot be known, and the report says so
        assert "status-now" in look(CITY.bundle).not_asked

    def test_revoked_stays_revoked_when_the_list_is_old(self):
        old = CITY.status(issued=NOW - 30 * DAY, revoked=[STATUS_INDEX])
        # the status certificate did not exist then, so the list itself is no evidence
        assert look(changed(CITY.bundle, status=old)).verdict is Verdict.NOT_VALID
        report = look(changed(CITY.bundle, status=CITY.status(revoked=[STATUS_INDEX])), now=NOW + 30 * DAY)
        assert_fails(report, "status", "revoked", Reading.REVOKED)

    def test_first_and_last_day_in_japan(self):
        end = dt.datetime(2027, 2, 20, 15, 0, tzinfo=dt.UTC)  # midnight after 20 February in Japan
        fresh = changed(CITY.bundle, status=CITY.status(issued=end - DAY))
        assert look(fresh, now=end - dt.timedelta(seconds=1)).verdict is Verdict.VALID
        assert_fails(look(fresh, now=end), "validity", "expired", Reading.EXPIRED)

    def test_before_the_first_day(self):
        start = dt.datetime(2026, 11, 19, 15, 0, tzinfo=dt.UTC)
        report = look(CITY.bundle, now=start - dt.timedelta(hours=1))
        assert report.find("validity").code == "not-yet-valid"
        assert report.verdict is Verdict.NOT_VALID

    def test_revoked_outweighs_expired(self):
        status = CITY.status(revoked=[STATUS_INDEX])
        report = look(changed(CITY.bundle, status=status), now=NOW + 200 * DAY)
        assert report.reading is Reading.REVOKED


class TestOutage:
    """An outage is never "invalid", whatever is away."""

    def test_a_snapshot_grows_old(self):
        edge = NOW + 7 * DAY
        assert look(CITY.bundle, now=edge).verdict is Verdict.VALID
        finding = assert_open(look(CITY.bundle, now=edge + dt.timedelta(seconds=1)), "status", "stale-status")
        assert finding.retry

    def test_the_trust_list_may_ask_for_fresher_lists_never_for_older(self):
        strict = CITY.trust(max_status_age=3600)
        assert_open(look(CITY.bundle, trust=strict, now=NOW + 2 * DAY), "status", "stale-status")
        lax = CITY.trust(max_status_age=90 * 86400)
        assert_open(look(CITY.bundle, trust=lax, now=NOW + 8 * DAY), "status", "stale-status")

    def test_an_old_snapshot_is_healed_by_asking(self):
        later = NOW + 20 * DAY
        sources = CITY.online(status=CITY.status(issued=later))
        report = look(CITY.bundle, policy=ONLINE, now=later, sources=sources)
        assert report.verdict is Verdict.VALID
        assert report.status_as_of == later

    def test_the_list_cannot_be_had(self):
        sources = dataclasses.replace(CITY.online(), files={})
        assert assert_open(
            look(CITY.bundle, policy=ONLINE, sources=sources), "status", "list-unreachable"
        ).retry

    @pytest.mark.parametrize("junk", [b"", b"<html>", b"a.b.c"])
    def test_the_list_is_junk(self, junk):
        sources = CITY.online(status=junk or b" ")
        assert_open(look(CITY.bundle, policy=ONLINE, sources=sources), "status", "list-unreachable")

    def test_a_list_signed_by_nobody_we_know_is_an_outage_of_that_source(self):
        sources = CITY.online(status=CITY.status(sign=es256_signer(new_key())))
        assert_open(look(CITY.bundle, policy=ONLINE, sources=sources), "status", "list-unreachable")

    def test_an_older_list_than_the_enclosed_one_is_no_answer(self):
        old = CITY.status(issued=NOW - dt.timedelta(minutes=30))
        report = look(CITY.bundle, policy=ONLINE, sources=CITY.online(status=old))
        assert_open(report, "status", "list-too-old")

    def test_a_list_from_the_future(self):
        future = changed(CITY.bundle, status=CITY.status(issued=NOW + DAY))
        assert_open(look(future), "status", "list-in-the-future")

    def test_the_chain_is_away(self):
        sources = StaticSources(CITY.online().files)
        assert assert_open(look(CITY.bundle, policy=ONLINE, sources=sources), "chain", "unreachable").retry
        assert look(CITY.bundle).verdict is Verdict.VALID

    def test_not_anchored_yet(self):
        report = look(CITY.issue(anchored=False))
        assert assert_open(report, "anchor", "not-anchored-yet").retry
        assert look(CITY.issue(anchored=False), policy=ISSUANCE_GATE).verdict is Verdict.VALID

    def test_too_few_witnesses(self):
        trust = CITY.trust(witnesses=CITY.witness_policy)
        report = look(CITY.issue(anchored=False), trust=trust)
        assert assert_open(report, "witnesses", "quorum-missing").retry

    def test_an_expired_trust_list_decides_nothing(self):
        trust = CITY.trust(expires=NOW)
        for file in (CITY.bundle, CITY.page, changed(CITY.bundle, anchor=None)):
            assert assert_open(look(file, trust=trust), "trust", "trust-expired").retry
        # not even a forgery is called one on the strength of it
        forged = changed(CITY.bundle, status=CITY.status(sign=es256_signer(new_key())))
        assert look(forged, trust=trust).verdict is Verdict.UNDETERMINED

    def test_a_bare_page_is_at_best_undetermined(self):
        for policy in (ISSUANCE_GATE, OFFLINE, ONLINE):
            report = look(CITY.page, policy=policy, sources=CITY.online())
            assert report.kind == "page"
            assert_open(report, "status", "no-status-reference")

    def test_a_package_without_a_key(self):
        report = look(CITY.packed(CITY.bundle))
        assert_open(report, "decryption", "key-needed")


class TestChain:
    """The chain's own word: what denies, and what only cannot answer."""

    def ask(self, **calls):
        return look(CITY.bundle, policy=ONLINE, sources=CITY.online(**calls))

    @pytest.mark.parametrize(
        ("code", "calls"),
        [
            ("other-block", {"eth_getBlockByNumber": {"hash": "0x" + "00" * 32}}),
            ("no-contract", {"eth_getCode": "0x"}),
            ("no-event", {"eth_getTransactionReceipt": {"status": "0x1", "logs": []}}),
            ("no-event", {"eth_getTransactionReceipt": {**CITY.transaction(), "status": "0x0"}}),
            ("no-event", {"eth_getTransactionReceipt": CITY.transaction(address="0x" + "00" * 20)}),
            ("no-event", {"eth_getTransactionReceipt": CITY.transaction(topics=["0x" + "00" * 32])}),
            ("no-event", {"eth_getTransactionReceipt": CITY.transaction(data="0x" + "00" * 160)}),
            ("no-event", {"eth_getTransactionReceipt": CITY.transaction(logIndex="0x4")}),
            ("no-event", {"eth_getTransactionReceipt": CITY.transaction(blockHash="0x" + "00" * 32)}),
        ],
    )
    def test_denied(self, code, calls):
        assert_fails(self.ask(**calls), "chain", code, Reading.TAMPERED)

    @pytest.mark.parametrize(
        ("code", "calls"),
        [
            ("other-chain", {"eth_chainId": hex(CHAIN_ID + 1)}),
            ("node-behind", {"eth_blockNumber": "0x10"}),
            ("node-behind", {"eth_getBlockByNumber": lambda *_: None}),
            ("bad-answer", {"eth_chainId": "992011"}),
            ("bad-answer", {"eth_blockNumber": 20}),
            ("bad-answer", {"eth_chainId": "0xzz"}),
            ("unreachable", {"eth_getTransactionReceipt": None}),
            ("unreachable", {"eth_getCode": None}),
        ],
    )
    def test_cannot_answer(self, code, calls):
        assert assert_open(self.ask(**calls), "chain", code).retry

    def test_addresses_in_capitals_are_the_same(self):
        upper = CITY.transaction(address="0x" + CONTRACT.hex().upper())
        assert self.ask(eth_getTransactionReceipt=upper).verdict is Verdict.VALID

    def test_the_topic_is_the_contracts_event(self):
        """Computed from the compiled contract's interface by another library."""
        import json
        from pathlib import Path

        from eth_utils import keccak

        from verifier.checks.chain import ANCHORED_TOPIC

        path = Path(__file__).parents[2] / "chain/abi/AnchorRegistry.json"
        value = json.loads(path.read_bytes())
        entries = value["abi"] if isinstance(value, dict) else value
        event = next(e for e in entries if e["type"] == "event" and e["name"] == "Anchored")
        signature = f"Anchored({','.join(item['type'] for item in event['inputs'])})"
        assert [item["indexed"] for item in event["inputs"]] == [True, *[False] * 5]
        assert "0x" + keccak(text=signature).hex() == ANCHORED_TOPIC


class TestHolder:
    def test_an_unbound_file_is_no_submission(self, request_bytes):
        report = look(CITY.bundle, request=request_bytes)
        assert_fails(report, "holder", "not-bound", Reading.NOT_FOR_YOU)
        assert look(CITY.page, request=request_bytes).find("holder").code == "not-bound"

    def test_a_submission_without_its_request_is_not_finished(self, request_bytes):
        assert_open(look(CITY.bind(CITY.bundle, request_bytes)), "holder", "request-needed")

    def test_made_for_another_request(self, request_bytes):
        other = CITY.request(salt=b"x" * 16)
        report = look(CITY.bind(CITY.bundle, request_bytes), request=other)
        assert_fails(report, "holder", "other-request", Reading.NOT_FOR_YOU)

    def test_made_for_another_recipient(self, request_bytes):
        other = CITY.request(keys=(new_key().public_key(),))
        report = look(CITY.bind(CITY.bundle, other), request=request_bytes)
        assert_fails(report, "holder", "other-audience", Reading.NOT_FOR_YOU)

    def test_bound_by_another_phone(self, request_bytes):
        file = CITY.bind(CITY.bundle, request_bytes, sign=es256_signer(new_key()))
        assert_fails(look(file, request=request_bytes), "holder", "bad-signature", Reading.TAMPERED)

    def test_more_disclosed_than_the_phone_signed(self, request_bytes):
        less = parse_bundle(CITY.present(CITY.bundle, [("title",)])).credential
        file = CITY.bind(CITY.bundle, request_bytes, credential=less)
        assert_fails(look(file, request=request_bytes), "holder", "other-credential", Reading.TAMPERED)

    @pytest.mark.parametrize(
        ("code", "shift"),
        [("bound-in-the-future", dt.timedelta(minutes=6)), ("binding-too-old", -93 * DAY)],
    )
    def test_times(self, request_bytes, code, shift):
        file = CITY.bind(CITY.bundle, request_bytes, issued=int((NOW + shift).timestamp()))
        assert look(file, request=request_bytes).find("holder").code == code

    def test_bound_after_the_request_had_ended(self):
        ended = CITY.request(expires=NOW - DAY)
        report = look(CITY.bind(CITY.bundle, ended), request=ended)
        assert_fails(report, "holder", "request-expired", Reading.NOT_FOR_YOU)

    def test_a_package_for_another_key(self):
        report = look(CITY.packed(CITY.bundle), key=new_key())
        assert_fails(report, "decryption", "not-for-this-key", Reading.NOT_FOR_YOU)

    def test_an_altered_package(self):
        data = CITY.packed(CITY.bundle)
        spoilt = data[:100] + (b"A" if data[100:101] != b"A" else b"B") + data[101:]
        assert_fails(look(spoilt, key=CITY.desk), "decryption", "decryption-failed", Reading.TAMPERED)

    def test_a_package_with_something_else_in_it(self):
        letter = pack(b"hello", [CITY.desk.public_key()], content_type=ENVELOPE_TYPE)
        assert_fails(look(letter, key=CITY.desk), "decryption", "other-content", Reading.TAMPERED)
        page = CITY.packed(CITY.page)
        assert_fails(look(page, key=CITY.desk), "decryption", "other-content", Reading.TAMPERED)


class TestArguments:
    @pytest.mark.parametrize("junk", [b"", b"hello", b"PK\x05\x06", b"{}", bytes(1000)])
    def test_any_other_file(self, junk):
        report = look(junk)
        assert_fails(report, "format", "unknown-kind", Reading.UNKNOWN_ISSUER)

    @pytest.mark.parametrize("begin", [b"PK\x03\x04", b"%PDF-1.7\n", b'{"ciphertext":"'])
    def test_files_that_only_begin_right(self, begin):
        report = look(begin + bytes(200), key=CITY.desk)
        assert report.verdict is Verdict.NOT_VALID

    def test_no_trust_no_examination(self):
        with pytest.raises(UsageError):
            examine(CITY.bundle, trust=(), policy=OFFLINE, now=NOW, sources=OfflineSources())

    def test_mock_and_real_together(self):
        with pytest.raises(TrustError, match="mock-mix"):
            look(CITY.bundle, trust=(CITY.trust(), CITY.trust(city="131016", mock=False)))

    def test_the_right_list_is_found_among_many(self):
        other = CITY.trust(city="131016", iss="https://other.example/131016", name="別市")
        report = look(CITY.bundle, trust=(other, CITY.trust()))
        assert (report.verdict, report.city) == (Verdict.VALID, "992011")

    def test_a_time_without_a_zone(self):
        with pytest.raises(UsageError, match="naive-time"):
            look(CITY.bundle, now=NOW.replace(tzinfo=None))

    def test_a_broken_request_is_the_callers_mistake(self):
        with pytest.raises(UsageError, match="bad-request"):
            look(CITY.bundle, request=b"junk")

    def test_verify_raises_with_the_report(self):
        values = {"trust": CITY.trust(), "policy": OFFLINE, "sources": OfflineSources()}
        with pytest.raises(NotValidError) as error:
            verify(b"junk", now=NOW, **values)
        assert error.value.report.verdict is Verdict.NOT_VALID
        with pytest.raises(UndeterminedError) as error:
            verify(CITY.bundle, now=NOW + 8 * DAY, **values)
        assert error.value.report.find("status").retry

    def test_the_json_form_holds_no_claim_unless_valid(self):
        good, stale = look(CITY.bundle), look(CITY.bundle, now=NOW + 8 * DAY)
        assert report_object(good)["certificate"]["subject"]["name"] == DATA["subject"]["name"]
        text = str(report_object(stale))
        assert report_object(stale)["certificate"] is None
        for secret in (DATA["subject"]["name"], DATA["subject"]["birthdate"], "3560000"):
            assert secret not in text

    def test_sources_that_fail_are_never_verdicts(self):
        class Broken:
            def _fail(self, *_):
                raise SourceError("boom", "away")

            status_list = public_file = chain = _fail

        report = look(CITY.bundle, policy=ONLINE, sources=Broken())
        assert report.verdict is Verdict.UNDETERMINED


class TestReceiptMadeAgain:
    """The chain has replaced the block that a genuine receipt names: the log has made the receipt again."""

    path = "https://door.mihon.example/992011/log/1/receipts/7"
    new = sha256(b"the block after the reorganisation")

    def look(self, receipt: bytes | None, **calls):
        moved = CITY.transaction(blockHash="0x" + self.new.hex())
        block = {"hash": "0x" + self.new.hex(), "number": hex(17)}
        online = CITY.online(**{"eth_getBlockByNumber": block, "eth_getTransactionReceipt": moved} | calls)
        files = online.files if receipt is None else {**online.files, self.path: receipt}
        return look(CITY.bundle, policy=ONLINE, sources=dataclasses.replace(online, files=files))

    def note(self, key=None, **changes) -> bytes:
        receipt = CITY.receipt(head_of(CITY.bundle), **{"block_hash": self.new} | changes)
        return CITY.anchor_note(receipt, key)

    def test_the_new_one_is_asked_for_and_confirmed(self):
        report = self.look(self.note())
        assert report.verdict is Verdict.VALID

    def test_without_a_new_one_the_chain_says_no(self):
        own = CITY.anchor_note(CITY.receipt(head_of(CITY.bundle)))
        for receipt in (None, own, b"junk"):
            assert_fails(self.look(receipt), "chain", "other-block", Reading.TAMPERED)

    def test_one_by_another_key_or_of_another_root_is_none(self):
        for receipt in (
            self.note(Ed25519PrivateKey.generate()),
            self.note(root=bytes(32)),
            self.note(size=6),
        ):
            assert_fails(self.look(receipt), "chain", "other-block", Reading.TAMPERED)

    def test_the_new_one_must_hold_too(self):
        assert_fails(self.look(self.note(log_index=4)), "chain", "no-event", Reading.TAMPERED)
        assert_fails(self.look(self.note(block_hash=bytes(32))), "chain", "other-block", Reading.TAMPERED)
        assert_open(self.look(self.note(block_number=21)), "chain", "node-behind")


class TestAnchoredSince:
    """A file made before anchoring is upgraded from public files while it is checked."""

    base = "https://door.mihon.example/992011/log/1"

    def look(self, bundle, head, **files):
        online = CITY.online(eth_getTransactionReceipt=CITY.transaction(head))
        values = {f"{self.base}/{name}": value for name, value in files.items()}
        return look(
            bundle, policy=ONLINE, sources=dataclasses.replace(online, files={**online.files, **values})
        )

    def entries(self, bundle):
        whole = parse_bundle(bundle)
        entry = parse_evidence(whole.evidence).entry(
            data=whole.certificate,
            page=parse_sealed_page(whole.page).revision,
            credential=whole.credential.split(b"~")[0],
        )
        return [sha256(bytes([n])) for n in range(4)] + [entry] + [sha256(bytes([n])) for n in range(2)]

    def test_the_files_own_state_of_the_log(self):
        bundle = CITY.issue(anchored=False)
        head = head_of(bundle)
        report = self.look(bundle, head, **{"receipts/7": CITY.anchor_note(CITY.receipt(head))})
        assert report.find("anchor").code == "anchored-since"
        assert report.verdict is Verdict.VALID

    @pytest.mark.parametrize("name", ["checkpoint", "anchored"])
    def test_a_newer_state_that_holds_the_entry(self, name):
        bundle = CITY.issue(anchored=False)
        entries = [*self.entries(bundle), sha256(b"later 1"), sha256(b"later 2")]
        head = Checkpoint(ORIGIN, 9, merkle_root(entries))
        files = {
            name: CITY.checkpoint_note(head),
            "receipts/9": CITY.anchor_note(CITY.receipt(head)),
            "tile/0/000.p/9": b"".join(leaf_hash(item) for item in entries),
        }
        report = self.look(bundle, head, **files)
        assert report.find("anchor").code == "anchored-since"
        assert report.verdict is Verdict.VALID

    def test_a_newer_state_without_the_entry_is_no_answer(self):
        bundle = CITY.issue(anchored=False)
        entries = [sha256(bytes([n])) for n in range(9)]
        head = Checkpoint(ORIGIN, 9, merkle_root(entries))
        files = {
            "checkpoint": CITY.checkpoint_note(head),
            "receipts/9": CITY.anchor_note(CITY.receipt(head)),
            "tile/0/000.p/9": b"".join(leaf_hash(item) for item in entries),
        }
        assert_open(self.look(bundle, head, **files), "anchor", "not-anchored-yet")

    def test_a_lying_file_server_gains_only_delay(self):
        bundle = CITY.issue(anchored=False)
        head = head_of(bundle)
        forged = CITY.anchor_note(CITY.receipt(head), Ed25519PrivateKey.generate())
        other = CITY.anchor_note(CITY.receipt(head, root=bytes(32)))
        for files in ({"receipts/7": b"junk"}, {"receipts/7": forged}, {"receipts/7": other}, {}):
            assert_open(self.look(bundle, head, **files), "anchor", "not-anchored-yet")

    def test_an_entry_that_is_not_in_the_log_is_not_upgraded(self):
        bundle = changed(CITY.issue(anchored=False), certificate=None, page=None)
        report = self.look(bundle, head_of(bundle))
        assert_fails(report, "inclusion", "evidence-mismatch", Reading.TAMPERED)
        assert report.find("anchor").code == "not-anchored-yet"


def test_the_status_token_of_the_city_is_what_we_think():
    assert parse_status_list(CITY.status()).status(STATUS_INDEX) == 0
