"""The commands of ``cqrs outbox`` that show what is in it, and mend what went wrong: what each asks for, and does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cqrs_core.commands import Command, add_json, count, duration, uuid_of, write
from cqrs_core.errors import CqrsError
from cqrs_core.outbox_keeper import Selection
from cqrs_core.outbox_tables import as_json, described, described_status, listed

if TYPE_CHECKING:
    import argparse
    import uuid

    from cqrs_core.outbox_keeper import OutboxKeeper


class NoSuchMessage(CqrsError, LookupError):
    """
    Neither among those that wait nor among the dead is there such a message.

    Attributes:
        id: The id that was looked for.
    """

    def __init__(self, message_id: uuid.UUID, problem: str) -> None:
        self.id = message_id
        super().__init__(f"There is no message {message_id} {problem}")


# What the commands ask for -------------------------------------------------------------------------------------------


def _add_selection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--id", type=uuid_of("message"), help="only the message of this id")
    parser.add_argument("--key", help="only messages of this key")
    parser.add_argument("--topic", help="only messages to this topic")


def _add_list(parser: argparse.ArgumentParser) -> None:
    _add_selection(parser)
    parser.add_argument("--dead", action="store_true", help="those that were given up, instead of those that wait")
    parser.add_argument("--limit", type=count, default=100, help="how many at most; 100 unless given")
    parser.add_argument("--after", type=int, default=0, metavar="POSITION", help="only those behind this position")
    add_json(parser)


def _add_show(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--id", type=uuid_of("message"), required=True, help="the id of the message")
    add_json(parser)


def _add_requeue(parser: argparse.ArgumentParser) -> None:
    _add_selection(parser)
    parser.add_argument("--all", action="store_true", help="all of them")
    parser.add_argument("--dead", action="store_true", help="only those that were given up, none that waits")
    add_json(parser)


def _add_purge(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--older-than", type=duration, required=True, metavar="DURATION", help="given up longer ago, such as 30d"
    )
    _add_selection(parser)
    add_json(parser)


def _check_requeue(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    is_selected = _selection(options) != Selection()
    if is_selected == options.all:
        parser.error("say which messages: by --id, --key or --topic, or --all of them")


def _selection(options: argparse.Namespace) -> Selection:
    return Selection(id=options.id, key=options.key, topic=options.topic)


# What they do --------------------------------------------------------------------------------------------------------


async def _status(keeper: OutboxKeeper, options: argparse.Namespace) -> int:
    status = await keeper.status()
    write(as_json(status) if options.json else described_status(status))
    return 1 if status.needs_a_person else 0


async def _list(keeper: OutboxKeeper, options: argparse.Namespace) -> int:
    which = _selection(options)
    entries = await keeper.look(which, among_dead=options.dead, after=options.after, limit=options.limit)
    write(as_json(entries) if options.json else listed(entries, are_dead=options.dead, limit=options.limit))
    return 0


async def _show(keeper: OutboxKeeper, options: argparse.Namespace) -> int:
    which = Selection(id=options.id)
    entries = [*await keeper.look(which), *await keeper.look(which, among_dead=True)]
    if not entries:
        raise NoSuchMessage(options.id, "in the outbox, nor among the dead: it was sent, or purged, or never written.")
    write(as_json(entries) if options.json else "\n\n".join(map(described, entries)))
    return 0


async def _requeue(keeper: OutboxKeeper, options: argparse.Namespace) -> int:
    which = _selection(options)
    let_go = 0 if options.dead else await keeper.let_go(which)
    requeued = await keeper.requeue(which)
    if options.id is not None and not let_go + requeued:
        raise NoSuchMessage(options.id, "that was given up, or waits because it was refused.")
    facts = {"requeued": requeued, "let_go": let_go}
    write(as_json(facts) if options.json else f"Of the dead, wait again: {requeued}. Let go: {let_go}.")
    return 0


async def _purge(keeper: OutboxKeeper, options: argparse.Namespace) -> int:
    purged = await keeper.purge(options.older_than, _selection(options))
    write(as_json({"purged": purged}) if options.json else f"Of the dead, forgotten: {purged}.")
    return 0


#: In the order of the help.
OUTBOX_COMMANDS: tuple[Command[OutboxKeeper], ...] = (
    Command("status", "tell how it does; 1 if something needs a person", add_json, _status),
    Command("list", "list messages that wait, or that were given up", _add_list, _list),
    Command("show", "show one message, with its headers and its body", _add_show, _show),
    Command("requeue", "send again what was given up or waits", _add_requeue, _requeue, _check_requeue),
    Command("purge", "forget, for good, what was given up long ago", _add_purge, _purge),
)
