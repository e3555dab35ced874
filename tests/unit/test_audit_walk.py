"""The walk of the auditor: sound logs of many sizes, every kind of change in a file, each with its own code."""

from __future__ import annotations

import random

import pytest

from tests.support.audit_logs import LOG_KEY, PublishedLog, codes, entry, run_audit, sign
from verifier.audit.findings import MAX_FINDINGS, TAMPER_TEXTS, UNFINISHED_TEXTS, Findings, Kind, Outcome
from verifier.errors import SourceError
from verifier.formats.checkpoint import Checkpoint
from verifier.formats.merkle import leaf_hash
from verifier.formats.tiles import TileReader, format_entries, list_tiles

SIZES = [1, 2, 3, 255, 256, 257, 511, 512, 513, 1000, 4096]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("can_list", [True, False])
def test_a_sound_log_is_clean(size: int, can_list: bool) -> None:
    log = PublishedLog(size, can_list=can_list)
    result = run_audit(log)
    assert (codes(result), result.report.outcome) == ([], Outcome.CLEAN)
    assert (result.report.size, result.report.root) == (size, log.head.root)
    assert result.state is not None and result.state.walked == size
    assert result.report.not_asked == ("chain",)


@pytest.mark.parametrize("size", [65_535, 65_536, 65_537])
def test_a_third_level_is_walked(size: int) -> None:
    log = PublishedLog(size)
    assert codes(run_audit(log)) == []
    assert codes(run_audit(log.flip("tile/1/000" if size >= 65_536 else "tile/1/000.p/255"))) == [
        "tile-mismatch"
    ]


def test_every_file_is_read_once() -> None:
    log = PublishedLog(1000)
    run_audit(log)
    tiles = [path for path in log.fetched if path.startswith("tile/")]
    assert sorted(tiles) == sorted(set(tiles)) and set(tiles) == {
        p for p in log.files if p.startswith("tile/")
    }


def test_a_log_that_grew_in_batches_and_kept_its_partial_tiles_is_clean() -> None:
    log = PublishedLog(10)
    for _ in range(7):
        kept = dict(log.files)
        log.grow(101)
        log.files = kept | log.files
    assert [path for path in log.files if ".p/" in path and "entries" in path][1:]
    assert codes(run_audit(log)) == []


def test_a_dropped_partial_tile_is_read_from_the_full_one() -> None:
    log = PublishedLog(300)
    note = log.files["checkpoint"]
    log.grow(300)
    log.files["checkpoint"] = note
    assert "tile/0/001.p/44" not in log.files
    assert codes(run_audit(log)) == []


# -- one change, one code ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("size", [3, 600, 1024])
def test_a_flipped_byte_in_any_tile_or_bundle_is_found_and_blamed_on_the_right_file(
    size: int, seed: int
) -> None:
    whole = PublishedLog(size)
    for path in sorted(path for path in whole.files if path.startswith("tile/")):
        log = PublishedLog(size)
        chosen = random.Random(seed * 1000 + size)
        position = chosen.randrange(len(log.files[path]))
        result = run_audit(log.flip(path, position))
        (finding,) = result.report.findings
        if path.startswith("tile/entries"):
            is_length = position % 34 < 2
            assert finding.code == ("entries-malformed" if is_length else "entries-mismatch"), path
        else:
            assert finding.code == "tile-mismatch", path
        assert finding.where == path
        assert result.report.outcome is Outcome.TAMPER and result.state is None


def test_the_finding_says_which_leaf() -> None:
    log = PublishedLog(600).flip("tile/entries/001", 34 * 7 + 5)
    (finding,) = run_audit(log).report.findings
    assert finding.detail == "first at leaf 263"


def test_swapped_tiles_are_found() -> None:
    log = PublishedLog(600)
    log.files["tile/0/000"], log.files["tile/0/001"] = log.files["tile/0/001"], log.files["tile/0/000"]
    assert [(f.code, f.where) for f in run_audit(log).report.findings] == [
        ("tile-mismatch", "tile/0/000"),
        ("tile-mismatch", "tile/0/001"),
    ]


def test_swapped_tiles_and_bundles_contradict_the_level_above_and_the_root() -> None:
    log = PublishedLog(600)
    for kind in ("0", "entries"):
        one, other = f"tile/{kind}/000", f"tile/{kind}/001"
        log.files[one], log.files[other] = log.files[other], log.files[one]
    assert codes(run_audit(log)) == ["tile-mismatch", "root-mismatch"]


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("tile/0/000", "tile-missing"),
        ("tile/0/002.p/88", "tile-missing"),
        ("tile/1/000.p/2", "tile-missing"),
        ("tile/entries/001", "entries-missing"),
        ("tile/entries/002.p/88", "entries-missing"),
    ],
)
def test_a_missing_file_is_a_gap_and_the_rest_is_still_walked(path: str, code: str) -> None:
    log = PublishedLog(600)
    del log.files[path]
    result = run_audit(log)
    assert [(f.code, f.where) for f in result.report.findings] == [(code, path)]


