"""The commands of ``cqrs sagas``: what is under way, what waits for a person, and what a person decides about it."""

from __future__ import annotations

import argparse
import json
from functools import partial
from typing import TYPE_CHECKING, Any

from cqrs_core.app_target import add_app_target, find_app
from cqrs_core.commands import Command, add_commands, add_json, add_nothing, count, duration, uuid_of, write
from cqrs_core.errors import CqrsError, SagaNotFound
from cqrs_core.exit_codes import exit_code_of
from cqrs_core.saga.log import SagaStatus
from cqrs_core.saga.storage import SagaQuery
from cqrs_core.saga_tables import described, described_figures, figures_json, listed, record_json, records_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from cqrs_core.app import App
    from cqrs_core.saga.administration import SagaAdministration


class SagasInMemory(CqrsError, TypeError):
    """
    The sagas of an App are in the memory of the process that runs them, where no command sees them.

    Attributes:
        app: What the App is called.
    """

    def __init__(self, app: str) -> None:
        self.app = app
        super().__init__(
            f"The sagas of {app} are in the memory of the process that runs them. Give the App a storage that keeps "
            "them, such as App(storage='postgresql://...'), or decide in that process: App.saga_administration()."
        )


def add_saga_commands(add_command: Callable[..., argparse.ArgumentParser]) -> None:
    """
    Teach a command line ``sagas``; what is parsed has an attribute ``do`` to be called with it.

    Args:
        add_command: As ``add_parser`` of what ``ArgumentParser.add_subparsers`` gives.
    """
    sagas = add_command("sagas", help="look after sagas: those that wait for a person first of all")
    actions = sagas.add_subparsers(dest="action", required=True, metavar="ACTION")
    add_commands(actions, SAGA_COMMANDS, add_target=_add_target, run=_run)


def _add_target(parser: argparse.ArgumentParser) -> None:
    add_app_target(parser)
    add_json(parser)


def _run(command: Command[SagaAdministration], options: argparse.Namespace) -> int:
    # It is found before a loop runs, as for `cqrs run`: its module, or a function that makes it, may run one.
    return exit_code_of(lambda: _administrate(command, find_app(options.target), options))


async def _administrate(command: Command[SagaAdministration], app: App, options: argparse.Namespace) -> int:
    async with app.saga_administration() as administration:
        if not administration.storage.is_durable:
            raise SagasInMemory(app.name)
        return await command.do(administration, options)


# What the commands ask for -------------------------------------------------------------------------------------------


def _fields(text: str) -> dict[str, Any]:
    try:
        found: object = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no JSON: {error}.") from error
    if not isinstance(found, dict):
        raise argparse.ArgumentTypeError(f"{text!r} is no JSON object, such as '{{\"amount\": 5}}'.")
    return found


def _add_list(parser: argparse.ArgumentParser) -> None:
    statuses = [status.value for status in SagaStatus]
    parser.add_argument("--status", action="append", choices=statuses, help="only these; may be given several times")
    parser.add_argument("--name", help="only sagas of this name")
    parser.add_argument("--overdue", type=duration, metavar="DURATION", help="only those due for so long, such as 5m")
    parser.add_argument("--limit", type=count, default=100, help="how many at most; 100 unless given")


def _add_id(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--id", type=uuid_of("saga"), required=True, help="the id of the saga")


def _add_decision(parser: argparse.ArgumentParser) -> None:
    _add_id(parser)
    parser.add_argument("--actor", required=True, help="who decides; kept in the history of the saga")
    parser.add_argument("--reason", required=True, help="why; kept as well")


def _add_decision_with_context(parser: argparse.ArgumentParser) -> None:
    _add_decision(parser)
    parser.add_argument(
        "--context", type=_fields, metavar="JSON", help="fields of the context to be changed, such as '{\"amount\": 5}'"
    )


def _add_resolve(parser: argparse.ArgumentParser) -> None:
    _add_decision_with_context(parser)
    answers = parser.add_mutually_exclusive_group(required=True)
    answers.add_argument("--took-effect", action="store_true", help="it did: it is taken for done")
    answers.add_argument("--no-effect", action="store_true", help="it did not: what was done before it is undone")


def _add_purge(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--older-than", type=duration, required=True, metavar="DURATION", help="ended longer ago, such as 30d"
    )
    parser.add_argument("--limit", type=count, default=10_000, help="how many at most; 10000 unless given")


# What they do --------------------------------------------------------------------------------------------------------


async def _status(administration: SagaAdministration, options: argparse.Namespace) -> int:
    figures = await administration.storage.figures()
    write(figures_json(figures) if options.json else described_figures(figures))
    return 1 if figures.suspended else 0


async def _list(administration: SagaAdministration, options: argparse.Namespace) -> int:
    overdue_s = None if options.overdue is None else options.overdue.total_seconds()
    statuses = [SagaStatus(word) for word in options.status or ()]
    query = SagaQuery(options.name, statuses, overdue_s, options.limit)
    records = await administration.storage.find(query)
    write(records_json(records) if options.json else listed(records, limit=options.limit))
    return 0


async def _show(administration: SagaAdministration, options: argparse.Namespace) -> int:
    storage = administration.storage
    record = await storage.load(options.id)
    if record is None:
        raise SagaNotFound(options.id)
    history = await storage.get_step_history(options.id)
    write(record_json(record, history) if options.json else described(record, history))
    return 0


async def _decide(name: str, administration: SagaAdministration, options: argparse.Namespace) -> int:
    given = {"context": options.context} if "context" in options else {}
    if name == "resolve":
        given["took_effect"] = options.took_effect
    record = await getattr(administration, name)(options.id, actor=options.actor, reason=options.reason, **given)
    write(record_json(record) if options.json else f"The saga {record.id} is {record.status} now.")
    return 0


async def _purge(administration: SagaAdministration, options: argparse.Namespace) -> int:
    purged = await administration.storage.purge(options.older_than, limit=options.limit)
    write(
        json.dumps({"purged": purged}, indent=2)
        if options.json
        else f"Of the sagas that had ended, forgotten: {purged}."
    )
    return 0


def _decision(
    name: str, text: str, add: Callable[[argparse.ArgumentParser], None] = _add_decision
) -> Command[SagaAdministration]:
    return Command(name, text, add, partial(_decide, name))


#: In the order of the help.
SAGA_COMMANDS: tuple[Command[SagaAdministration], ...] = (
    Command("status", "tell how they do; 1 if one waits for a person", add_nothing, _status),
    Command("list", "list sagas, those that were written longest ago first", _add_list, _list),
    Command("show", "show one saga, with its context and its history", _add_id, _show),
    _decision("retry", "let a suspended saga go on in the direction that it had", _add_decision_with_context),
    _decision("skip", "take for done, by hand, what a suspended saga could not do", _add_decision_with_context),
    _decision("compensate", "undo a suspended saga, the step at work too"),
    _decision("resolve", "tell a suspended saga whether its step in doubt took effect", _add_resolve),
    _decision("cancel", "undo a saga that goes forward; its driver is fenced out"),
    _decision("abandon", "give a suspended saga up as it is, half done or half undone"),
    Command("purge", "forget, for good, sagas that ended long ago", _add_purge, _purge),
)
