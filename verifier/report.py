"""What an examination says: findings, one verdict, one sentence, and the time to which it refers.

The JSON form is documented in docs/formats/report.md. Claims of a certificate are in a report only when its
verdict is VALID. This module draws conclusions from findings; it checks nothing itself.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from verifier.formats.encoding import JSON
from verifier.policy import (
    COMPROMISE,
    DATA,
    DECRYPTION,
    FORMAT,
    HOLDER,
    PATH,
    STATUS,
    TRUST,
    VALIDITY,
    Policy,
)


class Outcome(StrEnum):
    """The answer of one check."""

    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    UNDETERMINED = "undetermined"
    NOT_APPLICABLE = "not-applicable"


class Verdict(StrEnum):
    """The answer of an examination."""

    VALID = "valid"
    NOT_VALID = "not-valid"
    UNDETERMINED = "undetermined"


class Reading(StrEnum):
    """The verdict in the words of look.md: what a person is told in one sentence."""

    VALID = "valid"
    TAMPERED = "tampered"
    UNKNOWN_ISSUER = "unknown-issuer"
    KEY_COMPROMISED = "key-compromised"
    REVOKED = "revoked"
    EXPIRED = "expired"
    NOT_FOR_YOU = "not-for-you"
    INCOMPLETE = "incomplete"
    UNFINISHED = "unfinished"


@dataclass(frozen=True, slots=True)
class Finding:
    """The answer to one question.

    check    one of `policy.CHECKS`
    outcome
    code     short ASCII word, stable ("revoked", "stale-status")
    detail   a sentence for people who ask further (English; never a claim of the certificate)
    retry    for UNDETERMINED: whether trying later, or with a network, can help
    """

    check: str
    outcome: Outcome
    code: str
    detail: str = ""
    retry: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """The result of an examination.

    verdict, reading   the answer, and the words for it
    as_of              the moment for which it holds (UTC): status evidence may be older, see `status_as_of`
    status_as_of       when the status evidence was made, if there is any (UTC)
    policy             name of the policy
    kind               what the file was: package, submission, bundle, page, presentation, unknown
    mock               True when the verdict rests on mock (模擬) trust; None when no trust list applied
    findings           in the order of the walk
    not_asked          short words for what this policy did not ask (`NOT_ASKED_TEXTS`)
    city, trust_version  of the trust list that applied
    certificate        what was disclosed of certificate.json, and of the ladders where it is not there itself;
                       None unless VALID
    page               the sealed page (PDF); None unless VALID and in the file
    """

    verdict: Verdict
    reading: Reading
    as_of: dt.datetime
    policy: str
    kind: str
    findings: tuple[Finding, ...]
    not_asked: tuple[str, ...] = ()
    mock: bool | None = None
    city: str | None = None
    city_name: str | None = None
    trust_version: int | None = None
    status_as_of: dt.datetime | None = None
    certificate: Mapping[str, JSON] | None = None
    page: bytes | None = None

    def find(self, check: str) -> Finding | None:
        """The finding of `check`, if it was made."""
        return next((finding for finding in self.findings if finding.check == check), None)

    @property
    def sentence_ja(self) -> str:
        """The verdict in one Japanese sentence, with 模擬 when it rests on mock trust."""
        return ("【模擬】" if self.mock else "") + SENTENCES[self.reading][0]

    @property
    def sentence_en(self) -> str:
        """The verdict in one English sentence, with MOCK when it rests on mock trust."""
        return ("[MOCK] " if self.mock else "") + SENTENCES[self.reading][1]


SENTENCES: Final[Mapping[Reading, tuple[str, str]]] = {
    Reading.VALID: (
        "有効 ─ 市が発行したもので、変わっていません",
        "Valid: issued by the city, unchanged and in force",
    ),
    Reading.TAMPERED: (
        "改ざん・偽造 ─ 市が発行したものと一致しません",
        "Altered or forged: this is not what the city issued",
    ),
    Reading.UNKNOWN_ISSUER: (
        "発行元不明 ─ 信頼リストにある市が発行したものではありません",
        "Unknown issuer: not issued by a city on your trust list",
    ),
    Reading.KEY_COMPROMISED: (
        "盗まれた鍵 ─ 市の鍵が盗まれた後のもので、市が発行したとは認められません",
        "Stolen key: made after the city's key was stolen, and not accepted as issued by the city",
    ),
    Reading.REVOKED: (
        "失効 ─ 市がこの証明書を無効にしました",
        "Revoked: the city has withdrawn this certificate",
    ),
    Reading.EXPIRED: ("期限切れ ─ 有効期間の外です", "Expired: outside its period of validity"),
    Reading.NOT_FOR_YOU: (
        "提出として確認できません ─ この依頼への提出ではありません",
        "Not a submission to this request: made for another recipient or request",
    ),
    Reading.INCOMPLETE: (
        "そろっていません ─ 依頼した項目が提出されていません",
        "Incomplete: something that was asked for was not handed over",
    ),
    Reading.UNFINISHED: (
        "確認が終わっていません ─ 本物とも偽物とも言えません",
        "Not finished: neither genuine nor forged can be said yet",
    ),
}

SYMBOLS: Final[Mapping[Verdict, str]] = {
    Verdict.VALID: "✓",
    Verdict.NOT_VALID: "✕",
    Verdict.UNDETERMINED: "?",
}

TITLES: Final[Mapping[str, tuple[str, str]]] = {
    "format": ("ファイルの形", "Form of the file"),
    "trust": ("信頼リスト", "Trust list"),
    "decryption": ("暗号を開く", "Decryption"),
    "seal": ("市の電子印", "Seal of the city"),
    "path": ("電子印の証明書", "Certificate behind the seal"),
    "timestamp": ("時刻の証明", "Time-stamp"),
    "data": ("紙面とデータの一致", "Page, data and credential agree"),
    "credential": ("データの署名", "Signature of the credential"),
    "inclusion": ("市の発行台帳への記録", "Entry in the city's log"),
    "anchor": ("台帳の外部への記録", "Anchor receipt of the log"),
    "chain": ("外部の記録の確認", "The chain's own word"),
    "witnesses": ("立会人の署名", "Witness signatures"),
    "compromise": ("盗まれた鍵でないこと", "No stolen key"),
    "status": ("失効していないこと", "Not revoked"),
    "validity": ("有効期間", "Period of validity"),
    "holder": ("提出者と提出先", "Holder and recipient"),
}

NOT_ASKED_TEXTS: Final[Mapping[str, tuple[str, str]]] = {
    "chain": ("外部の記録そのものには問い合わせていません", "The chain itself was not asked"),
    "status-now": (
        "今この時の失効状況には問い合わせていません(同封の一覧で確認)",
        "The city's present list was not asked (the enclosed one was used)",
    ),
    "holder": ("提出者と提出先は確認していません", "Holder and recipient were not checked"),
    "print": (
        "紙面の見た目は確認していません。内容は下のデータで見てください",
        "The look of the page was not checked; read the data instead",
    ),
    "items-missing": (
        "依頼した項目のうち、出されなかったものがあります(下の確認に名前があります)",
        "Some of what was asked for was not handed over (the checks name it)",
    ),
    "log": (
        "市の発行台帳への記録は確認していません(ほかのウォレットは台帳の証拠を運びません)",
        "The city's log was not checked: a wallet of others carries no log evidence",
    ),
    "withheld": ("提出者が出さなかった項目は確認していません", "Withheld items were not checked"),
}


_UNKNOWN: Final = frozenset(
    {
        (FORMAT, "unknown-kind"),
        (PATH, "no-path"),
        (PATH, "path-too-long"),
        (PATH, "other-organisation"),
    }
)
_DEAD: Final[Mapping[tuple[str, str], Reading]] = {
    (COMPROMISE, "key-compromised"): Reading.KEY_COMPROMISED,
    (STATUS, "revoked"): Reading.REVOKED,
    (VALIDITY, "expired"): Reading.EXPIRED,
    (VALIDITY, "not-yet-valid"): Reading.EXPIRED,
    (DECRYPTION, "not-for-this-key"): Reading.NOT_FOR_YOU,
    (HOLDER, "other-audience"): Reading.NOT_FOR_YOU,
    (HOLDER, "other-request"): Reading.NOT_FOR_YOU,
    (HOLDER, "not-bound"): Reading.NOT_FOR_YOU,
    (HOLDER, "binding-too-old"): Reading.NOT_FOR_YOU,
    (HOLDER, "request-expired"): Reading.NOT_FOR_YOU,
    (HOLDER, "answered-before"): Reading.NOT_FOR_YOU,
    (FORMAT, "no-key-binding"): Reading.NOT_FOR_YOU,
    (FORMAT, "declined"): Reading.INCOMPLETE,
    (DATA, "missing-claim"): Reading.INCOMPLETE,
    (DATA, "missing-credential"): Reading.INCOMPLETE,
}
_GRAVITY: Final = (
    Reading.KEY_COMPROMISED,
    Reading.REVOKED,
    Reading.EXPIRED,
    Reading.NOT_FOR_YOU,
    Reading.INCOMPLETE,
)


def conclude(findings: Iterable[Finding], policy: Policy) -> tuple[Verdict, Reading]:
    """The verdict that follows from `findings` under `policy`.

    Any FAIL is NOT_VALID: nothing in a file of ours may be wrong, required or not. Otherwise every required
    check has to PASS or not apply, and one of `policy.evidence` has to PASS, for VALID.
    """
    found = {finding.check: finding for finding in findings}
    failed = [finding for finding in found.values() if finding.outcome is Outcome.FAIL]
    if failed:
        return Verdict.NOT_VALID, _reading(failed)
    required = (found.get(check) for check in policy.required)
    settled = all(
        finding is not None and finding.outcome in (Outcome.PASS, Outcome.NOT_APPLICABLE)
        for finding in required
    )
    evidence = (found.get(check) for check in policy.evidence)
    proven = not policy.evidence or any(
        finding is not None and finding.outcome is Outcome.PASS for finding in evidence
    )
    if settled and proven:
        return Verdict.VALID, Reading.VALID
    return Verdict.UNDETERMINED, Reading.UNFINISHED


def report_object(report: Report) -> dict[str, JSON]:
    """The report as plain JSON data (docs/formats/report.md); the page itself is left out."""
    value: dict[str, JSON] = {
        "v": 1,
        "verdict": report.verdict.value,
        "reading": report.reading.value,
        "sentence": {"ja": report.sentence_ja, "en": report.sentence_en},
        "as_of": _instant(report.as_of),
        "status_as_of": None if report.status_as_of is None else _instant(report.status_as_of),
        "policy": report.policy,
        "kind": report.kind,
        "mock": report.mock,
        "city": report.city,
        "city_name": report.city_name,
        "trust_version": report.trust_version,
        "findings": [
            {
                "check": finding.check,
                "title": dict(zip(("ja", "en"), TITLES[finding.check], strict=True)),
                "outcome": finding.outcome.value,
                "code": finding.code,
                "detail": finding.detail,
                "retry": finding.retry,
            }
            for finding in report.findings
        ],
        "not_asked": [
            {"code": code, "ja": NOT_ASKED_TEXTS[code][0], "en": NOT_ASKED_TEXTS[code][1]}
            for code in report.not_asked
        ],
        "certificate": None if report.certificate is None else dict(report.certificate),
    }
    return value


def format_report(report: Report, *, ascii_only: bool = False) -> str:
    """`report_object` as indented JSON text; `ascii_only` for outputs that cannot write every character."""
    return json.dumps(report_object(report), ensure_ascii=ascii_only, indent=2)


def _reading(failed: list[Finding]) -> Reading:
    # An alteration outweighs everything; a genuine but dead certificate is told by its gravest reason.
    reasons = {(finding.check, finding.code) for finding in failed}
    if any(check == TRUST for check, _ in reasons) or reasons <= _UNKNOWN:
        return Reading.UNKNOWN_ISSUER
    if not reasons <= set(_DEAD):
        return Reading.TAMPERED
    return min((_DEAD[reason] for reason in reasons), key=_GRAVITY.index)


def _instant(value: dt.datetime) -> str:
    return value.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
