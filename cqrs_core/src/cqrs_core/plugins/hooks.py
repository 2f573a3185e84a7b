"""Calls the hooks of a plug-in; the only module that speaks to pluggy."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from cqrs_core.plugins import builtin, hookspecs
from cqrs_core.plugins.backends import Backend
from cqrs_core.plugins.errors import PluggyMissing
from cqrs_core.plugins.facts import Plugin
from cqrs_core.plugins.marker import PROJECT

if TYPE_CHECKING:
    from collections.abc import Sequence


def backends_of(plugin: object, name: str) -> tuple[Backend, ...]:
    """
    Ask one plug-in for its backends.

    Raises:
        TypeError: It has no hook, or its hook answers with something else.
        ValueError: Two of its backends have one name.
        Exception: Whatever pluggy finds wrong with its hooks, and whatever they raise.
    """
    import pluggy  # noqa: PLC0415 - a program without plug-ins does not need it

    # A manager for each: what is wrong with a plug-in is found while nothing of it stands beside the others, and two of
    # one name do not shut each other out, as they would in one manager.
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(hookspecs)
    manager.register(plugin, name)
    manager.check_pending()  # by itself, pluggy is silent about misspelt hooks
    if not manager.hook.cqrs_backends.get_hookimpls():
        raise TypeError("no function cqrs_backends() is marked with cqrs_core.plugins.hookimpl")
    answers: list[object] = manager.hook.cqrs_backends()
    if not answers:
        raise TypeError("cqrs_backends() returned None, not backends")
    backends: dict[tuple[str, str], Backend] = {}
    for backend in (found for answer in answers for found in (answer if isinstance(answer, Iterable) else [answer])):
        if not isinstance(backend, Backend):
            raise TypeError(f"cqrs_backends() returned {backend!r}, which is no Backend")
        if backends.setdefault((backend.kind, backend.name), backend) is not backend:
            raise ValueError(f"cqrs_backends() returned two of the kind {backend.kind} that are called {backend.name}")
    return tuple(backends.values())


def builtin_plugin() -> Plugin:
    """Tell what the core itself offers. Its hook is called by hand: pluggy may be missing."""
    # Of the package above nothing is needed but its number, so no import statement claims more.
    version: str = sys.modules["cqrs_core"].__version__
    return Plugin(entry_point="builtin", distribution="cqrs-core", version=version, backends=builtin.cqrs_backends())


def check_pluggy(plugins: Sequence[Plugin]) -> None:
    """
    See that *plugins* could be loaded.

    Raises:
        PluggyMissing: They cannot.
    """
    try:
        import pluggy  # noqa: F401, PLC0415 - as above
    except ModuleNotFoundError as error:
        if error.name != "pluggy":
            raise
        raise PluggyMissing(plugins) from error
