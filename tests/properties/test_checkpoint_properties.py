"""Parsers of the log's formats on any bytes: they answer or raise FormatError, and never accept two
encodings.
"""

from __future__ import annotations

import contextlib

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from verifier.errors import FormatError
from verifier.formats import chain_anchor, checkpoint, merkle, signed_note, tiles, tlog_proof

HASH = st.binary(min_size=32, max_size=32)
SIZE = st.integers(min_value=0, max_value=merkle.MAX_TREE_SIZE)
NAME = st.text(
    st.characters(exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp"), exclude_characters="+"), min_size=1
)
LINE = st.builds(
    signed_note.SignatureLine,
    NAME.filter(lambda name: not any(char.isspace() for char in name)),
    st.binary(min_size=4, max_size=4),
    st.binary(min_size=1, max_size=80),
)
CHECKPOINT = st.builds(checkpoint.Checkpoint, st.just("door.mihon.example/992011/log/1"), SIZE, HASH)
NOTE = st.builds(
    lambda head, lines: signed_note.format_note(
        signed_note.SignedNote(checkpoint.format_checkpoint_text(head), tuple(lines))
    ),
    CHECKPOINT,
    st.lists(LINE, min_size=1, max_size=4),
)
PROOF = st.builds(
    tlog_proof.TlogProof,
    SIZE,
    st.lists(HASH, max_size=6).map(tuple),
    NOTE,
    st.none() | st.binary(max_size=40),
)
RECEIPT = st.builds(
    chain_anchor.AnchorReceipt,
    SIZE,
    st.binary(min_size=20, max_size=20),
    st.just("door.mihon.example/992011/log/1"),
    SIZE,
    HASH,
    SIZE,
    HASH,
    HASH,
    SIZE,
)
FAST = settings(max_examples=80, deadline=None)


def mutate(data: bytes, position: int, replacement: bytes) -> bytes:
    at = position % (len(data) + 1)
    return data[:at] + replacement + data[at + 1 :]


@FAST
@given(st.binary(max_size=400))
def test_any_bytes_only_ever_raise_format_errors(data: bytes) -> None:
    for parse in (
        signed_note.parse_note,
        checkpoint.peek_checkpoint,
        tlog_proof.parse_tlog_proof,
        chain_anchor.peek_anchor_receipt,
        lambda raw: tiles.parse_entries(raw, 3),
        lambda raw: tiles.parse_tile(raw, 2),
    ):
        with contextlib.suppress(FormatError):
            parse(data)


@FAST
@given(st.text(max_size=200))
def test_any_text_only_ever_raises_format_errors(text: str) -> None:
    for parse in (
        signed_note.parse_vkey,
        checkpoint.parse_checkpoint_text,
        chain_anchor.parse_receipt_text,
        checkpoint.parse_size,
    ):
        with contextlib.suppress(FormatError):
            parse(text)


@FAST
@given(NOTE, st.integers(0, 2000), st.binary(max_size=2))
def test_notes_have_one_encoding(data: bytes, position: int, replacement: bytes) -> None:
    assert signed_note.format_note(signed_note.parse_note(data)) == data
    changed = mutate(data, position, replacement)
    with contextlib.suppress(FormatError):
        assert signed_note.format_note(signed_note.parse_note(changed)) == changed


@FAST
@given(PROOF, st.integers(0, 2000), st.binary(max_size=2))
def test_proofs_have_one_encoding(proof: tlog_proof.TlogProof, position: int, replacement: bytes) -> None:
    data = tlog_proof.format_tlog_proof(proof)
    assert tlog_proof.parse_tlog_proof(data) == proof
    changed = mutate(data, position, replacement)
    with contextlib.suppress(FormatError):
        assert tlog_proof.format_tlog_proof(tlog_proof.parse_tlog_proof(changed)) == changed


@FAST
@given(RECEIPT, st.integers(0, 2000), st.text(max_size=2))
def test_receipts_have_one_encoding(receipt, position: int, replacement: str) -> None:
    text = chain_anchor.format_receipt_text(receipt)
    assert chain_anchor.parse_receipt_text(text) == receipt
    at = position % (len(text) + 1)
    changed = text[:at] + replacement + text[at + 1 :]
    with contextlib.suppress(FormatError):
        assert chain_anchor.format_receipt_text(chain_anchor.parse_receipt_text(changed)) == changed


@FAST
@given(HASH, SIZE, SIZE, st.lists(HASH, max_size=70), HASH)
def test_random_proofs_are_refused_with_our_errors(leaf, index, size, path, root) -> None:
    assume(leaf != root)  # a tree of one leaf, or of equal sizes, needs no path
    for attempt in (
        lambda: merkle.verify_inclusion(leaf, index, size, path, root),
        lambda: merkle.verify_consistency(index, leaf, size, root, path),
    ):
        try:
            attempt()
        except merkle.ProofError:
            continue
        raise AssertionError("a random proof was accepted")
