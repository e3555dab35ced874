"""Attacks on the log's evidence: checkpoints of other keys, logs and trees, other proofs, receipts, time-stamps."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from app.sealing.certificates import SIGNING, TIME_STAMP, Profile
from tests.support.attacks.case import Attempt, attack, control
from tests.support.mini_city import NOW, city
from tests.support.verifier_bundles import CHAIN_ID, ORIGIN, changed, head_of, merkle_root, raw_public
from verifier import ONLINE
from verifier.formats.bundle import parse_bundle
from verifier.formats.chain_anchor import format_receipt_text
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
    return Attempt(_witnessed(city().base.witness_key), trust=(_with_witness(),))


@control
def asked_online() -> Attempt:
    """Node and list server confirm."""
    return _online()


@control
def bundle_without_the_checkpoints_time_stamp() -> Attempt:
    """Evidence beside the log's own: whoever leaves it out only shows less."""
    return Attempt(changed(city().bundle, timestamp=None))


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
    return _lines(lambda note: [*note.signatures, _line(note, OLD_KEY, stranger)])


@attack
def checkpoint_with_an_old_log_key_beside() -> Attempt:
    old = build_vkey(ORIGIN, raw_public(OLD_KEY))
    return _lines(lambda note: [*note.signatures, _line(note, OLD_KEY, old)])


@attack
def checkpoint_with_the_logs_line_twice() -> Attempt:
    return _lines(lambda note: [*note.signatures, *note.signatures])


@attack
def checkpoint_with_a_witness_outside_the_policy() -> Attempt:
    return Attempt(_witnessed(city().base.witness_key, anchored=True))


@attack
def checkpoint_with_a_forged_witness() -> Attempt:
    return Attempt(_witnessed(OLD_KEY, anchored=True), trust=(_with_witness(),))


@attack
def checkpoint_with_another_witness_under_the_quorum() -> Attempt:
    other = build_vkey("witness.example/2", raw_public(OLD_KEY), COSIGNATURE_ED25519)
    return Attempt(_witnessed(OLD_KEY, other), trust=(_with_witness(),))


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
    return Attempt(_own_tree(OLD_KEY, build_vkey(ORIGIN, raw_public(OLD_KEY))))


@attack
def fork_signed_by_the_log_with_the_receipt_of_the_first_history() -> Attempt:
    """An insider signs a second history with the log key; the receipt is that of the first."""
    bundle = _own_tree(city().base.log_key)
    return Attempt(changed(bundle, anchor=parse_bundle(city().bundle).anchor))


@attack
def fork_signed_by_the_log_without_a_receipt() -> Attempt:
    return Attempt(changed(_own_tree(city().base.log_key), anchor=None))


@attack
def fork_signed_by_the_log_with_a_receipt_of_its_own() -> Attempt:
    """Whoever has the log key can sign both; the chain does not hold what the receipt says."""
    return dataclasses.replace(_online(), file=_own_tree(city().base.log_key))


@attack
def logged_but_not_anchored() -> Attempt:
    return Attempt(city().issue(anchored=False))


@attack
def receipt_of_another_chain() -> Attempt:
    return _receipt(chain_id=1)


@attack
def receipt_of_another_contract() -> Attempt:
    return _receipt(contract=bytes(19) + b"\x01")


@attack
def receipt_for_another_size() -> Attempt:
    return _receipt(size=head_of(city().bundle).size + 1)


@attack
def receipt_for_another_root() -> Attempt:
    return _receipt(root=bytes(32))


@attack
def receipt_by_another_key() -> Attempt:
    return _receipt(key=OLD_KEY)


@attack
def receipt_by_an_old_log_key() -> Attempt:
    return _receipt(key=OLD_KEY, vkey=build_vkey(ORIGIN, raw_public(OLD_KEY)))


@attack
def receipt_of_another_log() -> Attempt:
    return _receipt(origin=OTHER_ORIGIN)


@attack
def receipt_with_a_second_line() -> Attempt:
    note = parse_note(parse_bundle(city().bundle).anchor)
    stranger = build_vkey("stranger.example/log", raw_public(OLD_KEY))
    both = SignedNote(note.text, (*note.signatures, _line(note, OLD_KEY, stranger)))
    return Attempt(changed(city().bundle, anchor=format_note(both)))


@attack
def checkpoint_in_place_of_the_receipt() -> Attempt:
    return Attempt(changed(city().bundle, anchor=_parsed(city().bundle).checkpoint))


