"""What a command of ``cqrs`` is made of, and what several of them ask for."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")


def check_nothing(_parser: argparse.ArgumentParser, _options: argparse.Namespace) -> None:
    """Find nothing wrong."""


@dataclass(frozen=True, slots=True)
class Command(Generic[T]):
    """
    One command.

    Attributes:
        name: What it is called.
        help: What it does.
        add_arguments: Tells a parser what it asks for, beside what all commands of its kind do.
        do: Does it, with what it looks after, and answers the exit code.
        check: Refuses options that do not go together.
    """

    name: str
    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    do: Callable[[T, argparse.Namespace], Awaitable[int]]
    check: Callable[[argparse.ArgumentParser, argparse.Namespace], None] = check_nothing


def count(text: str) -> int:
    """
    Read how many of something are wanted.

    Raises:
        ArgumentTypeError: It is no number, or one that makes no sense.
    """
    if not text.isascii() or not text.isdecimal() or len(text) > len(str(10**6)) or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to {10**7 - 1}.")
    return int(text)


def add_json(parser: argparse.ArgumentParser) -> None:
    """Let a command write for programs."""
    parser.add_argument("--json", action="store_true", help="write JSON, for programs")
