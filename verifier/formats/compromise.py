"""Two optional members of the trust list: keys that somebody else may have, and the keys that the log had before.

    "compromised":[{"key":"9f3c…","log":"door.mihon.example/992011/log/1","from_index":109482,
                    "since":"2027-01-10T00:00:00Z","reason":"印鍵の持ち出し / seal key taken out"}]
    "former_logs":[{"vkey":"…","size":109482,"root":"…","compromised":true,"since":…,"reason":…}]

A key is named by the SHA-256 of its SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7, the pin of RFC 7469): one form
for keys with and without a certificate and for authorities, and a new certificate for a stolen key stays stolen.
`former_logs` stand in the order in which they ended; `size` and `root` (base64) are the last state of each that the
signers of the trust list vouch for. This module reads and writes; what follows for a certificate is decided in
`verifier.checks.compromise`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from verifier.errors import FormatError
from verifier.formats.checkpoint import Checkpoint
from verifier.formats.encoding import JSON, base64_decode, base64_encode, hex_decode, sha256
from verifier.formats.merkle import HASH_BYTES
from verifier.formats.signed_note import ED25519, VerifierKey, format_vkey, parse_note, parse_vkey
from verifier.formats.submission_request import format_instant, parse_instant

MAX_COMPROMISED: Final = 64
MAX_FORMER_LOGS: Final = 16
MAX_REASON_CHARS: Final = 200
MAX_ENTRIES: Final = (1 << 53) - 1
"""The largest number that every reader of JSON takes without loss."""
_KEY_MEMBERS: Final = {"key", "log", "from_index", "since", "reason"}
_LOG_MEMBERS: Final = {"vkey", "size", "root", "compromised", "since", "reason"}


@dataclass(frozen=True, slots=True)
class CompromisedKey:
    """What was logged with this key at `from_index` or later is not valid; what was logged earlier stays.

    key         SHA-256 of its SubjectPublicKeyInfo, 32 bytes
    log         origin of the log that counts the entries
    from_index  number of the first entry that is not valid (zero-based); 0 = nothing of this key is valid
    since       when it happened, for people (UTC); no verdict depends on it
    reason      for people
    """

    key: bytes
    log: str
    from_index: int
    since: dt.datetime
    reason: str


@dataclass(frozen=True, slots=True)
class FormerLog:
    """A key with which the log signed before, or a log that has ended.

    log          its name and key
    size, root   the last state that is certainly the city's (entries, 32 bytes)
    compromised  True: its signature alone says nothing any more
    since        when the change took place, for people (UTC)
    reason       for people
    """

    log: VerifierKey
    size: int
    root: bytes
    compromised: bool
    since: dt.datetime
    reason: str

    @property
    def last(self) -> Checkpoint:
        """The last state as a checkpoint."""
        return Checkpoint(self.log.name, self.size, self.root)


def key_digest(key: CertificatePublicKeyTypes) -> bytes:
    """SHA-256 of the DER SubjectPublicKeyInfo of a public key, 32 bytes."""
    return sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def format_compromised(keys: Sequence[CompromisedKey]) -> JSON:
    """The member "compromised"."""
    return [
        {
            "key": entry.key.hex(),
            "log": entry.log,
            "from_index": entry.from_index,
            "since": format_instant(entry.since),
            "reason": entry.reason,
        }
        for entry in keys
    ]


def parse_compromised(value: JSON, origins: Sequence[str]) -> tuple[CompromisedKey, ...]:
    """Inverse of `format_compromised`; `origins` are the logs that the trust list names. Raises: FormatError."""
    found = []
    for item in _objects(value, MAX_COMPROMISED, _KEY_MEMBERS):
        if item["log"] not in origins:
            raise FormatError("bad-compromise", "a log that the trust list does not name")
        found.append(
            CompromisedKey(
                key=hex_decode(_text(item["key"]), HASH_BYTES),
                log=str(item["log"]),
                from_index=_size(item["from_index"]),
                since=parse_instant(_text(item["since"])),
                reason=_text(item["reason"]),
            )
        )
    if len({entry.key for entry in found}) != len(found):
        raise FormatError("bad-compromise", "one key twice")
    return tuple(found)


def format_former_logs(logs: Sequence[FormerLog]) -> JSON:
    """The member "former_logs"."""
    return [
        {
            "vkey": format_vkey(entry.log),
            "size": entry.size,
            "root": base64_encode(entry.root),
            "compromised": entry.compromised,
            "since": format_instant(entry.since),
            "reason": entry.reason,
        }
        for entry in logs
    ]


def parse_former_logs(value: JSON, present: VerifierKey) -> tuple[FormerLog, ...]:
    """Inverse of `format_former_logs`; `present` is the log's key of today. Raises: FormatError."""
    found = []
    for item in _objects(value, MAX_FORMER_LOGS, _LOG_MEMBERS):
        log, root = parse_vkey(_text(item["vkey"], 1000)), base64_decode(_text(item["root"]))
        if log.algorithm != ED25519 or len(root) != HASH_BYTES or not isinstance(item["compromised"], bool):
            raise FormatError("bad-former-log", "not a log key, a root of 32 bytes, and true or false")
        since, reason = parse_instant(_text(item["since"])), _text(item["reason"])
        found.append(FormerLog(log, _size(item["size"]), root, item["compromised"], since, reason))
    names = {(entry.log.name, entry.log.key_id) for entry in found} | {(present.name, present.key_id)}
    if len(names) != len(found) + 1:
        raise FormatError("bad-former-log", "one log key twice")
    return tuple(found)


def find_former_log(note: bytes, logs: Sequence[FormerLog]) -> FormerLog | None:
    """Whose key the first line of a note names; nothing is verified. Raises: LimitError, FormatError."""
    line = parse_note(note).signatures[0]
    for entry in logs:
        if (line.name, line.key_id) == (entry.log.name, entry.log.key_id):
            return entry
    return None


def _objects(value: JSON, limit: int, members: set[str]) -> list[dict[str, JSON]]:
    # An empty list has no form: a list without the member is the same and reads the same everywhere.
    if not isinstance(value, list) or not 1 <= len(value) <= limit:
        raise FormatError("bad-compromise", f"1 to {limit} entries expected")
    found = []
    for item in value:
        if not isinstance(item, dict) or set(item) != members:
            raise FormatError("bad-compromise", "wrong members")
        found.append(item)
    return found


def _text(value: JSON, limit: int = MAX_REASON_CHARS) -> str:
    # The reason reaches terminals and pages: nothing but printable characters.
    if not isinstance(value, str) or not 0 < len(value) <= limit or not value.isprintable():
        raise FormatError("bad-compromise", f"printable text of at most {limit} characters expected")
    return value


def _size(value: JSON) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_ENTRIES:
        raise FormatError("bad-compromise", "a number of entries expected")
    return value
