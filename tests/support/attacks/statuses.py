"""Attacks on the status list: signed by others, of another list, too old, and what an outage must not hide."""

from __future__ import annotations

import datetime as dt
import zlib
from typing import Any

from cryptography import x509

from app.sealing.certificates import SIGNING, Profile
from tests.support.attacks.case import Attempt, attack, control
from tests.support.mini_city import DAY, ISS, NOW, OTHER_ISS, Party, city
from tests.support.verifier_bundles import STATUS_INDEX, STATUS_URI, changed, head_of, new_key
from verifier import ONLINE
from verifier.formats.bundle import parse_bundle
from verifier.formats.encoding import (
    base64_encode,
    base64url_decode,
    base64url_encode,
    canonical_json,
    sha256,
)
from verifier.formats.jose import thumbprint

HOUR = dt.timedelta(hours=1)
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@control
def list_of_six_days_ago() -> Attempt:
    """Fresh enough."""
    return Attempt(city().bundle, at=NOW + 6 * DAY)


@control
def neighbours_revoked() -> Attempt:
    """Only the bit of this certificate counts."""
    return _with(city().base.status(revoked=[STATUS_INDEX - 1, STATUS_INDEX + 1, STATUS_INDEX + 7]))


@control
def list_by_a_second_certificate() -> Attempt:
    """The city's authority may certify a new status key at any time."""
    return _by(city().certified(Profile(SIGNING, san_uri=ISS + "/status")))


@control
def list_with_the_other_half_of_its_signature() -> Attempt:
    """ECDSA knows two values for one signature, (r, s) and (r, n - s): both are the city's, nothing rests on which."""
    signed, _, signature = city().base.status().rpartition(b".")
    raw = base64url_decode(signature.decode())
    other = raw[:32] + (P256_ORDER - int.from_bytes(raw[32:], "big")).to_bytes(32, "big")
    return _with(signed + b"." + base64url_encode(other).encode())


@attack
def revoked() -> Attempt:
    return _with(city().base.status(revoked=[STATUS_INDEX]))


@attack
def revoked_in_a_list_that_is_old() -> Attempt:
    return Attempt(_with(city().base.status(revoked=[STATUS_INDEX])).file, at=NOW + 30 * DAY)


@attack
def revoked_since_the_snapshot() -> Attempt:
    return _online(city().base.status(issued=NOW, revoked=[STATUS_INDEX]), at=NOW)


@attack
def list_by_a_stranger_with_the_citys_certificates() -> Attempt:
    return _by(Party(new_key(), city().party("status-list-1").chain))


@attack
def list_of_another_city_with_the_same_names() -> Attempt:
    return _by(city().party("status-list-1", city().twin.pki))


@attack
def list_of_a_neighbour_city_under_the_same_authority() -> Attempt:
    return _by(city().certified(Profile(SIGNING, san_uri=OTHER_ISS + "/status")))


@attack
def list_by_the_credential_key() -> Attempt:
    return _by(city().party("credential-1"))


@attack
def list_by_the_page_seal_key() -> Attempt:
    return _by(city().party("page-seal-1"))


@attack
def list_made_before_its_certificate() -> Attempt:
    return _with(city().base.status(issued=NOW - 2 * HOUR))


@attack
def list_at_another_address() -> Attempt:
    return _with(city().base.status(uri=STATUS_URI.replace("/1", "/2")))


@attack
def list_that_is_not_on_the_trust_list() -> Attempt:
    page = city().page(city().hanako)
    elsewhere = STATUS_URI.replace("/status/1", "/status/9")
    credential = city().credential(city().hanako, page=page, status_uri=elsewhere)
    return Attempt(city().issue(credential=credential, status=city().base.status(uri=elsewhere)))


@attack
def list_too_short() -> Attempt:
    page = city().page(city().hanako)
    return Attempt(city().issue(credential=city().credential(city().hanako, page=page, status_index=2048)))


@attack
def list_of_eight_days_ago() -> Attempt:
    return Attempt(city().bundle, at=NOW + 8 * DAY)


@attack
def list_that_has_ended() -> Attempt:
    issued, ended = (int((NOW - HOUR * part).timestamp()) for part in (0.8, 0.5))
    return _with(_token(_payload(iat=issued, exp=ended)))


@attack
def list_from_the_future() -> Attempt:
    return _with(city().base.status(issued=NOW + DAY))


@attack
def list_rolled_back_by_its_server() -> Attempt:
    return _online(city().base.status(issued=NOW - HOUR / 2))


@attack
def list_server_with_a_list_of_a_stranger() -> Attempt:
    genuine = city().party("status-list-1")
    return _online(_token(_payload(revoked=True), Party(new_key(), genuine.chain)))


@attack
def list_server_that_is_away() -> Attempt:
    sources = city().base.online(
        status=b" ", eth_getTransactionReceipt=city().base.transaction(head_of(city().bundle))
    )
    return Attempt(city().bundle, policy=ONLINE, sources=sources)


@attack
def list_bomb() -> Attempt:
    """64 MiB of zeros in a token of some kilobytes, properly signed."""
    payload = _payload()
    payload["status_list"]["lst"] = base64url_encode(zlib.compress(bytes(64 << 20), 9))
    return _with(_token(payload))


@attack
def list_with_something_after_its_bits() -> Attempt:
    payload = _payload()
    payload["status_list"]["lst"] = base64url_encode(zlib.compress(bytes(256)) + b"more")
    return _with(_token(payload))


@attack
def list_with_alg_none() -> Attempt:
    header, payload, _ = city().base.status().split(b".")
    header = base64url_encode(canonical_json({"alg": "none", "typ": "statuslist+jwt"})).encode()
    return _with(header + b"." + payload + b".")


@attack
def list_with_a_line_end_after_it() -> Attempt:
    """The same token, another file: nothing in a bundle may be ignored."""
    return Attempt(changed(city().bundle, status=lambda data: data + b"\n"))


@attack
def list_replaced_by_the_credential() -> Attempt:
    return _with(parse_bundle(city().bundle).credential.split(b"~")[0])


def _with(status: bytes) -> Attempt:
    return Attempt(changed(city().bundle, status=status))


def _by(party: Party) -> Attempt:
    return _with(_token(_payload(), party))


def _payload(*, revoked: bool = False, **changes: Any) -> dict[str, Any]:
    raw = bytearray(256)
    if revoked:
        raw[STATUS_INDEX // 8] |= 1 << STATUS_INDEX % 8
    issued = int(NOW.timestamp())
    entries = {"bits": 1, "lst": base64url_encode(zlib.compress(bytes(raw)))}
    return {
        "sub": STATUS_URI,
        "iat": issued,
        "exp": issued + 86400,
        "ttl": 60,
        "status_list": entries,
    } | changes


def _token(payload: dict[str, Any], party: Party | None = None) -> bytes:
    party = party or city().party("status-list-1")
    key = x509.load_der_x509_certificate(party.chain[0]).public_key()
    header = {
        "alg": "ES256",
        "kid": thumbprint(key),
        "typ": "statuslist+jwt",
        "x5c": [base64_encode(item) for item in party.chain],
    }
    text = f"{base64url_encode(canonical_json(header))}.{base64url_encode(canonical_json(payload))}"
    return f"{text}.{base64url_encode(party.sign(sha256(text.encode())))}".encode()


def _online(status: bytes, *, at: dt.datetime = NOW) -> Attempt:
    event = city().base.transaction(head_of(city().bundle))
    sources = city().base.online(status=status, eth_getTransactionReceipt=event)
    return Attempt(city().bundle, policy=ONLINE, sources=sources, at=at)
