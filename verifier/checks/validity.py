"""Is today within its period of validity? Legal days in Japan; log entry, credential and data agree on them."""

from __future__ import annotations

import datetime as dt

from verifier.checks.case import JAPAN, Case, Parts, failed, failed_by, instant, passed
from verifier.errors import FormatError
from verifier.formats.encoding import JSON
from verifier.formats.leaf import parse_date, parse_validity
from verifier.policy import VALIDITY
from verifier.report import Finding


def check_validity(case: Case) -> Finding:
    """First and last day from the log entry, compared with every other place.

    Without a log entry from the credential itself (wallets of others), or from the data (a bare page).
    """
    parts = case.parts
    try:
        days = _first_and_last(parts)
        if parts.certificate is not None and _days(parts.certificate) != days:
            return failed(VALIDITY, "dates-differ", "data and log entry name different days")
        if parts.claims is not None:
            issued, expires = instant(parts.claims.issued), instant(parts.claims.expires)
            if issued != _midnight(days[0]) or expires != _midnight(days[1] + dt.timedelta(days=1)):
                return failed(VALIDITY, "dates-differ", "credential and log entry name different days")
            disclosed = (("issued_on", days[0]), ("valid_until", days[1]))
            if any(parts.claims.all.get(name, day.isoformat()) != day.isoformat() for name, day in disclosed):
                return failed(VALIDITY, "dates-differ", "credential and log entry name different days")
        begin, end = _midnight(days[0]), _midnight(days[1] + dt.timedelta(days=1))
    except FormatError as error:
        return failed_by(VALIDITY, error)
    except OverflowError:
        return failed(VALIDITY, "bad-date", "a day beyond the calendar")
    if case.now >= end:
        return failed(VALIDITY, "expired", f"valid until {days[1].isoformat()}")
    if case.now < begin - case.policy.clock_skew:
        return failed(VALIDITY, "not-yet-valid", f"valid from {days[0].isoformat()}")
    return passed(VALIDITY, detail=f"until {days[1].isoformat()}")


def _first_and_last(parts: Parts) -> tuple[dt.date, dt.date]:
    if parts.evidence is not None:
        return parse_validity(parts.evidence.validity)
    if parts.claims is None:
        return _days(parts.certificate)
    first, end = (instant(moment).astimezone(JAPAN) for moment in (parts.claims.issued, parts.claims.expires))
    return first.date(), end.date() - dt.timedelta(days=1)


def _days(certificate: dict[str, JSON] | None) -> tuple[dt.date, dt.date]:
    value = certificate or {}
    texts = [value.get("issued_on"), value.get("valid_until")]
    if not all(isinstance(text, str) for text in texts):
        raise FormatError("bad-date", "the data does not name its days")
    return parse_date(str(texts[0])), parse_date(str(texts[1]))


def _midnight(day: dt.date) -> dt.datetime:
    return dt.datetime.combine(day, dt.time(), JAPAN)
