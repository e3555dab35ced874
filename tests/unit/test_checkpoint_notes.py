"""Signed notes, checkpoints, proofs and receipts: what is read, what is refused, in bundles and in public
logs.
"""

from __future__ import annotations

import dataclasses
import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from verifier.errors import FormatError, LimitError
from verifier.formats import chain_anchor, checkpoint, signed_note, tlog_proof
from verifier.formats.merkle import InclusionError, leaf_hash, node_hash
from verifier.formats.signed_note import SignatureError, SignedNote, VerifierKey

ORIGIN = "door.mihon.example/992011/log/1"


def private(seed: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)


def vkey(name: str, seed: int, algorithm: int = signed_note.ED25519) -> VerifierKey:
    return signed_note.build_vkey(name, private(seed).public_key().public_bytes_raw(), algorithm)


def line(text: str, key: VerifierKey, seed: int, time: int = 1_800_000_000) -> signed_note.SignatureLine:
    if key.algorithm == signed_note.COSIGNATURE_ED25519:
        signature = private(seed).sign(signed_note.cosigned_bytes(text, time))
        return signed_note.build_signature_line(key, time.to_bytes(8, "big") + signature)
    return signed_note.build_signature_line(key, private(seed).sign(text.encode()))


LOG = vkey(ORIGIN, 1)
WITNESSES = [vkey(f"witness{n}.example", 10 + n, signed_note.COSIGNATURE_ED25519) for n in range(3)]
ENTRIES = [bytes([n]) * 32 for n in range(2)]
LEAVES = [leaf_hash(entry) for entry in ENTRIES]
HEAD = checkpoint.Checkpoint(ORIGIN, 2, node_hash(*LEAVES))
TEXT = checkpoint.format_checkpoint_text(HEAD)
LOG_LINE = line(TEXT, LOG, 1)
WITNESS_LINES = [line(TEXT, key, 10 + n) for n, key in enumerate(WITNESSES)]


def note(*lines: signed_note.SignatureLine, text: str = TEXT) -> bytes:
    return signed_note.format_note(SignedNote(text, lines))


def test_the_example_of_the_specification_is_read_and_its_key_checked() -> None:
    """The note of c2sp.org/signed-note; its public key is not published there, so only the shape is
    checked.
    """
    data = (
        "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n\n"
        "— quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKON"
        "rMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n"
    ).encode()
    parsed = signed_note.parse_note(data)
    assert parsed.text.endswith("ed è subito sera.\n")
    assert parsed.signatures[0].name == "quasimodo.example/salvatore"
    assert parsed.signatures[0].key_id.hex() == "367ba04b"
    assert signed_note.format_note(parsed) == data


def test_the_key_of_the_go_checksum_database_is_read() -> None:
    """sum.golang.org's published verifier key: a foreign key id that our rule must reproduce."""
    text = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
    key = signed_note.parse_vkey(text)
    assert (key.name, key.key_id.hex()) == ("sum.golang.org", "033de0ae")
    assert signed_note.format_vkey(key) == text
    for bad in (text.replace("033de0ae", "033de0af"), text[:-4], "x", text.replace("+Ac4", "+Bc4"), ""):
        with pytest.raises(FormatError):
            signed_note.parse_vkey(bad)


def test_a_checkpoint_of_the_log_is_read_in_both_ways() -> None:
    data = note(LOG_LINE)
    assert checkpoint.verify_bundled_checkpoint(data, LOG).checkpoint == HEAD
    assert checkpoint.verify_public_checkpoint(data, LOG).checkpoint == HEAD
    assert checkpoint.peek_checkpoint(data) == HEAD


def test_witness_lines_count_in_policy_order_only() -> None:
    good = checkpoint.verify_bundled_checkpoint(
        note(LOG_LINE, WITNESS_LINES[0], WITNESS_LINES[2]), LOG, WITNESSES
    )
    assert [(item.key.name, item.time) for item in good.signatures] == [
        (ORIGIN, None),
        ("witness0.example", 1_800_000_000),
        ("witness2.example", 1_800_000_000),
    ]
    for lines in (
        (LOG_LINE, WITNESS_LINES[2], WITNESS_LINES[0]),  # not in the policy's order
        (LOG_LINE, WITNESS_LINES[0], WITNESS_LINES[0]),  # twice
        (WITNESS_LINES[0], LOG_LINE),  # the log is not first
        (LOG_LINE, line(TEXT, vkey("stranger.example", 99), 99)),  # unknown
        (WITNESS_LINES[0],),  # no log
    ):
        with pytest.raises(SignatureError):
            checkpoint.verify_bundled_checkpoint(note(*lines), LOG, WITNESSES)


