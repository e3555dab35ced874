"""Attacks on what the desk trusts: its lists, the statements about recipients, and the code on a printed page."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.support.attacks.case import PAGE_CODE, STATEMENT, TRUST_ADD, TRUST_UPDATE, Attempt, attack, control
from tests.support.mini_city import DAY, NOW, city
from tests.support.verifier_bundles import DATA, ORIGIN, new_key, raw_public, with_data
from verifier.formats.compromise import CompromisedKey, FormerLog
from verifier.formats.encoding import sha256
from verifier.formats.page_qr import page_key_id
from verifier.formats.signed_note import build_vkey
from verifier.trust import build_trust_list, load_trust_list, sign_trust_list


@control
def next_trust_list() -> Attempt:
    """Version 2, two of three signatures."""
    return _update(_list())


@control
def next_trust_list_with_new_keys() -> Attempt:
    """A change of keys is signed by the threshold of both."""
    return _update(_list(keys=_others(), signers=(*_ours(), *_others())))


@control
def first_trust_list() -> Attempt:
    """First contact, with the fingerprint of the letter."""
    return Attempt(city().trust_list, door=TRUST_ADD, fingerprint=city().trust.fingerprint)


@control
def statement() -> Attempt:
    """The city's statement about the desk."""
    return Attempt(city().statement(), door=STATEMENT)


@control
def page_code() -> Attempt:
    """Good, and nothing more than undetermined."""
    return _code(city().page_code())


@attack
def trust_list_signed_by_too_few() -> Attempt:
    return _update(_list(signers=_ours()[:1]))


@attack
def trust_list_signed_by_strangers() -> Attempt:
    return _update(_list(signers=_others()))


@attack
def trust_list_with_new_keys_signed_by_the_old_alone() -> Attempt:
    return _update(_list(keys=_others(), signers=_ours()))


@attack
def trust_list_with_new_keys_signed_by_the_new_alone() -> Attempt:
    return _update(_list(keys=_others(), signers=_others()))


@attack
def trust_list_after_a_change_signed_by_the_old_keys() -> Attempt:
    """The keys were changed in version 2; whoever kept the old ones makes a version 3."""
    second = _list(keys=_others(), signers=(*_ours(), *_others()))
    return Attempt(_list(version=3, signers=_ours()), door=TRUST_UPDATE, trust=(second,))


@attack
def trust_list_with_a_lower_threshold_signed_by_one() -> Attempt:
    return _update(_list(threshold=1, signers=_ours()[:1]))


@attack
def trust_list_rolled_back() -> Attempt:
    return Attempt(city().trust_list, door=TRUST_UPDATE, trust=(_list(),))


@attack
def trust_list_with_a_version_left_out() -> Attempt:
    return _update(_list(version=3))


@attack
def trust_list_with_the_same_version_and_other_content() -> Attempt:
    return _update(_list(version=1, max_status_age=86400 * 365))


@attack
def trust_list_of_another_city() -> Attempt:
    return _update(_list(city="992020"))


@attack
def trust_list_real_after_mock() -> Attempt:
    return _update(_list(mock=False))


@attack
def trust_list_with_one_signature_twice() -> Attempt:
    value = json.loads(_list(signers=_ours()[:1]))
    value["signatures"] *= 2
    return _update(json.dumps(value).encode())


@attack
def trust_list_with_an_edited_address() -> Attempt:
    return _update(_list().replace(b"https://door.mihon.example/992011/status/1", b"https://evil.example/1"))


@attack
def trust_list_with_a_log_key_of_another_name() -> Attempt:
    return _update(_list().replace(b'"origin": "door.mihon.example', b'"origin": "door.other.example'))


@control
def next_trust_list_with_a_stolen_key() -> Attempt:
    """A list may say which key was stolen, and which log has ended."""
    return _update(_list(compromised=(_stolen(),), former_logs=(_former(),)))


@attack
def trust_list_with_a_later_theft_written_in() -> Attempt:
    """Raises the entry from which a stolen key counts as stolen."""
    return _update(_list(compromised=(_stolen(),)).replace(b'"from_index": 7', b'"from_index": 9'))


@attack
def trust_list_without_the_stolen_key_signed_by_one() -> Attempt:
    known = _list(compromised=(_stolen(),))
    return Attempt(_list(version=3, signers=_ours()[:1]), door=TRUST_UPDATE, trust=(known,))


@attack
def trust_list_with_a_stolen_key_of_a_log_it_does_not_name() -> Attempt:
    value = json.loads(_list(compromised=(_stolen(),)))
    value["signed"]["x-akashi"]["compromised"][0]["log"] = "door.mihon.example/992011/log/9"
    return _update(json.dumps(value).encode())


@attack
def trust_list_with_one_stolen_key_twice() -> Attempt:
    value = json.loads(_list(compromised=(_stolen(),)))
    again = {**value["signed"]["x-akashi"]["compromised"][0], "from_index": 1 << 40}
    value["signed"]["x-akashi"]["compromised"].insert(0, again)
    return _update(json.dumps(value).encode())


