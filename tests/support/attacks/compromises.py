"""Attacks with keys that were stolen: of the page seal, the credential, the time-stamps, an authority, the log.

What the trust list says of a key stands beside a genuine bundle that was logged before: it stays valid. The thief has a
real key of the city with its real certificates; what he lacks is an old place in the log, or, with the log's key, somebody
else who vouches for his checkpoint.
"""

from __future__ import annotations

import dataclasses

from cryptography.hazmat.primitives.serialization import Encoding

from app.sealing.certificates import PAGE_SEAL, build_certificate, build_name
from tests.support.attacks.case import PAGE_CODE, Attempt, attack, control
from tests.support.attacks.logs import own_tree, tlog_proof, witnessed
from tests.support.mini_city import CITY_NUMBER, DAY, NOW, Party, city
from tests.support.verifier_bundles import DATA, ORIGIN, head_of, with_data
from verifier.formats.checkpoint import Checkpoint
from verifier.formats.compromise import CompromisedKey, FormerLog, key_digest
from verifier.formats.encoding import sha256
from verifier.formats.signed_note import VerifierKey, build_vkey

LAST_LOG = "door.mihon.example/992011/log/0"
NEXT_LOG = "door.mihon.example/992011/log/2"
KEYS = ("page-seal-1", "credential-1", "tsa")


@control
def logged_before_the_keys_were_stolen() -> Attempt:
    """Seal, time-stamp and credential by keys that were stolen one entry later."""
    bundle = city().bundle
    return Attempt(bundle, trust=(_list(*(stolen(name, _index(bundle) + 1) for name in KEYS)),))


@control
def presentation_logged_before_the_key_was_stolen() -> Attempt:
    """A presentation has the place of its own leaf."""
    shown = _presentation()
    return Attempt(shown, trust=(_list(stolen("credential-1", _index(shown) + 1)),))


@control
def logged_after_by_another_key() -> Attempt:
    """The city's new key works while the old one is on the list."""
    bundle = city().issue(page=city().seal(city().hanako.certificate, by=_recertified()))
    return Attempt(bundle, trust=(_list(stolen("page-seal-1", 0)),))


@control
def former_log_in_the_state_that_the_list_names() -> Attempt:
    """The log's key was stolen; the signers of the trust list vouch for this very state."""
    return Attempt(city().bundle, trust=(_list(former=(_former(head_of(city().bundle)),)),))


@control
def former_log_with_witnesses() -> Attempt:
    """The log's key was stolen; a quorum of witnesses has seen this state."""
    last = dataclasses.replace(head_of(city().bundle), size=1 << 20, root=sha256(b"later"))
    bundle = witnessed(city().base.witness_key)
    return Attempt(bundle, trust=(_list(former=(_former(last),), witnesses=city().base.witness_policy),))


@control
def ended_log_before_its_end() -> Attempt:
    """A log that ended in peace is believed as far as it had come."""
    last = dataclasses.replace(head_of(city().bundle), size=1 << 20, root=sha256(b"later"))
    return Attempt(city().bundle, trust=(_list(former=(_former(last, compromised=False),)),))


@attack
def seal_by_a_stolen_key() -> Attempt:
    bundle = city().bundle
    return Attempt(bundle, trust=(_list(stolen("page-seal-1", _index(bundle))),))


@attack
def seal_by_a_stolen_key_with_a_new_certificate() -> Attempt:
    party = _recertified(city().party("page-seal-1"))
    bundle = city().issue(page=city().seal(city().hanako.certificate, by=party))
    return Attempt(bundle, trust=(_list(stolen("page-seal-1", _index(bundle))),))


@attack
def seal_under_a_stolen_authority() -> Attempt:
    bundle = city().issue(page=city().seal(city().hanako.certificate, by=city().certified()))
    return Attempt(bundle, trust=(_list(stolen("issuing", _index(bundle))),))


@attack
def seal_under_a_stolen_root() -> Attempt:
    return Attempt(city().bundle, trust=(_list(stolen("root", _index(city().bundle))),))


@attack
def credential_by_a_stolen_key() -> Attempt:
    bundle = city().bundle
    return Attempt(bundle, trust=(_list(stolen("credential-1", _index(bundle))),))


@attack
def copy_without_page_by_a_stolen_key() -> Attempt:
    bundle = city().issue(with_page=False)
    return Attempt(bundle, trust=(_list(stolen("credential-1", _index(bundle))),))


@attack
def presentation_by_a_stolen_key() -> Attempt:
    shown = _presentation()
    return Attempt(shown, trust=(_list(stolen("credential-1", _index(shown))),))


@attack
def submission_by_a_stolen_key() -> Attempt:
    trust = _list(stolen("page-seal-1", _index(city().bundle)))
    return Attempt(city().package, trust=(trust,), request=city().request, key=city().base.desk)


@attack
def page_stamped_by_a_stolen_key() -> Attempt:
    return Attempt(city().bundle, trust=(_list(stolen("tsa", _index(city().bundle))),))


