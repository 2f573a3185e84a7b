"""The commands ``cqrs db`` and ``cqrs outbox``: what a storage can do for whoever looks after it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from cqrs_core.commands import add_commands
from cqrs_core.connector_command import add_connector_arguments, write_connector_config
from cqrs_core.errors import CqrsError, name_of
from cqrs_core.exit_codes import exit_code_of
from cqrs_core.outbox_commands import OUTBOX_COMMANDS
from cqrs_core.plugins import open_backend
from cqrs_core.storage import outbox_keeper_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Awaitable, Callable

    from cqrs_core.commands import Command
    from cqrs_core.outbox_keeper import OutboxKeeper
    from cqrs_core.storage import DebeziumSource, OutboxImporter, SchemaKeeper, Storage

#: What is done with the tables, and the words that stand for it in the help.
_TABLE_COMMANDS = {
    "ddl": "write the statements that make the tables, without connecting",
    "create": "make the tables that are missing; where there are migrations, use those",
    "check": "tell what is wrong with the tables, and how to mend it",
}


class NoSuchCommand(CqrsError, TypeError):
    """
    A storage does not offer what a command asks of it.

    Attributes:
        storage: It.
    """

    def __init__(self, storage: object, problem: str) -> None:
        self.storage = storage
        super().__init__(f"{name_of(type(storage))} {problem}")


def add_storage_commands(add_command: Callable[..., argparse.ArgumentParser]) -> None:
    """
    Teach a command line ``db`` and ``outbox``; what is parsed has an attribute ``do`` to be called with it.

    Args:
        add_command: As ``add_parser`` of what ``ArgumentParser.add_subparsers`` gives.
    """
    db = add_command("db", help="make and check the tables of a storage")
    actions = db.add_subparsers(dest="action", required=True, metavar="ACTION")
    for action, text in _TABLE_COMMANDS.items():
        parser = actions.add_parser(action, help=text)
        _add_storage(parser)
        parser.set_defaults(do=lambda options: _on_storage(options.storage, _TABLE_ACTIONS[options.action]))
    outbox = add_command("outbox", help="look after the messages that wait to be sent")
    actions = outbox.add_subparsers(dest="action", required=True, metavar="ACTION")
    parser = actions.add_parser("import", help="take over what python-cqrs has in its outbox and has not delivered")
    _add_storage(parser)
    parser.add_argument("--from", dest="table", metavar="TABLE", required=True, help="what its outbox is called")
    parser.set_defaults(do=lambda options: _on_storage(options.storage, lambda s: _import(s, options.table)))
    parser = actions.add_parser("debezium-config", help="write the settings with which Debezium sends the outbox")
    _add_storage(parser)
    add_connector_arguments(parser)
    parser.set_defaults(do=lambda options: _on_storage(options.storage, lambda s: _configure(s, options)))
    add_commands(actions, OUTBOX_COMMANDS, add_target=_add_storage, run=_on_keeper)


def _on_keeper(command: Command[OutboxKeeper], options: argparse.Namespace) -> int:
    return _on_storage(options.storage, lambda storage: command.do(_outbox_keeper(storage), options))


def _add_storage(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("storage", metavar="STORAGE_URL", help="as the App has it, such as sqlite:///shop.db")


def _on_storage(url: str, do: Callable[[Storage], Awaitable[int]]) -> int:
    """Open a storage, do something with it, and answer the exit code."""

    async def open_and_do() -> int:
        storage = open_backend("storage", url)
        try:
            return await do(storage)
        finally:
            await storage.stop()

    return exit_code_of(open_and_do)


def _keeper(storage: Storage) -> SchemaKeeper:
    if not all(callable(getattr(storage, name, None)) for name in _TABLE_COMMANDS):
        raise NoSuchCommand(storage, "has no tables that could be made or checked.")
    return storage  # type: ignore[return-value]  # it has the methods


def _outbox_keeper(storage: Storage) -> OutboxKeeper:
    keeper = outbox_keeper_of(storage)
    if keeper is None:
        raise NoSuchCommand(storage, "does not show what is in its outbox.")
    return keeper


async def _ddl(storage: Storage) -> int:
    sys.stdout.write(_keeper(storage).ddl())
    return 0


async def _create(storage: Storage) -> int:
    await _keeper(storage).create()
    return await _check(storage)


async def _check(storage: Storage) -> int:
    problems = await _keeper(storage).check()
    sys.stdout.write("".join(f"{problem}\n" for problem in problems) or "The tables are as they should be.\n")
    return 1 if problems else 0


async def _import(storage: Storage, table: str) -> int:
    if not callable(getattr(storage, "import_outbox", None)):
        raise NoSuchCommand(storage, "cannot take over an outbox.")
    importer: OutboxImporter = storage  # type: ignore[assignment]  # it has the method
    report = await importer.import_outbox(table)
    sys.stdout.write(f"Moved from {table}: {report.moved}. Left there: {len(report.left)}.\n")
    sys.stdout.write("".join(f"{text}\n" for text in report.left))
    return 1 if report.left else 0


async def _configure(storage: Storage, options: argparse.Namespace) -> int:
    if not callable(getattr(storage, "debezium_config", None)):
        raise NoSuchCommand(storage, "has no outbox that Debezium could send.")
    source: DebeziumSource = storage  # type: ignore[assignment]  # it has the method
    return write_connector_config(source, options)


_TABLE_ACTIONS = {"ddl": _ddl, "create": _create, "check": _check}
