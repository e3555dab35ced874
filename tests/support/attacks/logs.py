"""Attacks on the log's evidence: checkpoints of other keys, logs and trees, other witnesses, other proofs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.support.attacks.case import Attempt, attack, control
from tests.support.mini_city import NOW, city
from tests.support.verifier_bundles import ORIGIN, changed, head_of, merkle_root, raw_public
from verifier.formats.bundle import parse_bundle
from verifier.formats.checkpoint import Checkpoint, format_checkpoint_text
from verifier.formats.encoding import sha256
from verifier.formats.evidence import Part, build_evidence, parse_evidence
from verifier.formats.signed_note import (
    COSIGNATURE_ED25519,
    SignatureLine,
    SignedNote,
    VerifierKey,
    build_signature_line,
    build_vkey,
    cosigned_bytes,
    format_note,
    parse_note,
)
from verifier.formats.tlog_proof import TlogProof, format_tlog_proof, parse_tlog_proof

OLD_KEY = Ed25519PrivateKey.from_private_bytes(sha256(b"the log key of last year (MOCK)"))
OTHER_ORIGIN = "door.mihon.example/992011/log/2"


@control
def evidence_signed_anew() -> Attempt:
    """The way of making checkpoints, receipts and time-stamps here is sound."""
    return Attempt(_under(city().base.log_key))


@control
def witnessed_without_anchor() -> Attempt:
    """A quorum of witnesses stands in for the receipt."""
    return Attempt(witnessed(city().base.witness_key), trust=(_with_witness(),))


@attack
def checkpoint_by_an_old_log_key() -> Attempt:
    return Attempt(_under(OLD_KEY, build_vkey(ORIGIN, raw_public(OLD_KEY))))


@attack
def checkpoint_by_a_stranger_under_the_logs_key_id() -> Attempt:
    return Attempt(_under(OLD_KEY))


@attack
def checkpoint_of_another_log_of_the_city() -> Attempt:
    head = dataclasses.replace(head_of(city().bundle), origin=OTHER_ORIGIN)
    return Attempt(_under(OLD_KEY, build_vkey(OTHER_ORIGIN, raw_public(OLD_KEY)), head))


@attack
def checkpoint_of_another_origin_by_the_log_key() -> Attempt:
    head = dataclasses.replace(head_of(city().bundle), origin=OTHER_ORIGIN)
    return Attempt(_under(city().base.log_key, head=head))


@attack
def checkpoint_with_a_line_by_somebody_unknown() -> Attempt:
    stranger = build_vkey("stranger.example/log", raw_public(OLD_KEY))
    return _lines(lambda note: [*note.signatures, signed_line(note, OLD_KEY, stranger)])


@attack
def checkpoint_with_an_old_log_key_beside() -> Attempt:
    old = build_vkey(ORIGIN, raw_public(OLD_KEY))
    return _lines(lambda note: [*note.signatures, signed_line(note, OLD_KEY, old)])


@attack
def checkpoint_with_the_logs_line_twice() -> Attempt:
    return _lines(lambda note: [*note.signatures, *note.signatures])


@attack
def checkpoint_with_a_witness_outside_the_policy() -> Attempt:
    return Attempt(witnessed(city().base.witness_key, anchored=True))


@attack
def checkpoint_with_a_forged_witness() -> Attempt:
    return Attempt(witnessed(OLD_KEY, anchored=True), trust=(_with_witness(),))


@attack
def checkpoint_with_another_witness_under_the_quorum() -> Attempt:
    other = build_vkey("witness.example/2", raw_public(OLD_KEY), COSIGNATURE_ED25519)
    return Attempt(witnessed(OLD_KEY, other), trust=(_with_witness(),))


@attack
def witnesses_too_few_and_not_anchored() -> Attempt:
    return Attempt(city().issue(anchored=False), trust=(_with_witness(),))


@attack
def proof_of_another_entry() -> Attempt:
    return Attempt(changed(city().bundle, inclusion=parse_bundle(city().other_bundle).inclusion))


@attack
def proof_for_another_place() -> Attempt:
    return _proof(lambda proof: dataclasses.replace(proof, index=proof.index ^ 1))


@attack
def proof_with_a_hash_too_few() -> Attempt:
    return _proof(lambda proof: dataclasses.replace(proof, path=proof.path[:-1]))


@attack
def proof_with_a_hash_too_many() -> Attempt:
    return _proof(lambda proof: dataclasses.replace(proof, path=(*proof.path, bytes(32))))


@attack
def proof_with_extra_data() -> Attempt:
    return _proof(lambda proof: dataclasses.replace(proof, extra=b"seen by the mayor"))


@attack
def proof_with_loose_base64() -> Attempt:
    def loose(data: bytes) -> bytes:
        line = data.split(b"\n")[2]
        other = line[:-2] + bytes([line[-2] + 1]) + line[-1:]
        return data.replace(line, other, 1)

    return Attempt(changed(city().bundle, inclusion=loose))


@attack
def proof_with_a_leading_zero() -> Attempt:
    return Attempt(changed(city().bundle, inclusion=lambda data: data.replace(b"index ", b"index 0", 1)))


@attack
def proof_with_line_ends_of_windows() -> Attempt:
    return Attempt(changed(city().bundle, inclusion=lambda data: data.replace(b"\n", b"\r\n")))


@attack
def tree_of_its_own_signed_with_an_old_key() -> Attempt:
    """A tree whose only entry is a certificate that the log has never seen."""
    return Attempt(own_tree(OLD_KEY, build_vkey(ORIGIN, raw_public(OLD_KEY))))


@attack
def fork_signed_by_the_log_with_the_receipt_of_the_first_history() -> Attempt:
    """An insider signs a second history with the log key; the receipt is that of the first."""
    bundle = own_tree(city().base.log_key)
    return Attempt(changed(bundle, anchor=parse_bundle(city().bundle).anchor))


@attack
def fork_signed_by_the_log_without_a_receipt() -> Attempt:
    return Attempt(changed(own_tree(city().base.log_key), anchor=None))


@attack
def logged_but_not_anchored() -> Attempt:
    return Attempt(city().issue(anchored=False))


def tlog_proof(bundle: bytes) -> TlogProof:
    """The proof of a bundle, taken apart."""
    return parse_tlog_proof(parse_bundle(bundle).inclusion)


def _note(head: Checkpoint, key: Ed25519PrivateKey, vkey: VerifierKey | None = None) -> bytes:
    text = format_checkpoint_text(head)
    line = build_signature_line(vkey or city().base.log_vkey, key.sign(text.encode()))
    return format_note(SignedNote(text, (line,)))


def _under(key: Ed25519PrivateKey, vkey: VerifierKey | None = None, head: Checkpoint | None = None) -> bytes:
    """The genuine bundle with its checkpoint signed by `key`, and everything after that made anew for it."""
    head = head or head_of(city().bundle)
    note = _note(head, key, vkey)
    return _around(note, head)


def own_tree(key: Ed25519PrivateKey, vkey: VerifierKey | None = None) -> bytes:
    """Hanako's documents with other salts, in a tree of one entry, with a receipt by the log key."""
    whole = parse_bundle(city().bundle)
    evidence = dataclasses.replace(parse_evidence(whole.evidence), data=Part(salt=bytes(32)))
    signed = whole.credential.split(b"~")[0]
    entry = evidence.entry(data=whole.certificate, page=whole.page, credential=signed)
    head = Checkpoint(ORIGIN, 1, merkle_root([entry]))
    note = _note(head, key, vkey)
    return changed(
        city().bundle,
        evidence=build_evidence(evidence),
        inclusion=format_tlog_proof(TlogProof(0, (), note)),
        anchor=city().base.anchor_note(city().base.receipt(head)),
        timestamp=city().stamp()(sha256(note)),
    )


