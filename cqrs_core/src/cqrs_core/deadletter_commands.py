"""The commands of ``cqrs deadletters``: what was given up by those who consume, and how it is sent back."""

from __future__ import annotations

import json
from contextlib import aclosing
from typing import TYPE_CHECKING

from cqrs_core import envelope as header
from cqrs_core.commands import Command, add_commands, add_json, add_nothing, count, write
from cqrs_core.consumer.dead_letter_topic import DeadLetters, LetterSelection
from cqrs_core.errors import CqrsError
from cqrs_core.exit_codes import exit_code_of
from cqrs_core.plugins import open_backend
from cqrs_core.text_tables import body_facts, columns, described_message, moment, shortened, shown, table

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncGenerator, Callable, Sequence

    from cqrs_core.consumer.dead_letter_topic import DeadLetter, Replay


class NoSuchLetter(CqrsError, LookupError):
    """
    There is no dead letter of an id, or at a position, that was not sent back already.

    Attributes:
        which: What was looked for.
    """

    def __init__(self, which: LetterSelection, topic: str) -> None:
        self.which = which
        wanted = f"the id {which.id}" if which.id is not None else f"the position {which.position}"
        super().__init__(
            f"There is no dead letter with {wanted} in {topic}: it was sent back, or has never been there."
        )


def add_deadletter_commands(add_command: Callable[..., argparse.ArgumentParser]) -> None:
    """
    Teach a command line ``deadletters``; what is parsed has an attribute ``do`` to be called with it.

    Args:
        add_command: As ``add_parser`` of what ``ArgumentParser.add_subparsers`` gives.
    """
    parser = add_command("deadletters", help="look after the messages that a consumer has given up")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    add_commands(actions, _COMMANDS, add_target=_add_target, run=_run)


