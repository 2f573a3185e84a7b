"""
The purchase log: one line for each purchase, five columns with blanks between them.

The columns are the customer's id in the full set, the id in the sample, the day as YYYYMMDD, the number of CDs, and the
dollars. Lines end in CRLF or LF. A byte order mark before the first line and blank lines anywhere are no fault; blank
lines count when lines are numbered.
"""

import hashlib
import re
from collections.abc import Iterable
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

from shop.messages import RecordPurchase

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_COLUMNS = 5
# Bounded, so that sums of a log of any length stay exact: Decimal keeps 28 digits.
_ID = re.compile(r"[0-9]{1,18}")
_DAY = re.compile(r"[0-9]{8}")
_COUNT = re.compile(r"[0-9]{1,9}")
_DOLLARS = re.compile(r"[0-9]{1,12}(\.[0-9]{1,2})?")


class LogUnusable(Exception):
    """
    There is no log to work with.

    Attributes:
        path: Where it should be.
    """

    def __init__(self, path: Path, problem: str) -> None:
        self.path = path
        super().__init__(f"{path}: {problem}")


class MalformedLine(ValueError):
    """
    A line is not a purchase.

    Attributes:
        line: Its number, from 1.
        problem: What is wrong with it.
    """

    def __init__(self, line: int, problem: str) -> None:
        self.line = line
        self.problem = problem
        super().__init__(f"line {line}: {problem}")


def read_lines(path: Path) -> list[tuple[int, bytes]]:
    """
    Read the lines that are not blank, each with its number, from 1.

    Raises:
        LogUnusable: The file cannot be read, or there is nothing in it.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise LogUnusable(path, f"cannot be read ({error.strerror or error}).") from error
    lines = content.removeprefix(_BYTE_ORDER_MARK).split(b"\n")
    found = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not found:
        raise LogUnusable(path, "holds no lines. Give a purchase log with --file.")
    return found


def identity(lines: Iterable[tuple[int, bytes]]) -> str:
    """Give what tells a log from another one: a hash of what it says, 64 characters."""
    content = hashlib.sha256()
    for number, line in lines:
        content.update(b"%d %s\n" % (number, line.strip()))
    return content.hexdigest()


def parse(number: int, line: bytes) -> RecordPurchase:
    """
    Understand one line.

    Raises:
        MalformedLine: With the first thing that is wrong with it.
    """
    try:
        columns = line.decode("ascii").split()
        return _command(number, columns)
    except UnicodeDecodeError as error:
        problem = f"byte {error.start + 1} is 0x{line[error.start]:02x}, which is not ASCII"
        raise MalformedLine(number, problem) from error
    except _Unexpected as error:
        raise MalformedLine(number, str(error)) from error


class _Unexpected(ValueError):
    """What a column holds, and what it should hold."""

    def __init__(self, column: str, text: str, expected: str) -> None:
        shown = text if len(text) <= 20 else f"{text[:20]}..."  # noqa: PLR2004 - what fits on the line
        super().__init__(f"{column} is {shown!r}, not {expected}")


def _command(number: int, columns: list[str]) -> RecordPurchase:
    if len(columns) != _COLUMNS:
        raise MalformedLine(number, f"expected {_COLUMNS} columns, found {len(columns)}")
    # Either id would do: in the sample both columns hold 2,357 different ids, and each id of one goes with one of the
    # other. The first one is the customer's in the full set, so it means the same in another extract of it.
    customer_id, sample_id, day, cds, dollars = columns
    _check("the customer's id in the sample", sample_id, _ID, "a number of at most 18 digits")
    return RecordPurchase(
        line=number,
        customer_id=_check("the customer's id", customer_id, _ID, "a number of at most 18 digits"),
        day=_day(day),
        cds=_count(cds),
        dollars=Decimal(_check("the amount", dollars, _DOLLARS, "an amount such as 12.50, of at most 12 digits")),
    )


def _check(column: str, text: str, pattern: re.Pattern[str], expected: str) -> str:
    if not pattern.fullmatch(text):
        raise _Unexpected(column, text, expected)
    return text


def _day(text: str) -> date:
    _check("the day", text, _DAY, "of the form YYYYMMDD")
    try:
        return datetime.strptime(text, "%Y%m%d").date()  # noqa: DTZ007 - a day in the shop's calendar, not a moment
    except ValueError as error:
        raise _Unexpected("the day", text, "in the calendar") from error


def _count(text: str) -> int:
    expected = "a whole number of at most 9 digits, and at least 1"
    count = int(_check("the number of CDs", text, _COUNT, expected))
    if count == 0:
        raise _Unexpected("the number of CDs", text, expected)
    return count