def test_where_bundle_and_tile_are_gone_the_walk_ends_and_says_what_was_not_compared() -> None:
    log = PublishedLog(100).anchor().grow(500)
    del log.files["tile/0/001"], log.files["tile/entries/001"]
    assert codes(run_audit(log)) == ["entries-missing", "tile-missing", "not-walked"]


@pytest.mark.parametrize("data", [b"", b"\0" * 31, b"\0" * 8193, b"\0" * 100_000])
@pytest.mark.parametrize(
    ("path", "code"), [("tile/0/000", "tile-malformed"), ("tile/entries/000", "entries-malformed")]
)
def test_files_of_a_wrong_length_are_malformed(path: str, code: str, data: bytes) -> None:
    log = PublishedLog(300)
    log.files[path] = data
    assert codes(run_audit(log)) == [code]


def test_an_entry_of_another_length_is_no_entry_of_this_log() -> None:
    log = PublishedLog(2)
    log.files["tile/entries/000.p/2"] = format_entries([entry(0), entry(1)[:31]])
    assert codes(run_audit(log)) == ["entries-malformed"]


def test_an_older_partial_tile_that_tells_another_history_is_found() -> None:
    log = PublishedLog(10)
    older = {path: data for path, data in log.files.items() if ".p/" in path}
    log.grow(500)
    log.files |= older
    assert codes(run_audit(log)) == []
    assert codes(run_audit(log.flip("tile/0/000.p/10"))) == ["partial-mismatch"]
    log.flip("tile/0/000.p/10").flip("tile/entries/000.p/10")
    assert [f.where for f in run_audit(log).report.findings] == ["tile/entries/000.p/10"]


def test_a_consistently_rewritten_leaf_does_not_lead_to_the_signed_root() -> None:
    log, other = PublishedLog(200), PublishedLog(200, salt=1)
    note = log.files["checkpoint"]
    log.files = other.files | {"checkpoint": note}
    assert codes(run_audit(log)) == ["root-mismatch"]


def test_the_rewritten_last_leaf_of_a_full_tile_contradicts_the_tile_above() -> None:
    log = PublishedLog(600)
    data = bytearray(log.files["tile/entries/000"])
    data[-1] ^= 1
    log.files["tile/entries/000"] = bytes(data)
    log.files["tile/0/000"] = log.files["tile/0/000"][:-32] + leaf_hash(bytes(data[-32:]))
    assert codes(run_audit(log)) == ["tile-mismatch", "root-mismatch"]


def test_an_empty_log_is_clean_and_a_wrong_empty_root_is_not() -> None:
    log = PublishedLog(0)
    assert codes(run_audit(log)) == []
    log.files["checkpoint"] = sign(Checkpoint(log.head.origin, 0, b"\1" * 32), LOG_KEY)
    assert codes(run_audit(log)) == ["root-mismatch"]


# -- outages and limits --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["checkpoint", "tile/0/001", "tile/entries/000", "tile/1/000.p/2"])
def test_an_outage_is_no_accusation(path: str) -> None:
    log = PublishedLog(600)
    log.fails = lambda asked: SourceError("unreachable", "test") if asked == path else None
    result = run_audit(log)
    assert codes(result)[0] == "log-unreachable"
    assert result.report.outcome is Outcome.UNFINISHED


def test_findings_are_bounded() -> None:
    log = PublishedLog(256 * (MAX_FINDINGS + 20))
    for path in list(log.files):
        if path.startswith("tile/0/"):
            log.flip(path)
    report = run_audit(log).report
    assert (len(report.findings), report.more) == (MAX_FINDINGS, 20)


def test_a_checkpoint_of_an_enormous_size_ends_at_the_first_gap() -> None:
    log = PublishedLog(3)
    log.files["checkpoint"] = sign(Checkpoint(log.head.origin, 2**62, log.head.root))
    assert codes(run_audit(log)) == ["entries-missing", "tile-missing"]


def test_every_code_is_in_one_table_only() -> None:
    assert not set(TAMPER_TEXTS) & set(UNFINISHED_TEXTS)
    findings = Findings()
    with pytest.raises(KeyError):
        findings.add("no-such-code", "here")
    findings.add("behind-chain", "chain")
    assert findings.listed[0].kind is Kind.UNFINISHED and findings.outcome is Outcome.UNFINISHED
    findings.add("fork", "state")
    assert findings.outcome is Outcome.TAMPER


def test_the_root_is_the_one_of_the_reader_and_the_tiles_are_those_of_the_list() -> None:
    log = PublishedLog(1234)
    reader = TileReader(1234, lambda path: log.fetch(path, 10**6))
    assert run_audit(log).report.root == reader.root()
    assert run_audit(log).report.files == len(list(list_tiles(1234))) + 5
