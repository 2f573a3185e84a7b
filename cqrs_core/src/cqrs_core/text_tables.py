"""Texts for people and programs: tables, columns and bodies that do not break a terminal."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from cqrs_core.envelope import Envelope

#: What texts are cut to in a table.
_LONGEST = 60
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86_400


def table(rows: Sequence[tuple[str, ...]]) -> str:
    """Write rows below each other, each column as wide as its widest text."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def columns(facts: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Write facts below each other: their names, and then what they are."""
    facts = list(facts)
    width = max((len(name) for name, _ in facts), default=0)
    return (f"{name:<{width}}  {text}" for name, text in facts)


def described_message(envelope: Envelope) -> list[str]:
    """Write the headers and the body of a message for people."""
    headers = sorted((f"  {shown(name)}", shown(value)) for name, value in envelope.headers.items())
    text = text_of(envelope.body)
    size = f"body, {len(envelope.body)} bytes"
    if text is None:
        body = [f"{size} that are no text, in base64", base64.b64encode(envelope.body).decode()]
    else:
        body = [size, text]
    return ["headers", *columns(headers), *body]


def body_facts(body: bytes) -> dict[str, str]:
    """Give the body of a message for programs: as text, or else in base64."""
    text = text_of(body)
    return {"body_base64": base64.b64encode(body).decode()} if text is None else {"body": text}


def text_of(body: bytes) -> str | None:
    """Read a body as text, if it is text: UTF-8, without characters that steer a terminal."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None
    # Alone, a carriage return would hide what stands before it.
    return text if all(c.isprintable() or c in "\t\n" for c in text.replace("\r\n", "\n")) else None


def moment(time: datetime) -> str:
    """Write a time."""
    return time.isoformat(sep=" ", timespec="seconds")


def duration_text(seconds: float) -> str:
    """Write how long something takes: two units at most."""
    if seconds < _MINUTE_S:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    if whole < _HOUR_S:
        return f"{whole // _MINUTE_S} min {whole % _MINUTE_S} s"
    if whole < _DAY_S:
        return f"{whole // _HOUR_S} h {whole % _HOUR_S // _MINUTE_S} min"
    return f"{whole // _DAY_S} d {whole % _DAY_S // _HOUR_S} h"


def shown(text: str) -> str:
    """Write text so that it neither breaks a table nor steers a terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shortened(text: str) -> str:
    """Write text so that it fits a table, and ends in dots if it was longer."""
    text = shown(text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