@attack
def receipt_although_the_city_has_no_chain() -> Attempt:
    return Attempt(city().bundle, trust=(city().trust_data(chain=None),))


@attack
def receipt_that_the_chain_denies() -> Attempt:
    return _online(eth_getTransactionReceipt={"status": "0x1", "logs": []})


@attack
def receipt_of_a_block_that_was_replaced() -> Attempt:
    return _online(eth_getBlockByNumber={"hash": "0x" + "00" * 32})


@attack
def node_of_another_chain() -> Attempt:
    return _online(eth_chainId=hex(CHAIN_ID + 1))


@attack
def chain_that_does_not_answer() -> Attempt:
    return _online(eth_getTransactionReceipt=None)


@attack
def checkpoint_stamped_by_another_authority() -> Attempt:
    return _stamped(city().stamp(by=city().party("tsa", city().twin.pki)))


@attack
def checkpoint_stamped_by_a_certificate_without_the_purpose() -> Attempt:
    return _stamped(city().stamp(by=city().certified(Profile(SIGNING), name="見本TSA", issuer="tsa-ca")))


@attack
def checkpoint_stamped_by_the_seal_authority() -> Attempt:
    return _stamped(city().stamp(by=city().certified(TIME_STAMP, name="見本TSA")))


@attack
def checkpoint_stamped_over_other_bytes() -> Attempt:
    return Attempt(changed(city().bundle, timestamp=city().stamp()(bytes(32))))


@attack
def checkpoint_stamped_in_the_future() -> Attempt:
    return _stamped(city().stamp(at=NOW + dt.timedelta(days=1)))


def _parsed(bundle: bytes) -> TlogProof:
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


def _own_tree(key: Ed25519PrivateKey, vkey: VerifierKey | None = None) -> bytes:
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
    proof = dataclasses.replace(_parsed(city().bundle), checkpoint=note)
    receipt = city().base.anchor_note(city().base.receipt(head)) if anchored else None
    stamp = city().stamp()(sha256(note))
    return changed(city().bundle, inclusion=format_tlog_proof(proof), anchor=receipt, timestamp=stamp)


def _line(note: SignedNote, key: Ed25519PrivateKey, vkey: VerifierKey) -> SignatureLine:
    return build_signature_line(vkey, key.sign(note.text.encode()))


def _lines(change: Callable[[SignedNote], list[SignatureLine]]) -> Attempt:
    note = parse_note(_parsed(city().bundle).checkpoint)
    data = format_note(SignedNote(note.text, tuple(change(note))))
    return Attempt(_around(data, head_of(city().bundle)))


def _witnessed(key: Ed25519PrivateKey, vkey: VerifierKey | None = None, *, anchored: bool = False) -> bytes:
    note = parse_note(_parsed(city().bundle).checkpoint)
    moment = int(NOW.timestamp())
    signature = moment.to_bytes(8, "big") + key.sign(cosigned_bytes(note.text, moment))
    line = build_signature_line(vkey or city().base.witness_vkey, signature)
    data = format_note(SignedNote(note.text, (*note.signatures, line)))
    return _around(data, head_of(city().bundle), anchored=anchored)


def _with_witness() -> bytes:
    return city().trust_data(witnesses=city().base.witness_policy)


def _proof(change: Callable[[TlogProof], TlogProof]) -> Attempt:
    return Attempt(changed(city().bundle, inclusion=format_tlog_proof(change(_parsed(city().bundle)))))


def _receipt(
    *, key: Ed25519PrivateKey | None = None, vkey: VerifierKey | None = None, **changes: Any
) -> Attempt:
    text = format_receipt_text(city().base.receipt(head_of(city().bundle), **changes))
    signature = (key or city().base.log_key).sign(text.encode())
    line = build_signature_line(vkey or city().base.log_vkey, signature)
    return Attempt(changed(city().bundle, anchor=format_note(SignedNote(text, (line,)))))


def _stamped(stamp: Callable[[bytes], bytes]) -> Attempt:
    return Attempt(changed(city().bundle, timestamp=stamp(sha256(_parsed(city().bundle).checkpoint))))


def _online(**calls: Any) -> Attempt:
    event = {"eth_getTransactionReceipt": city().base.transaction(head_of(city().bundle))} | calls
    return Attempt(city().bundle, policy=ONLINE, sources=city().base.online(**event))
