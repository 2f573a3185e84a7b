"""What a command of ``cqrs`` is made of, and what several of them ask for."""

from __future__ import annotations

import argparse
import re
import sys
import uuid
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

T = TypeVar("T")

#: What a duration is written in.
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_MOST_DAYS = 36_500


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


def add_commands(
    actions: Any,  # noqa: ANN401 - what add_subparsers() gives has no public name
    commands: Iterable[Command[T]],
    *,
    add_target: Callable[[argparse.ArgumentParser], None],
    run: Callable[[Command[T], argparse.Namespace], int],
) -> None:
    """
    Teach a command line several commands; what is parsed has an attribute ``do`` to be called with it.

    Args:
        actions: What ``ArgumentParser.add_subparsers`` gives.
        commands: In the order of the help.
        add_target: Tells a parser what all of them ask for, before what each does.
        run: Opens what they look after, has one of them do its work, and answers the exit code.
    """
    for command in commands:
        parser = actions.add_parser(command.name, help=command.help)
        add_target(parser)
        command.add_arguments(parser)
        parser.set_defaults(do=partial(_check_and_run, parser, command, run))


def _check_and_run(
    parser: argparse.ArgumentParser,
    command: Command[T],
    run: Callable[[Command[T], argparse.Namespace], int],
    options: argparse.Namespace,
) -> int:
    command.check(parser, options)
    return run(command, options)


def add_nothing(_parser: argparse.ArgumentParser) -> None:
    """Ask for nothing more."""


def count(text: str) -> int:
    """
    Read how many of something are wanted.

    Raises:
        ArgumentTypeError: It is no number, or one that makes no sense.
    """
    if not text.isascii() or not text.isdecimal() or len(text) > len(str(10**6)) or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to {10**7 - 1}.")
    return int(text)


def duration(text: str) -> timedelta:
    """
    Read a duration: a number and its unit, such as ``30d``.

    Raises:
        ArgumentTypeError: It is none, or longer than a hundred years.
    """
    found = re.fullmatch(r"(\d{1,12})([smhdw])", text, re.ASCII)
    if found is not None:
        with suppress(OverflowError):
            length = timedelta(**{_UNITS[found[2]]: int(found[1])})
            if length.days <= _MOST_DAYS:
                return length
    expected = "a number and its unit, s, m, h, d or w, such as 30d; at most a hundred years"
    raise argparse.ArgumentTypeError(f"{text!r} is no duration. Write {expected}.")


def uuid_of(kind: str) -> Callable[[str], uuid.UUID]:
    """Make what reads the id of a *kind*, such as a message; it raises ``ArgumentTypeError`` if it is none."""

    def read(text: str) -> uuid.UUID:
        try:
            return uuid.UUID(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r} is no id of a {kind}, which is a UUID.") from error

    return read


def write(text: str) -> None:
    """Tell whoever has called the command."""
    sys.stdout.write(f"{text}\n")


def add_json(parser: argparse.ArgumentParser) -> None:
    """Let a command write for programs."""
    parser.add_argument("--json", action="store_true", help="write JSON, for programs")