def test_unknown_lines_are_passed_over_in_a_public_log_only() -> None:
    stranger = line(TEXT, vkey("stranger.example", 99), 99)
    data = note(stranger, LOG_LINE, WITNESS_LINES[1])
    assert len(checkpoint.verify_public_checkpoint(data, LOG, WITNESSES).signatures) == 2
    with pytest.raises(SignatureError, match="signature-missing"):
        checkpoint.verify_public_checkpoint(note(stranger), LOG, WITNESSES)
    with pytest.raises(SignatureError, match="signature-missing"):
        checkpoint.verify_public_checkpoint(note(WITNESS_LINES[1]), LOG, WITNESSES)


@pytest.mark.parametrize(
    "verify", [checkpoint.verify_bundled_checkpoint, checkpoint.verify_public_checkpoint]
)
def test_a_wrong_signature_under_a_known_key_refuses_the_note(verify) -> None:
    forged = dataclasses.replace(LOG_LINE, signature=private(2).sign(TEXT.encode()))
    with pytest.raises(SignatureError, match="bad-signature"):
        verify(note(forged), LOG)
    short = dataclasses.replace(LOG_LINE, signature=LOG_LINE.signature[:-1])
    with pytest.raises(SignatureError, match="bad-signature"):
        verify(note(short), LOG)
    bad_witness = dataclasses.replace(WITNESS_LINES[0], signature=b"\x00" * 72)
    with pytest.raises(SignatureError, match="bad-signature"):
        verify(note(LOG_LINE, bad_witness), LOG, WITNESSES)


@pytest.mark.parametrize(
    "verify", [checkpoint.verify_bundled_checkpoint, checkpoint.verify_public_checkpoint]
)
def test_a_checkpoint_of_another_origin_under_our_key_is_refused(verify) -> None:
    text = TEXT.replace("/log/1", "/log/2")
    with pytest.raises(SignatureError, match="other-origin"):
        verify(note(line(text, LOG, 1), text=text), LOG)


@pytest.mark.parametrize(
    "text",
    [
        "",
        TEXT[:-1],
        TEXT + "extension\n",
        TEXT.replace("\n2\n", "\n02\n"),
        TEXT.replace("\n2\n", "\n-2\n"),
        TEXT.replace("\n2\n", "\n²\n"),
        TEXT.replace("\n2\n", f"\n{1 << 63}\n"),
        TEXT.replace("\n2\n", "\n" + "9" * 5000 + "\n"),
        "\n" + TEXT.split("\n", 1)[1],
        TEXT.replace("/992011", "/ 992011"),
        TEXT.rstrip("=\n") + "\n",
    ],
)
def test_other_texts_are_no_checkpoint(text: str) -> None:
    with pytest.raises(FormatError):
        checkpoint.parse_checkpoint_text(text)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n\n",
        TEXT.encode(),
        note(LOG_LINE)[:-1],
        note(LOG_LINE) + b"\n",
        note(LOG_LINE).replace("—".encode(), b"-"),
        note(LOG_LINE).replace(b"\n\n", b"\r\n\r\n"),
        note(LOG_LINE).replace(b"=\n", b"\n"),
        note(LOG_LINE) + b"\xff",
    ],
)
def test_other_bytes_are_no_note(data: bytes) -> None:
    with pytest.raises(FormatError):
        signed_note.parse_note(data)


def test_limits_of_notes() -> None:
    assert len(signed_note.parse_note(note(*[LOG_LINE] * signed_note.MAX_SIGNATURES)).signatures) == 64
    with pytest.raises(LimitError, match="too-many-signatures"):
        note(*[LOG_LINE] * (signed_note.MAX_SIGNATURES + 1))
    with pytest.raises(LimitError, match="note-too-large"):
        signed_note.parse_note(b"a" * (signed_note.MAX_NOTE_BYTES + 1))


PROOF = tlog_proof.TlogProof(1, (LEAVES[0],), note(LOG_LINE))


def test_a_proof_is_written_read_and_verified() -> None:
    data = tlog_proof.format_tlog_proof(PROOF)
    assert data.startswith(b"c2sp.org/tlog-proof@v1\nindex 1\n")
    assert tlog_proof.parse_tlog_proof(data) == PROOF
    assert tlog_proof.verify_tlog_proof(PROOF, ENTRIES[1], LOG).checkpoint == HEAD
    with pytest.raises(InclusionError):
        tlog_proof.verify_tlog_proof(PROOF, ENTRIES[0], LOG)