@attack
def trust_list_with_the_present_log_key_as_a_former_one() -> Attempt:
    value = json.loads(_list(former_logs=(_former(),)))
    content = value["signed"]["x-akashi"]
    content["former_logs"][0]["vkey"] = content["log"]["vkey"]
    return _update(json.dumps(value).encode())


@attack
def first_trust_list_of_a_stranger() -> Attempt:
    """The same city in every word, under the stranger's keys; the letter has another fingerprint."""
    data = _list(version=1, keys=_others(), signers=_others())
    return Attempt(data, door=TRUST_ADD, fingerprint=city().trust.fingerprint)


@attack
def bundle_under_an_expired_trust_list() -> Attempt:
    return Attempt(city().bundle, trust=(city().trust_data(expires=NOW),))


@attack
def bundle_of_a_city_without_a_trust_list() -> Attempt:
    other = city().trust_data(city="992020", iss="https://door.mihon.example/992020", name="隣市")
    return Attempt(city().bundle, trust=(other,))


@attack
def bundle_under_mock_and_real_lists_together() -> Attempt:
    real = city().trust_data(city="992020", iss="https://door.mihon.example/992020", mock=False)
    return Attempt(city().bundle, trust=(city().trust_list, real))


@attack
def bundle_under_the_trust_list_of_its_twin() -> Attempt:
    """The same names, another clone."""
    return Attempt(city().bundle, trust=(city().twin.trust_data(),))


@attack
def statement_of_another_city() -> Attempt:
    return Attempt(city().statement(key=new_key()), door=STATEMENT)


@attack
def statement_by_the_credential_key() -> Attempt:
    return Attempt(city().statement(key=city().party("credential-1").key), door=STATEMENT)


@attack
def statement_that_names_another_city() -> Attempt:
    return Attempt(city().statement(city="992020"), door=STATEMENT)


@attack
def statement_that_has_ended() -> Attempt:
    return Attempt(city().statement(now=NOW - 400 * DAY), door=STATEMENT)


@attack
def statement_from_the_future() -> Attempt:
    return Attempt(city().statement(now=NOW + DAY), door=STATEMENT)


@attack
def page_code_by_another_key() -> Attempt:
    return _code(city().page_code(key=new_key()))


@attack
def page_code_by_the_page_seal_key() -> Attempt:
    return _code(city().page_code(key=city().party("page-seal-1").key))


@attack
def page_code_of_a_key_nobody_knows() -> Attempt:
    key = new_key()
    return _code(city().page_code(key=key, key_id=page_key_id(key.public_key())))


@attack
def page_code_with_other_figures() -> Attempt:
    genuine = city().page_code()
    other = city().page_code(data=with_data(income={**DATA["income"], "total": 9_900_000}), key=new_key())
    return _code(other[:-86] + genuine[-86:])


@attack
def page_code_of_a_city_without_a_trust_list() -> Attempt:
    authority = {**DATA["issuing_authority"], "code": "992020"}
    return _code(city().page_code(data=with_data(issuing_authority=authority)))


@attack
def page_code_after_the_last_day() -> Attempt:
    return _code(city().page_code(), at=dt.datetime(2027, 2, 20, 15, tzinfo=dt.UTC))


@attack
def page_code_at_another_host() -> Attempt:
    return _code(city().page_code().replace("door.mihon.example", "door.evil.example"))


def _ours() -> tuple[Ed25519PrivateKey, ...]:
    return city().base.signers


def _others() -> tuple[Ed25519PrivateKey, ...]:
    return city().twin.signers


def _list(
    *,
    version: int = 2,
    keys: Sequence[Ed25519PrivateKey] | None = None,
    signers: Sequence[Ed25519PrivateKey] | None = None,
    threshold: int = 2,
    **changes: Any,
) -> bytes:
    content = load_trust_list(city().trust_data(**changes)).content
    raw = [raw_public(key) for key in keys or _ours()]
    expires = NOW + 365 * DAY
    data = build_trust_list(content, version=version, expires=expires, keys=raw, threshold=threshold)
    for key in _ours()[:2] if signers is None else signers:
        data = sign_trust_list(data, key)
    return data


def _stolen() -> CompromisedKey:
    return CompromisedKey(sha256(b"a stolen key (MOCK)"), ORIGIN, 7, NOW - DAY, "盗難（模擬） / theft (MOCK)")


def _former() -> FormerLog:
    key = build_vkey("door.mihon.example/992011/log/0", bytes(31) + b"\x01")
    return FormerLog(key, 7, sha256(b"its last root"), False, NOW - DAY, "終了（模擬） / ended (MOCK)")


def _update(data: bytes) -> Attempt:
    return Attempt(data, door=TRUST_UPDATE)


def _code(text: str, **changes: Any) -> Attempt:
    return Attempt(text.encode(), door=PAGE_CODE, **changes)
