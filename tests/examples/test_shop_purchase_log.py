"""Which lines of a purchase log are purchases, and what is said of the others."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from shop.messages import RecordPurchase
from shop.purchase_log import LogUnusable, MalformedLine, identity, parse, read_lines

if TYPE_CHECKING:
    from pathlib import Path

GOOD = b" 00004 0001 19970101  2   29.33"


@pytest.mark.parametrize("line_end", [b"\r\n", b"\n", b""])
def test_a_line_becomes_a_command(line_end: bytes) -> None:
    """Money is a Decimal, the day a date, and the line's number the identity of the purchase."""
    expected = RecordPurchase(line=7, customer_id="00004", day=date(1997, 1, 1), cds=2, dollars=Decimal("29.33"))

    assert expected == parse(7, GOOD + line_end)


@pytest.mark.parametrize("dollars", ["0.00", "29", "29.3", "999999999999.99"])
def test_whole_dollars_gifts_and_large_sums_are_amounts(dollars: str) -> None:
    """Up to two decimals and up to twelve digits before them; the log itself holds purchases for 0.00."""
    assert Decimal(dollars) == parse(1, f"00004 0001 19970101 2 {dollars}".encode()).dollars


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"00004 0001 19970101 2", "expected 5 columns, found 4"),
        (b"00004 0001 19970101 2 29.33 x", "expected 5 columns, found 6"),
        (b"x0004 0001 19970101 2 29.33", "the customer's id is 'x0004', not a number of at most 18 digits"),
        (
            b"00004 -001 19970101 2 29.33",
            "the customer's id in the sample is '-001', not a number of at most 18 digits",
        ),
        (b"00004 0001 19970230 2 29.33", "the day is '19970230', not in the calendar"),
        (b"00004 0001 00000101 2 29.33", "the day is '00000101', not in the calendar"),
        (b"00004 0001 1997-1-1 2 29.33", "the day is '1997-1-1', not of the form YYYYMMDD"),
        (b"00004 0001 1997011 2 29.33", "the day is '1997011', not of the form YYYYMMDD"),
        *[
            (
                b"00004 0001 19970101 %s 29.33" % count,
                f"the number of CDs is {count.decode()!r}, not a whole number of at most 9 digits, and at least 1",
            )
            for count in (b"-2", b"0", b"two", b"2.0", b"1_0", b"+2", b"1234567890")
        ],
        *[
            (
                b"00004 0001 19970101 2 %s" % dollars,
                f"the amount is {dollars.decode()!r}, not an amount such as 12.50, of at most 12 digits",
            )
            for dollars in (b"29.333", b"NaN", b"Infinity", b"-1.00", b"1e3", b".5", b"5.", b"29,33", b"1_0", b"\x00")
        ],
        (b"00004 0001 19970101 2 29.3\xb3", "byte 27 is 0xb3, which is not ASCII"),
        ("00004 0001 19970101 2 29.3\N{ARABIC-INDIC DIGIT THREE}".encode(), "byte 27 is 0xd9, which is not ASCII"),
        (
            b"00004 0001 19970101 2 " + b"9" * 5000,
            "the amount is '99999999999999999999...', not an amount such as 12.50, of at most 12 digits",
        ),
    ],
)
def test_a_malformed_line_is_refused_with_what_is_wrong(line: bytes, problem: str) -> None:
    """The error has the number and the fault as attributes, and its text shows both, never more than 20 characters."""
    with pytest.raises(MalformedLine) as caught:
        parse(12, line)

    assert (12, problem, f"line 12: {problem}") == (caught.value.line, caught.value.problem, str(caught.value))


def test_blank_lines_are_skipped_and_counted(tmp_path: Path) -> None:
    """The numbers are those that an editor shows."""
    log = tmp_path / "log.txt"
    log.write_bytes(GOOD + b"\r\n\r\n" + GOOD + b"\n   \n\n")

    assert [(1, GOOD + b"\r"), (3, GOOD)] == read_lines(log)


def test_a_byte_order_mark_before_the_first_line_is_no_fault(tmp_path: Path) -> None:
    """Editors write it; it is not part of the first column. Anywhere else it is not ASCII."""
    log = tmp_path / "log.txt"
    log.write_bytes(b"\xef\xbb\xbf" + GOOD)

    assert [(1, GOOD)] == read_lines(log)


@pytest.mark.parametrize("content", [b"", b"\r\n \n", b"\xef\xbb\xbf"])
def test_a_log_without_lines_is_unusable(content: bytes, tmp_path: Path) -> None:
    """An empty log is a wrong file, not a shop without customers."""
    log = tmp_path / "log.txt"
    log.write_bytes(content)

    with pytest.raises(LogUnusable, match="holds no lines") as caught:
        read_lines(log)

    assert log == caught.value.path


def test_a_file_that_cannot_be_read_is_unusable(tmp_path: Path) -> None:
    """Missing or a folder: the system's reason is told, and kept as the cause."""
    with pytest.raises(LogUnusable, match="No such file") as missing:
        read_lines(tmp_path / "missing.txt")
    with pytest.raises(LogUnusable, match="Is a directory") as folder:
        read_lines(tmp_path)

    assert (FileNotFoundError, IsADirectoryError) == (type(missing.value.__cause__), type(folder.value.__cause__))


def test_a_log_is_known_by_what_its_lines_say(tmp_path: Path) -> None:
    """Their ends do not matter; their numbers do, because a purchase is known by them."""
    names = {"unix": b"a\nb\n", "windows": b"a\r\nb\r\n", "blank line": b"a\n\nb\n", "other": b"a\nc\n"}
    known = {}
    for name, content in names.items():
        log = tmp_path / name
        log.write_bytes(content)
        known[name] = identity(read_lines(log))

    assert known["unix"] == known["windows"]
    assert 3 == len(set(known.values()))
