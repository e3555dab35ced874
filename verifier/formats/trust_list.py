"""The trust list: what a verifier or phone trusts of one city, as TUF root metadata with one extra field.

Source: TUF specification 1.0.x section 4.3 (root.json): keys, roles, version, expiry and threshold are
TUF's, so that any TUF client can read and verify the file. All four roles have the same Ed25519 keys and
threshold; there is no other metadata. The signed field "x-akashi" says what is trusted:

    {"v":1,"city":"992011","name":"見本市","public_url":…,"iss":…,"vct":[…],"seal_cas":[b64 DER…],
     "credential_cas":[…],"credential_keys":[jwk…],"tsa_cas":[…],"log":{"origin":…,"vkey":…},"witnesses":policy
     text, "chain":{"chain_id":…,"contract":"0x…","rpc":[…]}?,"envelope_key":jwk,"statement_key":jwk,
     "status_lists":[uri…],"max_status_age":seconds,"mock":true|false,"compromised":[…]?,"former_logs":[…]?}

The last two members (`verifier.formats.compromise`) are absent when there is nothing to say. A reader that was made
before them refuses a list that has them, as it should. Signatures are over the OLPC canonical form of `signed`, as
TUF does. This module checks form only; who signed, which version may follow which, and when a list has expired are
questions of `verifier.trust`.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec

from verifier.errors import FormatError
from verifier.formats.compromise import (
    CompromisedKey,
    FormerLog,
    find_former_log,
    format_compromised,
    format_former_logs,
    parse_compromised,
    parse_former_logs,
)
from verifier.formats.encoding import JSON, base64_decode, base64_encode, hex_decode, parse_json, sha256
from verifier.formats.jose import format_jwk, parse_jwk
from verifier.formats.signed_note import VerifierKey, format_vkey, parse_vkey
from verifier.formats.submission_request import format_instant, parse_instant
from verifier.formats.witness_policy import WitnessPolicy, parse_witness_policy

MAX_TRUST_LIST_BYTES: Final = 256 << 10
MAX_KEYS: Final = 16
MAX_LIST: Final = 16
SPEC_VERSION: Final = "1.0.31"
EXTRA_FIELD: Final = "x-akashi"
ROLES: Final = ("root", "snapshot", "targets", "timestamp")

_SIGNED: Final = {"_type", "spec_version", "version", "expires", "keys", "roles", "consistent_snapshot"}
_CONTENT: Final = frozenset(
    {
        *("v", "city", "name", "public_url", "iss", "vct", "seal_cas", "credential_cas", "tsa_cas"),
        *(
            "credential_keys",
            "log",
            "witnesses",
            "envelope_key",
            "statement_key",
            "status_lists",
            "max_status_age",
            "mock",
        ),
    }
)
_LIST_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,8}", re.ASCII)
# A directory of lists: the host and at least one plain segment, nothing that could be read as another path.
_LIST_DIRECTORY: Final = re.compile(
    r"https?://[A-Za-z0-9.:\[\]-]+(?:/(?!\.{1,2}/)[A-Za-z0-9._~-]+)+/", re.ASCII
)
_OPTIONAL: Final = frozenset({"chain", "compromised", "former_logs"})


@dataclass(frozen=True, slots=True)
class ChainTrust:
    """Chain id, contract address (20 bytes), addresses of nodes that may be asked."""

    chain_id: int
    contract: bytes
    rpc: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TrustContent:
    """What "x-akashi" says.

    Certificates are DER, `max_status_age` is in seconds, `chain` None = no anchoring. `credential_keys` are
    the keys that signed codes on printed pages, which carry no certificate (may be empty). `status_lists`: the
    address of a list, or with "/" at its end the one right below which lists lie by number. `compromised`: keys
    whose later work is not valid; `former_logs`: log keys of before, oldest first.
    """

    city: str
    name: str
    public_url: str
    iss: str
    vct: tuple[str, ...]
    seal_cas: tuple[bytes, ...]
    credential_cas: tuple[bytes, ...]
    tsa_cas: tuple[bytes, ...]
    credential_keys: tuple[ec.EllipticCurvePublicKey, ...]
    log: VerifierKey
    envelope_key: ec.EllipticCurvePublicKey
    statement_key: ec.EllipticCurvePublicKey
    status_lists: tuple[str, ...]
    max_status_age: int
    mock: bool
    chain: ChainTrust | None = None
    witnesses: str = ""
    compromised: tuple[CompromisedKey, ...] = ()
    former_logs: tuple[FormerLog, ...] = ()

    def log_of(self, note: bytes) -> tuple[VerifierKey, FormerLog | None]:
        """The log key by which a note has to be signed, and what the list says of it if it is a former one.

        Only the name on the first line is read: the caller verifies the note with that key.
        Raises: LimitError, FormatError.
        """
        former = find_former_log(note, self.former_logs)
        return (self.log, None) if former is None else (former.log, former)

    def names_status_list(self, uri: str) -> bool:
        """Whether `uri` is one of `status_lists`, or a list number right below an entry that ends with "/"."""
        if uri in self.status_lists and not uri.endswith("/"):
            return True
        below, _, number = uri.rpartition("/")
        return _LIST_NUMBER.fullmatch(number) is not None and f"{below}/" in self.status_lists

    @property
    def witness_policy(self) -> WitnessPolicy:
        """The policy text taken apart (its form was checked when the list was read)."""
        return parse_witness_policy(self.witnesses)


@dataclass(frozen=True, slots=True)
class TrustDocument:
    """A trust list file taken apart, nothing verified.

    keys         key id (hex) → raw Ed25519 key, 32 bytes
    threshold    how many of them must have signed
    signatures   key id → signature; signatures by keys of another version are among them after a change of
    keys signed       the bytes that were signed (OLPC canonical form)
    """

    version: int
    expires: dt.datetime
    keys: Mapping[str, bytes]
    threshold: int
    content: TrustContent
    signatures: Mapping[str, bytes]
    signed: bytes


def canonical_olpc(value: JSON) -> bytes:
    """The canonical JSON of TUF (OLPC): like RFC 8785, but only \\ and \" are escaped.

    Raises: FormatError.
    """
    try:
        return _olpc(value).encode("utf-8")
    except UnicodeEncodeError as error:
        raise FormatError("not-canonical-data", "text that is not valid Unicode") from error


def tuf_key(public: bytes) -> tuple[str, dict[str, JSON]]:
    """(key id, TUF key object) of a raw Ed25519 public key."""
    key: dict[str, JSON] = {"keytype": "ed25519", "keyval": {"public": public.hex()}, "scheme": "ed25519"}
    return sha256(canonical_olpc(key)).hex(), key


def format_signed(
    content: TrustContent, *, version: int, expires: dt.datetime, keys: tuple[bytes, ...], threshold: int
) -> dict[str, JSON]:
    """The `signed` object of a trust list. Raises: FormatError("bad-trust-list")."""
    table = dict(tuf_key(public) for public in keys)
    role = {"keyids": sorted(table), "threshold": threshold}
    signed = {
        "_type": "root",
        "spec_version": SPEC_VERSION,
        "version": version,
        "expires": format_instant(expires),
        "consistent_snapshot": True,
        "keys": table,
        "roles": {name: dict(role) for name in ROLES},
        EXTRA_FIELD: format_content(content),
    }
    _signed(signed)
    return signed


def parse_trust_list(data: bytes) -> TrustDocument:
    """Take a trust list apart. Raises: LimitError, FormatError."""
    value = parse_json(data, max_bytes=MAX_TRUST_LIST_BYTES)
    if not isinstance(value, dict) or set(value) != {"signatures", "signed"}:
        raise FormatError("bad-trust-list", "a trust list has exactly signatures and signed")
    signed, entries = value["signed"], value["signatures"]
    if not isinstance(signed, dict) or not isinstance(entries, list) or len(entries) > 2 * MAX_KEYS:
        raise FormatError("bad-trust-list", "wrong types")
    signatures: dict[str, bytes] = {}
    for entry in entries:
        if not isinstance(entry, dict) or set(entry) != {"keyid", "sig"}:
            raise FormatError("bad-trust-list", "a signature has exactly keyid and sig")
        keyid, signature = _text(entry["keyid"]), hex_decode(_text(entry["sig"]), 64)
        hex_decode(keyid, 32)
        if keyid in signatures:
            raise FormatError("bad-trust-list", "two signatures by one key")
        signatures[keyid] = signature
    version, expires, keys, threshold, content = _signed(signed)
    return TrustDocument(version, expires, keys, threshold, content, signatures, canonical_olpc(signed))


def format_content(content: TrustContent) -> dict[str, JSON]:
    """The "x-akashi" object."""
    value: dict[str, JSON] = {
        "v": 1,
        "city": content.city,
        "name": content.name,
        "public_url": content.public_url,
        "iss": content.iss,
        "vct": list(content.vct),
        "seal_cas": [base64_encode(der) for der in content.seal_cas],
        "credential_cas": [base64_encode(der) for der in content.credential_cas],
        "tsa_cas": [base64_encode(der) for der in content.tsa_cas],
        "credential_keys": [format_jwk(key) for key in content.credential_keys],
        "log": {"origin": content.log.name, "vkey": format_vkey(content.log)},
        "witnesses": content.witnesses,
        "envelope_key": format_jwk(content.envelope_key),
        "statement_key": format_jwk(content.statement_key),
        "status_lists": list(content.status_lists),
        "max_status_age": content.max_status_age,
        "mock": content.mock,
    }
    if content.chain is not None:
        value["chain"] = {
            "chain_id": content.chain.chain_id,
            "contract": "0x" + content.chain.contract.hex(),
            "rpc": list(content.chain.rpc),
        }
    if content.compromised:
        value["compromised"] = format_compromised(content.compromised)
    if content.former_logs:
        value["former_logs"] = format_former_logs(content.former_logs)
    return value


def parse_content(value: JSON) -> TrustContent:
    """Inverse of `format_content`. Raises: FormatError."""
    if not isinstance(value, dict) or not _CONTENT <= set(value) <= _CONTENT | _OPTIONAL:
        raise FormatError("bad-trust-content", "wrong members")
    if value["v"] != 1 or not isinstance(value["mock"], bool) or value["v"] is True:
        raise FormatError("bad-trust-content", "unknown version, or mock is not true or false")
    city, log = _text(value["city"]), value["log"]
    if len(city) != 6 or not city.isascii() or not city.isdigit():
        raise FormatError("bad-trust-content", "city is a six-digit code")
    if not isinstance(log, dict) or set(log) != {"origin", "vkey"}:
        raise FormatError("bad-trust-content", "log has exactly origin and vkey")
    key = parse_vkey(_text(log["vkey"]))
    if key.name != log["origin"]:
        raise FormatError("bad-trust-content", "the log key has another name than the log")
    if not isinstance(value["witnesses"], str):
        raise FormatError("bad-trust-content", "witnesses is policy text")
    parse_witness_policy(value["witnesses"])
    former = parse_former_logs(value["former_logs"], key) if "former_logs" in value else ()
    origins = [key.name, *(entry.log.name for entry in former)]
    compromised = parse_compromised(value["compromised"], origins) if "compromised" in value else ()
    return TrustContent(
        city=city,
        name=_text(value["name"]),
        public_url=_address(value["public_url"]),
        iss=_address(value["iss"]),
        vct=_addresses(value["vct"]),
        seal_cas=_certificates(value["seal_cas"]),
        credential_cas=_certificates(value["credential_cas"]),
        tsa_cas=_certificates(value["tsa_cas"]),
        credential_keys=_keys(value["credential_keys"]),
        log=key,
        envelope_key=parse_jwk(value["envelope_key"]),
        statement_key=parse_jwk(value["statement_key"]),
        status_lists=_status_addresses(value["status_lists"]),
        max_status_age=_number(value["max_status_age"]),
        mock=value["mock"],
        chain=_chain(value["chain"]) if "chain" in value else None,
        witnesses=value["witnesses"],
        compromised=compromised,
        former_logs=former,
    )


def _signed(signed: dict[str, Any]) -> tuple[int, dt.datetime, dict[str, bytes], int, TrustContent]:
    if set(signed) != _SIGNED | {EXTRA_FIELD} or signed["_type"] != "root":
        raise FormatError("bad-trust-list", "not TUF root metadata with x-akashi")
    if not _text(signed["spec_version"]).startswith("1.") or signed["consistent_snapshot"] is not True:
        raise FormatError("bad-trust-list", "unknown TUF version")
    version = _number(signed["version"])
    table, roles = signed["keys"], signed["roles"]
    if version < 1 or not isinstance(table, dict) or not 1 <= len(table) <= MAX_KEYS:
        raise FormatError("bad-trust-list", "wrong version or number of keys")
    keys: dict[str, bytes] = {}
    for keyid, key in table.items():
        public = key.get("keyval", {}).get("public") if _is_object(key, "keyval") else None
        raw = hex_decode(_text(public), 32)
        if tuf_key(raw) != (keyid, key):
            raise FormatError("bad-trust-list", "a key that is not Ed25519 or has a false id")
        keys[keyid] = raw
    if not isinstance(roles, dict) or set(roles) != set(ROLES):
        raise FormatError("bad-trust-list", "the roles are root, timestamp, snapshot and targets")
    role = roles["root"]
    if any(roles[name] != role for name in ROLES) or not isinstance(role, dict):
        raise FormatError("bad-trust-list", "all roles have the same keys and threshold")
    if set(role) != {"keyids", "threshold"} or role["keyids"] != sorted(keys):
        raise FormatError("bad-trust-list", "a role names all keys")
    threshold = _number(role["threshold"])
    if not 1 <= threshold <= len(keys):
        raise FormatError("bad-trust-list", "a threshold between 1 and the number of keys")
    expires = parse_instant(_text(signed["expires"]))
    return version, expires, keys, threshold, parse_content(signed[EXTRA_FIELD])


def _olpc(value: JSON) -> str:
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list):
        return "[" + ",".join(_olpc(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{_olpc(name)}:{_olpc(value[name])}" for name in sorted(value)) + "}"
    raise FormatError("not-canonical-data", f"{type(value).__name__} has no canonical form")


def _is_object(value: JSON, name: str) -> bool:
    return isinstance(value, dict) and isinstance(value.get(name), dict)


def _text(value: JSON) -> str:
    if not isinstance(value, str) or not value or len(value) > 2000:
        raise FormatError("bad-trust-list", "text expected")
    return value


def _number(value: JSON) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise FormatError("bad-trust-list", "a number expected")
    return value


def _address(value: JSON) -> str:
    text = _text(value)
    if not text.startswith(("https://", "http://")) or not text.isascii() or not text.isprintable():
        raise FormatError("bad-trust-list", "an http(s) address expected")
    return text


def _addresses(value: JSON) -> tuple[str, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_LIST:
        raise FormatError("bad-trust-list", f"1 to {MAX_LIST} addresses expected")
    return tuple(_address(item) for item in value)


def _status_addresses(value: JSON) -> tuple[str, ...]:
    addresses = _addresses(value)
    for address in addresses:
        if address.endswith("/") and _LIST_DIRECTORY.fullmatch(address) is None:
            raise FormatError("bad-trust-list", "lists lie below a host and a plain path")
    return addresses


def _certificates(value: JSON) -> tuple[bytes, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_LIST:
        raise FormatError("bad-trust-list", f"1 to {MAX_LIST} certificates expected")
    return tuple(base64_decode(_text(item)) for item in value)


def _keys(value: JSON) -> tuple[ec.EllipticCurvePublicKey, ...]:
    if not isinstance(value, list) or len(value) > MAX_LIST:
        raise FormatError("bad-trust-list", f"at most {MAX_LIST} keys expected")
    return tuple(parse_jwk(item) for item in value)


def _chain(value: JSON) -> ChainTrust:
    if not isinstance(value, dict) or set(value) != {"chain_id", "contract", "rpc"}:
        raise FormatError("bad-trust-list", "chain has exactly chain_id, contract and rpc")
    contract = _text(value["contract"])
    if not contract.startswith("0x"):
        raise FormatError("bad-trust-list", "the contract is a 0x address")
    return ChainTrust(_number(value["chain_id"]), hex_decode(contract[2:], 20), _addresses(value["rpc"]))
