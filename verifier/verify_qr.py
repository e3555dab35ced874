"""The code printed on a page: what it can show, and what it cannot.

A good signature says that the city once signed these words, so that the paper can be compared with them. It
does not say that the certificate is still in force, nor that the paper is the page: the verdict is never
VALID. It has no place in the log either: after its key was stolen nobody can say when it was made, and what it
says is not handed out.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from verifier.checks.case import JAPAN, failed, failed_by, passed, undetermined
from verifier.errors import FormatError
from verifier.formats.compromise import key_digest
from verifier.formats.page_qr import PageStatement, page_key_id, parse_page_qr, verify_page_signature
from verifier.policy import COMPROMISE, CREDENTIAL, FORMAT, STATUS, TRUST, VALIDITY, Policy
from verifier.report import Finding, Report, conclude
from verifier.trust import TrustList

PAGE_QR: Policy = Policy("page-qr", frozenset({FORMAT, TRUST, CREDENTIAL, COMPROMISE, VALIDITY, STATUS}))


def examine_page_qr(
    text: str, *, trust: Sequence[TrustList], now: dt.datetime
) -> tuple[Report, PageStatement | None]:
    """A report that is at best UNDETERMINED, and the statement if its signature is the city's (by no stolen key)."""
    try:
        signed = parse_page_qr(text.strip())
    except FormatError as error:
        return _report((failed_by(FORMAT, error),), trust, None, now), None
    city = signed.statement.city_code
    chosen = next(
        (
            entry
            for entry in trust
            if entry.content.city == city and entry.content.public_url == signed.public_url
        ),
        None,
    )
    findings = [passed(FORMAT)]
    if chosen is None:
        findings.append(failed(TRUST, "unknown-issuer", "no trust list speaks for this city and address"))
        return _report(tuple(findings), trust, None, now), None
    if chosen.is_expired(now):
        findings.append(undetermined(TRUST, "trust-expired", "the trust list has expired", retry=True))
        return _report(tuple(findings), trust, chosen, now), None
    findings.append(passed(TRUST, detail=f"version {chosen.version} of {city}"))
    keys = {page_key_id(key): key for key in chosen.content.credential_keys}
    key = keys.get(signed.statement.key_id)
    if key is None:
        findings.append(undetermined(CREDENTIAL, "unknown-key", "a key that the trust list does not hold"))
        return _report(tuple(findings), trust, chosen, now), None
    try:
        verify_page_signature(signed, key)
    except FormatError as error:
        findings.append(failed_by(CREDENTIAL, error))
        return _report(tuple(findings), trust, chosen, now), None
    findings.append(passed(CREDENTIAL))
    if any(entry.key == key_digest(key) for entry in chosen.content.compromised):
        detail = "signed with a key that was stolen, and a printed code does not show when"
        findings.append(undetermined(COMPROMISE, "no-log-evidence", detail))
        return _report(tuple(findings), trust, chosen, now), None
    findings.append(passed(COMPROMISE))
    findings.append(_validity(signed.statement, now))
    findings.append(
        undetermined(STATUS, "no-status-reference", "the code does not say where its status is kept")
    )
    return _report(tuple(findings), trust, chosen, now), signed.statement


def statement_lines(statement: PageStatement) -> list[tuple[str, str]]:
    """Labels and values for people, in the order of the page."""
    more = "…" if statement.name_truncated else ""
    return [
        ("氏名 / name", statement.name + more),
        ("生年月日 / birth date", statement.birthdate.isoformat()),
        ("年度 / fiscal year", str(statement.fiscal_year)),
        ("非課税 / exempt", "非課税 / yes" if statement.exempt else "課税 / no"),
        ("合計所得金額 / total income", f"{statement.income_total:,}円"),
        ("総所得金額等 / gross total", f"{statement.gross_total:,}円"),
        ("年税額 / annual tax", f"{statement.annual_tax_total:,}円"),
        ("発行日 / issued", statement.issued_on.isoformat()),
        ("有効期限 / valid until", statement.valid_until.isoformat()),
    ]


def _validity(statement: PageStatement, now: dt.datetime) -> Finding:
    today = now.astimezone(JAPAN).date()
    if today > statement.valid_until:
        return failed(VALIDITY, "expired", f"valid until {statement.valid_until.isoformat()}")
    if today < statement.issued_on:
        return failed(VALIDITY, "not-yet-valid", f"valid from {statement.issued_on.isoformat()}")
    return passed(VALIDITY, detail=f"until {statement.valid_until.isoformat()}")


def _report(
    findings: tuple[Finding, ...], trust: Sequence[TrustList], chosen: TrustList | None, now: dt.datetime
) -> Report:
    verdict, reading = conclude(findings, PAGE_QR)
    return Report(
        verdict,
        reading,
        now,
        PAGE_QR.name,
        "page-qr",
        findings,
        not_asked=("print", "holder"),
        mock=trust[0].content.mock if trust else None,
        city=None if chosen is None else chosen.content.city,
        city_name=None if chosen is None else chosen.content.name,
        trust_version=None if chosen is None else chosen.version,
    )