@attack
def stolen_key_in_the_place_of_an_older_entry() -> Attempt:
    """The thief has no place in the log and takes somebody else's."""
    other = with_data(income={**DATA["income"], "total": 9_900_000})
    documents = city().documents(city().hanako, data=other)
    bundle = city().finish(documents, city().evidence(city().hanako, other), tlog_proof(city().bundle))
    return Attempt(bundle, trust=(_list(stolen("page-seal-1", _index(city().bundle) + 1)),))


@attack
def stolen_key_dated_back() -> Attempt:
    """Signed, stamped and dated a day before the theft; the place in the log is what it is."""
    bundle = city().issue(page=city().seal(city().hanako.certificate, at=NOW))
    entry = dataclasses.replace(stolen("page-seal-1", _index(bundle)), since=NOW + DAY)
    return Attempt(bundle, trust=(_list(entry),))


@attack
def key_stolen_in_an_earlier_log() -> Attempt:
    entry = dataclasses.replace(stolen("page-seal-1", 1 << 20), log=LAST_LOG)
    last = Checkpoint(LAST_LOG, 1 << 21, sha256(b"the end of log 0"))
    former = _former(last, key=build_vkey(LAST_LOG, bytes(31) + b"\x01"))
    return Attempt(city().bundle, trust=(city().trust_data(compromised=(entry,), former_logs=(former,)),))


@attack
def bare_page_by_a_stolen_key() -> Attempt:
    return Attempt(city().page(city().hanako), trust=(_list(stolen("page-seal-1", 1 << 20)),))


@attack
def page_code_by_a_stolen_key() -> Attempt:
    trust = _list(stolen("credential-1", 1 << 20))
    return Attempt(city().page_code().encode(), door=PAGE_CODE, trust=(trust,))


@attack
def status_list_by_a_stolen_key() -> Attempt:
    return Attempt(city().bundle, trust=(_list(stolen("status-list-1", 1 << 20)),))


@attack
def stolen_log_key_in_a_tree_of_its_own() -> Attempt:
    """A place before the theft of the seal key, in a history that only the thief has seen; his receipt is signed too."""
    last = head_of(city().bundle)
    trust = _list(stolen("page-seal-1", last.size), former=(_former(last),))
    return Attempt(own_tree(city().base.log_key), trust=(trust,))


@attack
def stolen_log_key_in_another_tree_of_the_same_size() -> Attempt:
    last = Checkpoint(ORIGIN, 1, sha256(b"the first entry of the genuine log"))
    return Attempt(own_tree(city().base.log_key), trust=(_list(former=(_former(last),)),))


@attack
def stolen_log_key_and_a_witness_outside_the_quorum() -> Attempt:
    last = dataclasses.replace(head_of(city().bundle), size=1 << 20, root=sha256(b"later"))
    policy = city().base.witness_policy
    return Attempt(city().bundle, trust=(_list(former=(_former(last),), witnesses=policy),))


@attack
def ended_log_beyond_its_end() -> Attempt:
    last = Checkpoint(ORIGIN, 1, sha256(b"the end"))
    return Attempt(city().bundle, trust=(_list(former=(_former(last, compromised=False),)),))


def stolen(name: str, from_index: int) -> CompromisedKey:
    """What the trust list says of a key of the city's PKI."""
    key = city().party(name).key.public_key()
    return CompromisedKey(
        key_digest(key), ORIGIN, from_index, NOW - DAY, "鍵の盗難（模擬） / stolen key (MOCK)"
    )


def _list(*compromised: CompromisedKey, former: tuple[FormerLog, ...] = (), witnesses: str = "") -> bytes:
    values = {"compromised": compromised, "former_logs": former, "witnesses": witnesses}
    if former:
        values["log"] = build_vkey(NEXT_LOG, bytes(31) + b"\x02")
    return city().trust_data(**values)


def _former(last: Checkpoint, *, compromised: bool = True, key: VerifierKey | None = None) -> FormerLog:
    log = city().base.log_vkey if key is None else key
    return FormerLog(
        log, last.size, last.root, compromised, NOW - DAY, "台帳の鍵の交代（模擬） / log key (MOCK)"
    )


def _index(bundle: bytes) -> int:
    return tlog_proof(bundle).index


def _presentation() -> bytes:
    return city().base.present(city().bundle, [("income", "total")])


def _recertified(party: Party | None = None) -> Party:
    """A page-seal certificate of today, for a fresh key or for the one of `party`."""
    if party is None:
        return city().certified()
    certificate = build_certificate(
        subject=build_name("見本市 e-seal 2", "見本市", CITY_NUMBER),
        key=party.key.public_key(),
        profile=PAGE_SEAL,
        issuer=city().pki.issuer("issuing"),
        not_before=NOW - DAY,
        years=5,
        services_url="http://trust.mihon.example",
    )
    return Party(party.key, (certificate.public_bytes(Encoding.DER), city().pki.der("issuing")))
