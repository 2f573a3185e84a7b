"""Finds the App that a command line means by ``MODULE:APP``."""

from __future__ import annotations

import argparse
import importlib
import inspect
import sys
from difflib import get_close_matches
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING

from cqrs_core.app import App
from cqrs_core.errors import CqrsError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType


class AppNotFound(CqrsError, LookupError):
    """
    ``MODULE:APP`` does not lead to an App.

    Attributes:
        target: What was given.
    """

    def __init__(self, target: str, problem: str) -> None:
        self.target = target
        super().__init__(f"{target!r} leads to no App: {problem}")


def add_app_target(parser: argparse.ArgumentParser) -> None:
    """Let a command ask for an App; what is parsed has it as ``target``."""
    parser.add_argument(
        "target", metavar="MODULE:APP", type=_target, help="an App, or a function that makes one, such as shop.main:app"
    )


def _target(text: str) -> str:
    module, _, path = text.partition(":")
    if not all(name.isidentifier() for name in [*module.split("."), *path.split(".")]):
        raise argparse.ArgumentTypeError(f"{text!r} does not look like shop.main:app")
    return text


def find_app(target: str) -> App:
    """
    Import an App, with the current directory first among the places to look.

    Args:
        target: ``"module:attribute.path"``, which leads to an App or to a function that makes one.

    Raises:
        AppNotFound: It does not.
        Exception: Whatever the module raises while it is imported.
    """
    name, _, path = target.partition(":")
    found: object = _imported(target, name)
    for attribute in path.split("."):
        try:
            found = getattr(found, attribute)
        except AttributeError as error:
            problem = f"{name} has no {attribute!r}.{_near_miss(attribute, dir(found))}"
            raise AppNotFound(target, problem) from error
        name = f"{name}.{attribute}"
    if not isinstance(found, App):
        found = _made(target, name, found)
    return found


def _imported(target: str, name: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if not f"{name}.".startswith(f"{error.name}."):
            raise  # it is there, and imports something that is not
        package, _, _ = str(error.name).rpartition(".")
        folders = getattr(sys.modules.get(package), "__path__", [here])
        prefix = f"{package}." if folders != [here] else ""
        modules = [module.name for module in iter_modules(folders, prefix)]
        raise AppNotFound(target, f"there is no module {error.name!r}.{_near_miss(error.name, modules)}") from error


def _made(target: str, name: str, make: object) -> App:
    try:
        inspect.signature(make).bind()  # type: ignore[arg-type]  # what cannot be called is a TypeError
    except (TypeError, ValueError) as error:
        problem = f"{name} is of type {type(make).__qualname__}; it must be an App, or a function without arguments."
        raise AppNotFound(target, problem) from error
    app: object = make()  # type: ignore[operator]  # it has a signature
    if not isinstance(app, App):
        raise AppNotFound(target, f"{name}() made an object of type {type(app).__qualname__}.")
    return app


def _near_miss(wanted: object, known: Iterable[str]) -> str:
    return "".join(f" Did you mean {name!r}?" for name in get_close_matches(str(wanted), known, n=1))