def test_extra_data_is_read_but_not_in_a_bundle() -> None:
    proof = dataclasses.replace(PROOF, extra=b"salt")
    data = tlog_proof.format_tlog_proof(proof)
    assert b"\nextra c2FsdA==\nindex" in data
    assert tlog_proof.parse_tlog_proof(data) == proof
    with pytest.raises(FormatError, match="extra-in-bundle"):
        tlog_proof.verify_tlog_proof(proof, ENTRIES[1], LOG)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"@v1", b"@v2"),
        (b"index 1", b"index 01"),
        (b"index 1", b"Index 1"),
        (b"index 1\n", b""),
        (b"index 1\n", b"index 1\nextra c2FsdA==\n"),
        (b"\n\n", b"\n"),
        (b"\nindex", b"\r\nindex"),
        (b"=\n\n", b"\n\n"),
        (b"index 1\n", b"index 1\n" + b"AAAA\n"),
    ],
)
def test_other_bytes_are_no_proof(old: bytes, new: bytes) -> None:
    data = tlog_proof.format_tlog_proof(PROOF)
    assert old in data
    with pytest.raises(FormatError):
        tlog_proof.parse_tlog_proof(data.replace(old, new, 1))


def test_a_path_that_is_too_long_is_a_limit() -> None:
    with pytest.raises(LimitError, match="path-too-long"):
        tlog_proof.format_tlog_proof(dataclasses.replace(PROOF, path=(LEAVES[0],) * 65))


RECEIPT = chain_anchor.AnchorReceipt(
    chain_id=992011,
    contract=bytes(range(20)),
    origin=ORIGIN,
    size=2,
    root=HEAD.root,
    block_number=7,
    block_hash=hashlib.sha256(b"block").digest(),
    transaction=hashlib.sha256(b"transaction").digest(),
    log_index=0,
)
RECEIPT_TEXT = chain_anchor.format_receipt_text(RECEIPT)


def receipt_note(key: VerifierKey = LOG, seed: int = 1, text: str = RECEIPT_TEXT) -> bytes:
    return note(line(text, key, seed), text=text)


def verify_receipt(data: bytes, chain_id: int = 992011, contract: bytes = bytes(range(20))):
    return chain_anchor.verify_anchor_receipt(data, LOG, chain_id, contract)


def test_a_receipt_is_written_read_and_verified() -> None:
    assert chain_anchor.parse_receipt_text(RECEIPT_TEXT) == RECEIPT
    assert verify_receipt(receipt_note()) == RECEIPT
    assert verify_receipt(receipt_note()).checkpoint == HEAD


def test_receipts_of_others_are_refused() -> None:
    with pytest.raises(SignatureError, match="other-chain"):
        verify_receipt(receipt_note(), chain_id=1)
    with pytest.raises(SignatureError, match="other-chain"):
        verify_receipt(receipt_note(), contract=bytes(20))
    with pytest.raises(SignatureError):
        verify_receipt(receipt_note(vkey(ORIGIN, 2), 2))
    with pytest.raises(SignatureError, match="other-origin"):
        verify_receipt(receipt_note(text=RECEIPT_TEXT.replace("/log/1", "/log/2")))
    with pytest.raises(SignatureError, match="signature-unexpected"):
        verify_receipt(
            note(line(RECEIPT_TEXT, LOG, 1), line(RECEIPT_TEXT, vkey("x.example", 3), 3), text=RECEIPT_TEXT)
        )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("/v1\n", "/v2\n"),
        ("chain 992011", "chain 0992011"),
        ("chain 992011\n", ""),
        ("contract 0x00", "contract 0X00"),
        ("contract 0x00", "contract 00"),
        ("size 2", "size 2 "),
        ("log 0\n", "log 0\nmore\n"),
        ("log 0\n", "log 0"),
        ("block 7 ", "block 7"),
    ],
)
def test_other_texts_are_no_receipt(old: str, new: str) -> None:
    assert old in RECEIPT_TEXT
    with pytest.raises(FormatError):
        chain_anchor.parse_receipt_text(RECEIPT_TEXT.replace(old, new, 1))


def test_a_receipt_is_never_a_checkpoint_nor_the_other_way_round() -> None:
    with pytest.raises(FormatError):
        checkpoint.verify_public_checkpoint(receipt_note(), LOG)
    with pytest.raises(FormatError):
        verify_receipt(note(LOG_LINE))
