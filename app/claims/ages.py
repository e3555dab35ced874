"""Ages as Japanese law counts them: a year of age is complete at the end of the day *before* the birthday.

Source: 年齢計算ニ関スル法律. So who was born on 1 January is a year older on 31 December already.
This module knows no thresholds; those are in the tables.
"""

from __future__ import annotations

from datetime import date, timedelta


def age_on(birthdate: date, day: date) -> int:
    """Completed years of age at the end of `day`; negative if not yet born."""
    next_day = day + timedelta(days=1)
    before_birthday = (next_day.month, next_day.day) < (birthdate.month, birthdate.day)
    return next_day.year - birthdate.year - before_birthday
