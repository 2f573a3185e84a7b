"""Dates, times and durations as strings."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pytest

from cqrs_core.serialization import CodecError, codec_for

AT = datetime(2026, 11, 24, 12, 30, 15, 123456, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (AT, "2026-11-24T12:30:15.123456+00:00"),
        (AT.replace(microsecond=0), "2026-11-24T12:30:15+00:00"),
        (AT.replace(tzinfo=timezone(-timedelta(hours=3, minutes=30))), "2026-11-24T12:30:15.123456-03:30"),
        (datetime(1, 1, 1, tzinfo=timezone.utc), "0001-01-01T00:00:00+00:00"),
        (datetime(2026, 1, 2, 3, 4, 5), "2026-01-02T03:04:05"),  # noqa: DTZ001 - naive, and stays so
        (date(1, 1, 1), "0001-01-01"),
        (time(1, 2, 3, 4), "01:02:03.000004"),
        (time(1, 2, 3, tzinfo=timezone.utc), "01:02:03+00:00"),
        (timedelta(days=1, seconds=3723, microseconds=5), "P1DT1H2M3.000005S"),
        (timedelta(), "P0DT0H0M0S"),
        (-timedelta(seconds=1), "-P0DT0H0M1S"),
        (timedelta.min, "-P999999999DT0H0M0S"),
        (timedelta.max, "P999999999DT23H59M59.999999S"),
    ],
    ids=str,
)
def test_each_moment_has_one_form(value: Any, text: str, there_and_back: Callable[[Any, Any], Any]) -> None:
    """RFC 3339, ISO 8601; naive datetimes stay naive, offsets stay what they are."""
    assert json.dumps(text) == codec_for(type(value)).encode(value).decode()
    result = there_and_back(type(value), value)
    assert (value, getattr(value, "tzinfo", None)) == (result, getattr(result, "tzinfo", None))


@pytest.mark.parametrize(
    ("tp", "text", "value"),
    [
        (datetime, "2026-11-24T12:30:15.123456Z", AT),
        (datetime, "2026-11-24T12:30:15.123456z", AT),
        (datetime, "2026-11-24T12:30:15.123456789+00:00", AT),
        (datetime, "2026-11-24T12:30:15.123456+0000", AT),
        (datetime, "2026-11-24T14:30:15.123456+02", AT),
        (datetime, "2026-11-24T12:30:15,123456Z", AT),
        (datetime, "2026-11-24T12:30:15.1Z", AT.replace(microsecond=100000)),
        (time, "01:02:03Z", time(1, 2, 3, tzinfo=timezone.utc)),
        (timedelta, "PT36H", timedelta(hours=36)),
        (timedelta, "P2D", timedelta(days=2)),
        (timedelta, "-PT1.5S", timedelta(seconds=-1.5)),
        (timedelta, "+PT1,5S", timedelta(seconds=1.5)),
    ],
)
def test_other_writers_are_understood_on_every_python(tp: Any, text: str, value: Any) -> None:
    """What 3.10 cannot read is brought into a form that it can."""
    assert value == codec_for(tp).decode(json.dumps(text))


@pytest.mark.parametrize(
    ("tp", "text", "problem"),
    [
        (datetime, "2026-11-24", "expected date-time string, got str"),
        (datetime, "2026-W47-2T12:00:00", "expected date-time string, got str"),
        (datetime, "20261124T120000", "expected date-time string, got str"),
        (datetime, "2026-11-24 12:00:00", "expected date-time string, got str"),
        (datetime, "2026-13-24T12:00:00", "expected date-time string, got str"),
        (datetime, "2026-11-24T12:00", "expected date-time string, got str"),
        (date, "2026-11-24T00:00:00", "expected date string, got str"),
        (date, "20261124", "expected date string, got str"),
        (date, "2026-W47-2", "expected date string, got str"),
        (datetime, "2026-11-24T12:30:315Z", "expected date-time string, got str"),  # 3.11 passes over the second 5
        (datetime, "2026-11-24T12:30:15.123456W99+00:00", "expected date-time string, got str"),
        (datetime, "2026-11-24T12:30:15,+0530", "expected date-time string, got str"),
        (datetime, "2026-11-24T12:30:15:123456+05:30", "expected date-time string, got str"),  # 3.10 reads it
        (datetime, "2026-11-24T12:30:15-23:59:59.5", "expected date-time string, got str"),
        (time, "12:30:155", "expected time string, got str"),
        (time, "12:30:15.+01:00", "expected time string, got str"),
        (time, "12", "expected time string, got str"),
        (time, "T12:00:00", "expected time string, got str"),
        (timedelta, "P", "expected duration string, got str"),
        (timedelta, "PT", "expected duration string, got str"),
        (timedelta, "P1Y", "expected duration string, got str"),
        (timedelta, "P9999999999D", "expected duration string, got str"),
        (timedelta, "٣", "expected duration string, got str"),
    ],
)
def test_other_forms_are_refused_on_every_python(tp: Any, text: str, problem: str) -> None:
    """fromisoformat() takes more from 3.11 on; what a program reads must not depend on that."""
    with pytest.raises(CodecError) as caught:
        codec_for(tp).decode(json.dumps(text))
    assert problem == caught.value.problem


def test_numbers_are_no_dates() -> None:
    """Seconds or milliseconds, since when? One cannot know."""
    for tp in (datetime, date, time, timedelta):
        with pytest.raises(CodecError, match=r"string, got int"):
            codec_for(tp).decode(b"0")


def test_a_datetime_is_not_written_as_a_date() -> None:
    """It is one for isinstance, and would lose its time."""
    with pytest.raises(CodecError, match=r"expected date string, got datetime"):
        codec_for(date).encode(AT)


def test_a_datetime_of_a_subclass_is_written() -> None:
    """Freezegun and time-machine put such ones everywhere."""
    frozen = type("FakeDatetime", (datetime,), {})(2026, 1, 2)
    assert b'"2026-01-02T00:00:00"' == codec_for(datetime).encode(frozen)


def test_a_moment_in_a_repeated_hour_comes_back_as_the_same_moment() -> None:
    """Not as an equal datetime: Python calls times in a fold unequal to the same time in another zone (PEP 495)."""
    try:
        berlin = ZoneInfo("Europe/Berlin")
    except ZoneInfoNotFoundError:
        pytest.skip("no time zone data")
    folded = datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=berlin)

    back = codec_for(datetime).decode(codec_for(datetime).encode(folded))

    assert folded != back
    assert folded.timestamp() == back.timestamp()
