"""The commands of scripts/services."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from . import debian
from .connect import CONNECT
from .control import Control
from .folders import usual_folder
from .kafka import KAFKA
from .mariadb import MARIADB
from .postgres import POSTGRES
from .redis import REDIS
from .service import Server, Service, ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SERVICES = (REDIS, POSTGRES, MARIADB, KAFKA, CONNECT)

HELP = """\
Start, find and stop the real servers that some tests need, on free ports of 127.0.0.1, with their data in a temporary
folder:

    eval "$(scripts/services start)"     starts what does not run yet and sets TEST_REDIS_URL and the like
    eval "$(scripts/services status)"    the same, for what runs already
    scripts/services stop                ends what was started, and removes its data

Only the lines for eval go to stdout. The exit code is 0 when all that was asked for runs (or, for stop, has ended).
"""


def say(text: str) -> None:
    """Tell the person; stdout belongs to the shell."""
    print(text, file=sys.stderr)


def export(service: Service, server: Server) -> None:
    """Print the line for eval, and say what runs."""
    url = service.url(server.port)
    say(f"{service.name}: pid {server.pid}, {url}")
    print(f"export {service.variable}={shlex.quote(url)}", flush=True)


def start(control: Control, services: Sequence[Service], install: Callable[[Sequence[str]], None]) -> bool:
    """Start all that can be had, installing what is missing, and answer whether that is everything."""
    all_run = True
    missing = [package for service in services for package in service.missing_packages()]
    if missing:
        try:
            install(missing)
        except ServiceError as problem:
            all_run = False
            say(f"scripts/services: {problem}")
            services = [service for service in services if service.installed_at() is not None]
    for service in services:
        try:
            export(service, control.start(service))
        except ServiceError as problem:
            all_run = False
            say(f"scripts/services: {problem}")
    return all_run


def status(control: Control, services: Sequence[Service]) -> bool:
    """Tell what runs and answer whether everything does."""
    all_run = True
    for service in services:
        server = control.running(service)
        if server is not None and control.answers(service, server):
            export(service, server)
            continue
        all_run = False
        say(f"{service.name}: not running" if server is None else f"{service.name}: pid {server.pid}, does not answer")
    return all_run


def stop(control: Control, services: Sequence[Service]) -> bool:
    """Stop all and answer whether that went well."""
    all_ended = True
    for service in services:
        try:
            say(f"{service.name}: {'stopped' if control.stop(service) else 'was not running'}")
        except ServiceError as problem:
            all_ended = False
            say(f"scripts/services: {problem}")
    return all_ended


def main(
    arguments: Sequence[str],
    *,
    services: Sequence[Service] = SERVICES,
    install: Callable[[Sequence[str]], None] = debian.install,
    control: Callable[[Path], Control] = Control,
) -> int:
    """Do what *arguments* ask for, and answer the exit code."""
    by_name = {service.name: service for service in services}
    parser = argparse.ArgumentParser(
        "scripts/services", description=HELP, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("command", choices=["start", "status", "stop"])
    usual = ", ".join(service.name for service in services if service.is_usual)
    others = ", ".join(service.name for service in services if not service.is_usual)
    names = f"{usual} unless named{f'; there is {others}, too' if others else ''}"
    parser.add_argument("names", nargs="*", metavar="NAME", help=names)
    parser.add_argument(
        "--folder",
        type=Path,
        default=usual_folder(),
        help="where they are remembered and have their data; unless given, one in the\n"
        "temporary folder for this user and checkout. Who has a folder to itself\nhas servers to itself.",
    )
    asked = parser.parse_args(arguments)
    if unknown := sorted(set(asked.names) - set(by_name)):
        parser.error(f"there is no {', '.join(unknown)}; there is {', '.join(by_name)}")
    try:
        controls = control(asked.folder.absolute())
    except ServiceError as problem:
        say(f"scripts/services: {problem}")
        return 1
    chosen = [by_name[name] for name in dict.fromkeys(asked.names)] or [
        service for service in services if service.is_usual or asked.command == "stop" or controls.running(service)
    ]
    if asked.command == "start":
        well = start(controls, chosen, install)
    elif asked.command == "status":
        well = status(controls, chosen)
    else:
        well = stop(controls, chosen)
    return 0 if well else 1