def _around(note: bytes, head: Checkpoint, *, anchored: bool = True) -> bytes:
    proof = dataclasses.replace(tlog_proof(city().bundle), checkpoint=note)
    receipt = city().base.anchor_note(city().base.receipt(head)) if anchored else None
    stamp = city().stamp()(sha256(note))
    return changed(city().bundle, inclusion=format_tlog_proof(proof), anchor=receipt, timestamp=stamp)


def signed_line(note: SignedNote, key: Ed25519PrivateKey, vkey: VerifierKey) -> SignatureLine:
    """A proper signature line over the note."""
    return build_signature_line(vkey, key.sign(note.text.encode()))


def _lines(change: Callable[[SignedNote], list[SignatureLine]]) -> Attempt:
    note = parse_note(tlog_proof(city().bundle).checkpoint)
    data = format_note(SignedNote(note.text, tuple(change(note))))
    return Attempt(_around(data, head_of(city().bundle)))


def witnessed(key: Ed25519PrivateKey, vkey: VerifierKey | None = None, *, anchored: bool = False) -> bytes:
    """The genuine bundle under its checkpoint with a cosignature by `key`."""
    note = parse_note(tlog_proof(city().bundle).checkpoint)
    moment = int(NOW.timestamp())
    signature = moment.to_bytes(8, "big") + key.sign(cosigned_bytes(note.text, moment))
    line = build_signature_line(vkey or city().base.witness_vkey, signature)
    data = format_note(SignedNote(note.text, (*note.signatures, line)))
    return _around(data, head_of(city().bundle), anchored=anchored)


def _with_witness() -> bytes:
    return city().trust_data(witnesses=city().base.witness_policy)


def _proof(change: Callable[[TlogProof], TlogProof]) -> Attempt:
    return Attempt(changed(city().bundle, inclusion=format_tlog_proof(change(tlog_proof(city().bundle)))))