def _add_target(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("broker", metavar="BROKER_URL", help="as the App has it, such as kafka://localhost:9092")
    parser.add_argument("dead_letter_topic", metavar="TOPIC", help="where they are, such as payments.shop.dead")
    parser.add_argument("--id", help="only those of this id (ce_id)")
    parser.add_argument("--position", help="only the one at this position of the dead-letter topic")
    parser.add_argument("--key", help="only those of this key")
    parser.add_argument("--topic", help="only those that came from this topic")
    parser.add_argument("--group", help="only those that this group gave up")
    add_json(parser)


def _run(command: Command[DeadLetters], options: argparse.Namespace) -> int:
    async def open_and_do() -> int:
        broker = open_backend("broker", options.broker)
        letters = DeadLetters(broker, options.dead_letter_topic)
        try:
            await broker.start()
            return await command.do(letters, options)
        finally:
            await broker.stop()

    return exit_code_of(open_and_do)


# What they ask for ---------------------------------------------------------------------------------------------------


def _add_list(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--limit", type=count, default=100, help="how many at most; 100 unless given")


def _add_all(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--all", action="store_true", help="all of them")


def _add_replay(parser: argparse.ArgumentParser) -> None:
    _add_all(parser)
    parser.add_argument(
        "--for-all-groups", action="store_true", help="let all groups handle them again, not only the one that failed"
    )


def _check_show(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    if options.id is None and options.position is None:
        parser.error("say which one: by --id or --position")


def _check_choice(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    is_selected = _selection(options) != LetterSelection()
    if is_selected == options.all:
        parser.error("say which ones: by --id, --position, --key, --topic or --group, or --all of them")


def _selection(options: argparse.Namespace) -> LetterSelection:
    return LetterSelection(
        id=options.id, position=options.position, key=options.key, topic=options.topic, group=options.group
    )


# What they do --------------------------------------------------------------------------------------------------------


async def _list(letters: DeadLetters, options: argparse.Namespace) -> int:
    found = await letters.look(_selection(options), limit=options.limit + 1)
    is_cut, found = len(found) > options.limit, found[: options.limit]
    write(_as_json(found) if options.json else _listed(found, is_cut=is_cut))
    return 0


async def _show(letters: DeadLetters, options: argparse.Namespace) -> int:
    which = _selection(options)
    found = await letters.look(which)
    if not found:
        raise NoSuchLetter(which, options.dead_letter_topic)
    write(_as_json(found) if options.json else "\n\n".join(map(_described, found)))
    return 0


async def _replay(letters: DeadLetters, options: argparse.Namespace) -> int:
    replays = letters.replay(_selection(options), for_all_groups=options.for_all_groups)
    return await _report(replays, options, done="Sent back", name="replayed")


async def _discard(letters: DeadLetters, options: argparse.Namespace) -> int:
    return await _report(letters.discard(_selection(options)), options, done="Discarded", name="discarded")


async def _report(replays: AsyncGenerator[Replay, None], options: argparse.Namespace, *, done: str, name: str) -> int:
    count_done, left = 0, []
    try:
        async with aclosing(replays):
            async for replay in replays:
                if replay.problem is None:
                    count_done += 1
                else:
                    left.append(replay)
    finally:  # also when it fails in between: those before are done
        if options.json:
            facts = [{"position": each.letter.position, "problem": each.problem} for each in left]
            write(json.dumps({name: count_done, "left": facts}, indent=2))
        else:
            write(f"{done}: {count_done}. Left there: {len(left)}.")
            for each in left:
                write(f"{each.letter.position}: {each.problem}.")
    if not count_done and not left and (options.id is not None or options.position is not None):
        raise NoSuchLetter(_selection(options), options.dead_letter_topic)
    return 1 if left else 0


# As texts ------------------------------------------------------------------------------------------------------------


def _as_json(letters: Sequence[DeadLetter]) -> str:
    return json.dumps([_plain(letter) for letter in letters], indent=2)


def _plain(letter: DeadLetter) -> dict[str, object]:
    message = letter.message
    return {
        "position": letter.position,
        "id": message.id,
        "topic": message.topic or None,
        "key": message.key,
        "type": message.headers.get(header.TYPE),
        "group": letter.group or None,
        "partition": letter.partition or None,
        "first_position": letter.first_position or None,
        "attempts": letter.attempts,
        "is_parked": letter.is_parked,
        "failed_at": None if letter.failed_at is None else letter.failed_at.isoformat(),
        "error_type": letter.error_type,
        "error": letter.error_text,
        "headers": dict(message.headers),
        **body_facts(message.body),
    }


def _listed(letters: Sequence[DeadLetter], *, is_cut: bool) -> str:
    if not letters:
        return "There are no dead letters that were not sent back."
    head = ("POSITION", "ID", "TOPIC", "GROUP", "KEY", "TYPE", "ATTEMPTS", "FAILED", "ERROR")
    text = table([head, *map(_row, letters)])
    return f"{text}\n\nThere are more: --limit shows them, or choose." if is_cut else text


def _row(letter: DeadLetter) -> tuple[str, ...]:
    message = letter.message
    return (
        letter.position,
        shown(message.id or "-"),
        shown(message.topic or "-"),
        shown(letter.group or "-"),
        "-" if message.key is None else shown(message.key),
        shown(message.headers.get(header.TYPE, "-")),
        str(letter.attempts),
        "-" if letter.failed_at is None else moment(letter.failed_at),
        shortened(_error(letter)),
    )


def _described(letter: DeadLetter) -> str:
    message = letter.message
    facts = [
        ("position", letter.position),
        ("topic", shown(message.topic or "unknown")),
        ("partition", shown(letter.partition or "unknown")),
        ("stood at", shown(letter.first_position or "unknown")),
        ("group", shown(letter.group or "unknown")),
        ("key", "none" if message.key is None else shown(message.key)),
        ("attempts", str(letter.attempts)),
        ("failed", "unknown" if letter.failed_at is None else moment(letter.failed_at)),
        ("error", shown(_error(letter))),
    ]
    return "\n".join([*columns(facts), *described_message(message)])


def _error(letter: DeadLetter) -> str:
    return f"{letter.error_type.rpartition('.')[2]}: {letter.error_text}" if letter.error_type else "-"


#: In the order of the help.
_COMMANDS: tuple[Command[DeadLetters], ...] = (
    Command("list", "list the dead letters that were not sent back", _add_list, _list),
    Command("show", "show one, with its headers and its body", add_nothing, _show, _check_show),
    Command("replay", "send them back to where they came from", _add_replay, _replay, _check_choice),
    Command("discard", "forget them, for good", _add_all, _discard, _check_choice),
)
