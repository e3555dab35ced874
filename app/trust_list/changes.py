"""What a next version changes, and who has signed it, in plain words: what a signer reads before signing.

Lines are (Japanese, English). This module decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from verifier.errors import FormatError
from verifier.formats.compromise import CompromisedKey, FormerLog
from verifier.formats.encoding import JSON, base64_decode, canonical_json, sha256
from verifier.formats.jose import parse_jwk, thumbprint
from verifier.formats.trust_list import TrustContent, TrustDocument, format_content
from verifier.trust import TrustList

Line = tuple[str, str]

_MEMBERS: Final[Mapping[str, Line]] = {
    "name": ("市の名", "name of the city"),
    "public_url": ("公開の住所", "public address"),
    "iss": ("発行者の名", "issuer"),
    "vct": ("証明書の種類", "type of credential"),
    "seal_cas": ("電子印の認証局", "authority for seals"),
    "credential_cas": ("データ署名の認証局", "authority for credentials"),
    "tsa_cas": ("時刻印の認証局", "authority for time-stamps"),
    "credential_keys": ("印刷のコードの鍵", "key of printed codes"),
    "witnesses": ("立会人", "witnesses"),
    "chain": ("外部の記録", "chain"),
    "envelope_key": ("市あての封筒の鍵", "envelope key"),
    "statement_key": ("市の回答の鍵", "statement key"),
    "status_lists": ("失効一覧の住所", "address of status lists"),
    "max_status_age": ("失効一覧の古さの限り（秒）", "oldest status list (seconds)"),
}


def describe_changes(current: TrustList, draft: TrustDocument) -> list[Line]:
    """Every difference between the list in force and the draft."""
    lines = [
        (
            f"第{current.version}版 → 第{draft.version}版、期限 {draft.expires:%Y-%m-%dT%H:%M:%SZ}",
            f"version {current.version} → {draft.version}, until {draft.expires:%Y-%m-%dT%H:%M:%SZ}",
        )
    ]
    gone = [name[:16] for name in sorted(set(current.keys) - set(draft.keys))]
    come = [name[:16] for name in sorted(set(draft.keys) - set(current.keys))]
    lines += [(f"署名者が去ります: {name}…", f"a signer leaves: {name}…") for name in gone]
    lines += [(f"署名者が加わります: {name}…", f"a signer joins: {name}…") for name in come]
    old, new = (f"{one.threshold}/{len(one.keys)}" for one in (current, draft))
    if old != new:
        lines.append((f"必要な署名 {old} → {new}", f"signatures needed {old} → {new}"))
    if set(current.keys) != set(draft.keys) or current.threshold != draft.threshold:
        lines.append(("手紙の指紋が変わります", "the fingerprint in the city's letter changes"))
    lines += _stolen(current.content, draft.content)
    lines += _logs(current.content, draft.content)
    lines += _members(current.content, draft.content)
    return lines


def signatures_of(document: TrustDocument, keys: Mapping[str, bytes]) -> tuple[str, ...]:
    """Ids of those of `keys` whose signature on the document is good."""
    return tuple(name for name, raw in keys.items() if _is_signed_by(document, name, raw))


def describe_signatures(current: TrustList, draft: TrustDocument) -> list[Line]:
    """Who has signed, and how many signatures of the old and of the new signers are missing."""
    lines = []
    for (ja, en), keys, threshold in (
        (("今の署名者", "present signers"), current.keys, current.threshold),
        (("次の署名者", "next signers"), draft.keys, draft.threshold),
    ):
        signed = signatures_of(draft, keys)
        who = ", ".join(f"{name[:16]}…" for name in signed) or "-"
        missing = max(0, threshold - len(signed))
        lines.append(
            (
                f"{ja}: {len(signed)}人が署名 ({who})、あと{missing}人",
                f"{en}: {len(signed)} signed ({who}), {missing} missing",
            )
        )
    return lines


def _is_signed_by(document: TrustDocument, name: str, raw: bytes) -> bool:
    signature = document.signatures.get(name)
    if signature is None:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(raw).verify(signature, document.signed)
    except (InvalidSignature, ValueError):
        return False
    return True


def _stolen(old: TrustContent, new: TrustContent) -> list[Line]:
    before, after = ({entry.key: entry for entry in one.compromised} for one in (old, new))
    lines = []
    for key in after:
        if before.get(key) != after[key]:
            lines.append(_stolen_line(after[key]))
            if key in before and before[key].log != after[key].log:
                one, two = before[key].log, after[key].log
                lines.append(
                    (
                        f"注意: 盗まれた鍵を数える台帳が {one} から {two} に変わり、無効のものが再び有効になりえます",
                        f"CAUTION: counted in {two} and no more in {one}: what was not valid may become valid again",
                    )
                )
            elif key in before and before[key].from_index < after[key].from_index:
                first, later = before[key].from_index, after[key].from_index
                lines.append(
                    (
                        f"注意: 記録 {first} から {later} の前までが再び有効になります",
                        f"CAUTION: entries {first} to before {later} become valid again",
                    )
                )
    lines += [
        (
            f"注意: 盗まれた鍵 {name}… が再び有効になります",
            f"CAUTION: the stolen key {name}… becomes good again",
        )
        for name in (key.hex()[:16] for key in before if key not in after)
    ]
    return lines


def _stolen_line(entry: CompromisedKey) -> Line:
    key = entry.key.hex()[:16]
    return (
        f"盗まれた鍵 {key}…: 記録 {entry.from_index} 番から後は無効、前は有効のまま ({entry.reason})",
        f"stolen key {key}…: not valid from entry {entry.from_index} of {entry.log} on, valid before it",
    )


def _logs(old: TrustContent, new: TrustContent) -> list[Line]:
    lines = []
    if old.log != new.log:
        names = f"{old.log.name} → {new.log.name}"
        lines.append((f"台帳の鍵が変わります: {names}", f"the log's key changes: {names}"))
    lines += [_former_line(entry) for entry in new.former_logs if entry not in old.former_logs]
    known = {entry.log: entry for entry in old.former_logs}
    for entry in new.former_logs:
        before = known.get(entry.log, entry)
        if before.compromised and not entry.compromised:
            ja, en = "の盗まれた鍵が再び信じられます", "is believed again, although its key was stolen"
            lines.append((f"注意: 前の台帳 {entry.log.name} {ja}", f"CAUTION: {entry.log.name} {en}"))
        if (before.size, before.root) != (entry.size, entry.root):
            ja, en = "の最後の状態が変わります", "ends in another state than before"
            lines.append((f"注意: 前の台帳 {entry.log.name} {ja}", f"CAUTION: {entry.log.name} {en}"))
    kept = {entry.log for entry in new.former_logs} | {new.log}
    for name in [entry.log.name for entry in old.former_logs if entry.log not in kept]:
        lines.append(
            (f"注意: 前の台帳 {name} の証明書が無効になります", f"CAUTION: what {name} holds is lost")
        )
    if old.log not in kept:
        lines.append(
            (
                f"注意: 今の台帳 {old.log.name} の証明書がすべて無効になります",
                f"CAUTION: everything that {old.log.name} holds is lost",
            )
        )
    return lines


def _former_line(entry: FormerLog) -> Line:
    ja, en = ("盗まれた鍵", "its key was stolen") if entry.compromised else ("終了", "ended")
    return (
        f"前の台帳 {entry.log.name}: {entry.size} 件まで ({ja}: {entry.reason})",
        f"former log {entry.log.name}: up to {entry.size} entries ({en})",
    )


def _members(old: TrustContent, new: TrustContent) -> list[Line]:
    before, after, lines = format_content(old), format_content(new), []
    for name, (ja, en) in _MEMBERS.items():
        one, two = before.get(name), after.get(name)
        if one == two:
            continue
        if isinstance(one, list) and isinstance(two, list):
            gone, come = _without(one, two), _without(two, one)
            lines += [(f"{ja}をのぞく: {item}", f"{en} removed: {item}") for item in _words(name, gone)]
            lines += [(f"{ja}を加える: {item}", f"{en} added: {item}") for item in _words(name, come)]
            if not gone and not come:
                lines.append((f"{ja}の順が変わります", f"{en}: another order"))
        else:
            was, will = (next(iter(_words(name, [] if item is None else [item])), "-") for item in (one, two))
            lines.append((f"{ja}: {was} → {will}", f"{en}: {was} → {will}"))
    for name in sorted({*before, *after} - set(_MEMBERS) - {"log", "compromised", "former_logs"}):
        if before.get(name) != after.get(name):
            lines.append((f"{name} が変わります", f"{name} changes"))
    return lines


def _without(some: list[JSON], others: list[JSON]) -> list[JSON]:
    return [item for item in some if item not in others]


def _words(name: str, items: Iterable[JSON]) -> list[str]:
    return [_word(name, item) for item in items]


def _word(name: str, item: JSON) -> str:
    if name.endswith("_cas") and isinstance(item, str):
        der = base64_decode(item)
        try:
            subject = x509.load_der_x509_certificate(der).subject.rfc4514_string()
        except ValueError:
            subject = "(unreadable certificate)"
        return f"{subject} SHA-256 {sha256(der).hex()[:16]}…"
    if isinstance(item, dict) and "kty" in item:
        try:
            return thumbprint(parse_jwk(item))
        except FormatError:
            return "(unreadable key)"
    if isinstance(item, dict):
        return canonical_json(item).decode("utf-8")
    return " / ".join(str(item).split("\n")).strip(" /") or "-"
