"""Attacks on what makes the log's word stand outside the city: the receipt, the chain itself, the time-stamp."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from app.sealing.certificates import SIGNING, TIME_STAMP, Profile
from tests.support.attacks.case import Attempt, attack, control
from tests.support.attacks.logs import OLD_KEY, OTHER_ORIGIN, own_tree, signed_line, tlog_proof
from tests.support.mini_city import NOW, city
from tests.support.verifier_bundles import CHAIN_ID, ORIGIN, changed, head_of, raw_public
from verifier import ONLINE
from verifier.formats.bundle import parse_bundle
from verifier.formats.chain_anchor import format_receipt_text
from verifier.formats.encoding import sha256
from verifier.formats.signed_note import (
    SignedNote,
    VerifierKey,
    build_signature_line,
    build_vkey,
    format_note,
    parse_note,
)


@control
def asked_online() -> Attempt:
    """Node and list server confirm."""
    return _online()


@control
def bundle_without_the_checkpoints_time_stamp() -> Attempt:
    """Evidence beside the log's own: whoever leaves it out only shows less."""
    return Attempt(changed(city().bundle, timestamp=None))


@attack
def fork_signed_by_the_log_with_a_receipt_of_its_own() -> Attempt:
    """Whoever has the log key can sign both; the chain does not hold what the receipt says."""
    return dataclasses.replace(_online(), file=own_tree(city().base.log_key))


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
    both = SignedNote(note.text, (*note.signatures, signed_line(note, OLD_KEY, stranger)))
    return Attempt(changed(city().bundle, anchor=format_note(both)))


@attack
def checkpoint_in_place_of_the_receipt() -> Attempt:
    return Attempt(changed(city().bundle, anchor=tlog_proof(city().bundle).checkpoint))


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


def _receipt(
    *, key: Ed25519PrivateKey | None = None, vkey: VerifierKey | None = None, **changes: Any
) -> Attempt:
    text = format_receipt_text(city().base.receipt(head_of(city().bundle), **changes))
    signature = (key or city().base.log_key).sign(text.encode())
    line = build_signature_line(vkey or city().base.log_vkey, signature)
    return Attempt(changed(city().bundle, anchor=format_note(SignedNote(text, (line,)))))


def _stamped(stamp: Callable[[bytes], bytes]) -> Attempt:
    return Attempt(changed(city().bundle, timestamp=stamp(sha256(tlog_proof(city().bundle).checkpoint))))


def _online(**calls: Any) -> Attempt:
    event = {"eth_getTransactionReceipt": city().base.transaction(head_of(city().bundle))} | calls
    return Attempt(city().bundle, policy=ONLINE, sources=city().base.online(**event))
