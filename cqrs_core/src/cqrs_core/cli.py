"""The command ``cqrs``: plug-ins, the loops of an App in a process of their own, storages, dead letters, sagas."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import signal
import sys
import traceback
import warnings
from typing import TYPE_CHECKING

from cqrs_core.app_target import add_app_target, find_app
from cqrs_core.deadletter_commands import add_deadletter_commands
from cqrs_core.errors import CqrsError
from cqrs_core.plugins import Plugin, PluginWarning, installed
from cqrs_core.saga_commands import add_saga_commands
from cqrs_core.storage_commands import add_storage_commands

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cqrs_core.app import App


def main(arguments: Sequence[str] | None = None, *, program: str = "cqrs") -> int:
    """
    Do what the command line says.

    Args:
        arguments: The words after the command; those of this process unless given.
        program: How the command is called in its own texts.

    Returns:
        The exit code: 0, or 1 if something is wrong, which standard error or the list of plug-ins tells. What cannot
        be understood ends the process with 2.
    """
    parser = argparse.ArgumentParser(
        prog=program, description="Plug-ins, processes, storages, dead letters and sagas of cqrs_core."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    plugins = commands.add_parser("plugins", help="list the plug-ins that are installed, and what is wrong with them")
    plugins.add_argument("--json", action="store_true", help="write JSON, for programs")
    run = commands.add_parser("run", help="run the loops of an App until SIGINT or SIGTERM; a second one ends at once")
    add_app_target(run)
    run.add_argument("--only", metavar="LOOPS", help="run these alone, separated by commas: consumers, relay, sagas")
    add_storage_commands(commands.add_parser)
    add_deadletter_commands(commands.add_parser)
    add_saga_commands(commands.add_parser)
    options = parser.parse_args(arguments)
    if options.command == "plugins":
        return list_plugins(as_json=options.json)
    if options.command != "run":
        code: int = options.do(options)
        return code
    return run_app(options.target, None if options.only is None else options.only.replace(" ", "").split(","))


# cqrs plugins --------------------------------------------------------------------------------------------------------


def list_plugins(*, as_json: bool) -> int:
    """Print the plug-ins that are installed; answer 1 if one of them cannot be used."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PluginWarning)  # the list says the same
        plugins = installed()
    if as_json:
        text = json.dumps([dataclasses.asdict(plugin) for plugin in plugins], indent=2)
    else:
        text = "\n".join(line for plugin in plugins for line in _described(plugin))
    sys.stdout.write(f"{text}\n")
    # To switch one off is a decision, not a fault.
    return 0 if all(plugin.status in {"ok", "disabled"} for plugin in plugins) else 1


def _described(plugin: Plugin) -> Iterator[str]:
    yield f"{plugin.entry_point} ({plugin.distribution} {plugin.version}): {plugin.status}"
    for backend in plugin.backends:
        schemes = "".join(f"  {scheme}://" for scheme in backend.schemes)
        yield f"  {backend.kind.replace('_', ' ')} {backend.name}{schemes}"
    for text in filter(None, [plugin.error, plugin.cure]):
        yield f"  {text}"


# cqrs run ------------------------------------------------------------------------------------------------------------


def run_app(target: str, only: Sequence[str] | None) -> int:
    """Run the loops of an App until a signal ends it; answer the exit code."""
    try:
        asyncio.run(_run(find_app(target), only))
    except CqrsError as error:
        _say(f"{type(error).__name__}: {error}")
    except asyncio.CancelledError:
        _say("Ended at once. What was under way was cancelled.")
    except Exception:  # noqa: BLE001 - the end of the process: its traceback is all that can be done
        traceback.print_exc()
    else:
        return 0
    return 1


async def _run(app: App, only: Sequence[str] | None) -> None:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    is_running, is_stopping = asyncio.Event(), asyncio.Event()

    def stop() -> None:
        # What has only begun to start, such as a broker that does not answer, is not waited for.
        if task is not None and (is_stopping.is_set() or not is_running.is_set()):
            task.cancel()
        is_stopping.set()

    _call_on_signals(loop, stop)
    async with app.running(only=only):
        is_running.set()
        _say(f"{app.name} is running. Ctrl-C stops it.")
        await is_stopping.wait()
        _say(f"{app.name} is stopping. Ctrl-C again ends it at once.")


def _call_on_signals(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    """Have *call* called by the loop, each time that the process is asked to end."""
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, call)
        except NotImplementedError:  # the loops of Windows leave signals to Python
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(call))


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
