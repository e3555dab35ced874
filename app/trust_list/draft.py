"""The next version of a trust list, from the current one and what is to change. Nothing is signed here.

    current ─▶ content with changes ─▶ version + 1, new end ─▶ file without signatures

Every change is of one kind: a stolen key, the log's next key, one member put in place of another, the signers. What the
result means for people is told by `changes`; whether it may follow is the verifier's question.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from app.errors import CityError
from verifier.errors import FormatError
from verifier.formats.checkpoint import verify_public_checkpoint
from verifier.formats.compromise import CompromisedKey, FormerLog, key_digest
from verifier.formats.encoding import JSON, hex_decode
from verifier.formats.signed_note import VerifierKey
from verifier.formats.trust_list import TrustContent, format_content, parse_content
from verifier.trust import TrustList, build_trust_list

KEPT = frozenset({"v", "city", "mock", "log", "compromised", "former_logs"})
"""Members that are never replaced whole: they identify the list, or have changes of their own."""


class DraftError(CityError):
    """The change makes no list."""


def draft_next(
    current: TrustList,
    content: TrustContent,
    *,
    expires: dt.datetime,
    signers: Sequence[bytes] | None = None,
    threshold: int | None = None,
) -> bytes:
    """The file of version current + 1, without signatures.

    expires    UTC, whole seconds
    signers    raw Ed25519 public keys of the new signers; None = as before
    threshold  None = as before
    Raises: FormatError, DraftError.
    """
    keys = tuple(current.keys.values()) if signers is None else tuple(signers)
    needed = current.threshold if threshold is None else threshold
    if expires <= current.expires and signers is None and content == current.content:
        raise DraftError("no-change", "nothing changes and the list does not live longer")
    return build_trust_list(
        content, version=current.version + 1, expires=expires, keys=keys, threshold=needed
    )


def name_stolen_keys(
    content: TrustContent, digests: Sequence[bytes], *, from_index: int, since: dt.datetime, reason: str
) -> TrustContent:
    """The content with keys (SHA-256 of SubjectPublicKeyInfo) that are not valid from an entry of the present log on.

    A key that is named already gets the earlier entry of the same log; a later one would make the thief's work good.
    Raises: DraftError("later-theft", "other-log").
    """
    entries = {entry.key: entry for entry in content.compromised}
    for digest in digests:
        known = entries.get(digest)
        if known is not None and known.log != content.log.name:
            raise DraftError("other-log", "the key was named in the time of an earlier log")
        if known is not None and from_index > known.from_index:
            raise DraftError("later-theft", f"the key counts as stolen from entry {known.from_index} already")
        entries[digest] = CompromisedKey(digest, content.log.name, from_index, since, reason)
    return dataclasses.replace(content, compromised=tuple(entries.values()))


def change_log(
    content: TrustContent,
    log: VerifierKey,
    last_checkpoint: bytes,
    *,
    compromised: bool,
    since: dt.datetime,
    reason: str,
) -> TrustContent:
    """The content with another log, the present one among the former ones in the state of `last_checkpoint`.

    `last_checkpoint` is the signed note of the last state that is certainly the city's. Raises: FormatError.
    """
    head = verify_public_checkpoint(last_checkpoint, content.log).checkpoint
    former = FormerLog(content.log, head.size, head.root, compromised, since, reason)
    return dataclasses.replace(content, log=log, former_logs=(*content.former_logs, former))


def replace_members(content: TrustContent, members: Mapping[str, JSON]) -> TrustContent:
    """The content with whole members of "x-akashi" in place of others; null takes an optional one away.

    Raises: FormatError, DraftError("kept-member").
    """
    value = format_content(content)
    for name, member in members.items():
        if name in KEPT:
            raise DraftError("kept-member", f"{name} is not replaced")
        if member is None:
            value.pop(name, None)
        else:
            value[name] = member
    return parse_content(value)


def read_key_digest(text: str) -> bytes:
    """What names a key: 64 hexadecimal digits, or a file with its certificate or public key (PEM or DER).

    Raises: DraftError("unknown-key"), OSError.
    """
    try:
        return hex_decode(text, 32)
    except FormatError:
        data = Path(text).read_bytes()
    try:
        if b"-----BEGIN CERTIFICATE-----" in data:
            return key_digest(x509.load_pem_x509_certificate(data).public_key())
        if b"-----BEGIN PUBLIC KEY-----" in data:
            key = load_pem_public_key(data)
            if isinstance(key, ec.EllipticCurvePublicKey | Ed25519PublicKey):
                return key_digest(key)
            raise DraftError("unknown-key", "not a P-256 or Ed25519 key")
        return key_digest(x509.load_der_x509_certificate(data).public_key())
    except ValueError as error:
        raise DraftError("unknown-key", "neither digits, nor a certificate, nor a public key") from error


def read_signer(path: Path) -> bytes:
    """The raw key of a signer's public key file (PEM). Raises: DraftError("unknown-key"), OSError."""
    try:
        key = load_pem_public_key(path.read_bytes())
    except ValueError as error:
        raise DraftError("unknown-key", f"{path.name} holds no public key") from error
    if not isinstance(key, Ed25519PublicKey):
        raise DraftError("unknown-key", f"{path.name}: a signer's key is Ed25519")
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)
