"""
Dates, times and durations as strings, the same on every Python.

Source:
    RFC 3339 for moments; ISO 8601 for durations, in days, hours, minutes and seconds only: months have no length.
"""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta, timezone

from cqrs_core.serialization.scalars import Mismatch, instance_of

_CLOCK = re.compile(
    r"(?P<day>.{10}T)?(?P<clock>\d\d:\d\d:\d\d)(?:[.,](?P<fraction>\d+))?"
    r"(?:(?P<zulu>[Zz])|(?P<hours>[+-]\d\d)(?::?(?P<minutes>\d\d))?(?P<seconds>:\d\d(?:\.\d{6})?)?)?",
    re.ASCII,
).fullmatch

# Forms that every Python reads. Of others, some read what they should not: week dates, 12:30:315.
_PORTABLE = re.compile(r".{10}T\d\d:\d\d:\d\d(?:\.\d{6})?(?:[+-]\d\d:\d\d)?", re.ASCII).fullmatch

_DURATION = re.compile(
    r"(?P<sign>[+-]?)P(?!$)(?:(?P<days>\d+)D)?"
    r"(?:T(?=\d)(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+)(?:[.,](?P<fraction>\d+))?S)?)?",
    re.ASCII,
).fullmatch

_MICROSECOND = timedelta(microseconds=1)
_SECOND = 1_000_000  # in microseconds


def datetime_to_text(value: object) -> str:
    """Write a moment; one without an offset stays without."""
    moment = instance_of(value, datetime)
    if moment.tzinfo is timezone.utc:
        # isoformat() spends half of its time on the offset.
        return f"{moment.date()!s}T{moment.time()!s}+00:00"
    return moment.isoformat()


def read_datetime(text: str) -> datetime:
    """Read RFC 3339, with or without an offset; digits of a second beyond the sixth are dropped."""
    if text[4:20:3] == "--T::." and text[26:] == "+00:00":
        return datetime.fromisoformat(text)  # no form is more common, and it needs no regular expression
    if text[4:8:3] != "--":
        raise Mismatch
    return datetime.fromisoformat(text if _PORTABLE(text) else _canonical(text))


def date_to_text(value: object) -> str:
    """Write a day; a datetime is one for Python, but would lose its time."""
    return instance_of(value, date, datetime).isoformat()


def read_date(text: str) -> date:
    """Read ``2026-11-24`` and no other form."""
    if text[4:8:3] != "--" or len(text) != len("2026-11-24"):
        raise Mismatch
    return date.fromisoformat(text)


def time_to_text(value: object) -> str:
    """Write a time of day."""
    return instance_of(value, time).isoformat()


def read_time(text: str) -> time:
    """Read a time of day, with or without an offset."""
    return time.fromisoformat(_canonical(text))


def duration_to_text(value: object) -> str:
    """Write ``-P1DT2H3M4.000005S``: the sign stands before the whole."""
    total = instance_of(value, timedelta) // _MICROSECOND  # not abs(value): abs(timedelta.min) overflows
    seconds, fraction = divmod(abs(total), _SECOND)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    sign = "-" if total < 0 else ""
    return f"{sign}P{days}DT{hours}H{minutes}M{seconds}{f'.{fraction:06}' if fraction else ''}S"


def read_duration(text: str) -> timedelta:
    """Read any duration without years, months and weeks."""
    found = _DURATION(text)
    if found is None:
        raise Mismatch
    days, hours, minutes, seconds = (int(found[part] or 0) for part in ("days", "hours", "minutes", "seconds"))
    total = (((days * 24 + hours) * 60 + minutes) * 60 + seconds) * _SECOND + int(_six_digits(found["fraction"] or ""))
    return timedelta(microseconds=-total if found["sign"] == "-" else total)


def _canonical(text: str) -> str:
    """Bring what 3.10 cannot read into the form that it can: ``Z``, ``+02``, ``+0200``, nine digits of a second."""
    found = _CLOCK(text)
    if found is None:
        raise Mismatch
    fraction = f".{_six_digits(found['fraction'])}" if found["fraction"] else ""
    offset = "+00:00" if found["zulu"] else ""
    if found["hours"]:
        offset = f"{found['hours']}:{found['minutes'] or '00'}{found['seconds'] or ''}"
    return f"{found['day'] or ''}{found['clock']}{fraction}{offset}"


def _six_digits(fraction: str) -> str:
    return f"{fraction[:6]:0<6}"
