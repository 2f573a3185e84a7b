"""Knows the plug-ins that are installed, and loads each when it is needed first."""

from __future__ import annotations

import functools
import logging
import os
import threading
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING

from cqrs_core.plugins.entry_points import facts_of, find_entry_points
from cqrs_core.plugins.errors import PluggyMissing, PluginWarning
from cqrs_core.plugins.facts import canonical
from cqrs_core.plugins.hooks import backends_of, builtin_plugin, check_pluggy
from cqrs_core.plugins.hookspecs import CQRS_API

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from importlib.metadata import EntryPoint

    from cqrs_core.plugins.facts import Plugin

logger = logging.getLogger(__name__)

#: Names of entry points or distributions, separated by commas, that are left alone; ``*`` stands for all.
SWITCH = "CQRS_CORE_DISABLE_PLUGINS"


class Candidate:
    """An entry point, and what is known of the plug-in behind it."""

    def __init__(self, entry_point: EntryPoint, disabled: set[str]) -> None:
        self.facts = facts_of(entry_point)
        names = {"*", canonical(self.facts.entry_point), canonical(self.facts.distribution)}
        self.is_settled = not names.isdisjoint(disabled)
        self._entry_point = entry_point
        if self.is_settled:
            self.facts = replace(
                self.facts, status="disabled", error=f"{SWITCH} names it.", cure="Take it out there, and start again."
            )

    def load(self) -> None:
        """Import the plug-in and ask it for its backends. Whatever goes wrong becomes one of its facts."""
        try:
            self.facts = self._load()
        except (Exception, SystemExit) as error:  # a stranger's module may raise anything
            logger.debug("The %s failed", self.facts, exc_info=True)
            self.facts = replace(
                self.facts,
                status="failed",
                error=f"{type(error).__name__}: {error}".rstrip(".") + ".",
                cure=f"Upgrade it (pip install --upgrade {self.facts.distribution}), uninstall it, or switch it off: "
                f"{SWITCH}={self.facts.entry_point}.",
            )
        self.is_settled = True  # not before: Ctrl-C in the middle settles nothing
        if self.facts.status != "ok":
            warnings.warn(self.facts.complaint, PluginWarning, stacklevel=2)

    def _load(self) -> Plugin:
        plugin: object = self._entry_point.load()
        version = getattr(plugin, "CQRS_API", CQRS_API)
        if version == CQRS_API:
            return replace(self.facts, backends=backends_of(plugin, self.facts.entry_point))
        is_older = isinstance(version, int) and version < CQRS_API
        return replace(
            self.facts,
            status="incompatible",
            error=f"It is for version {version!r} of the hooks; cqrs-core {builtin_plugin().version} has {CQRS_API}.",
            cure=f"Upgrade: pip install --upgrade {self.facts.distribution if is_older else 'cqrs-core'}.",
        )


class Discovery:
    """
    What was found, in order of name, each plug-in loaded at most once. Safe to use from several threads.

    pluggy sees the hooks of a module only after it was imported. So who wants one name selects the plug-ins that may
    have it, and neither pays for the others nor suffers from them.
    """

    def __init__(self, entry_points: Iterable[EntryPoint], disabled: str = "") -> None:
        names = {canonical(name.strip()) for name in disabled.split(",")}
        self._candidates = [Candidate(entry_point, names) for entry_point in entry_points]
        self._candidates.sort(key=lambda candidate: (candidate.facts.entry_point, candidate.facts.distribution))
        self._lock = threading.RLock()

    def plugins(self, selects: Callable[[Plugin], bool] = lambda _: True) -> list[Plugin]:
        """
        Tell about those plug-ins whose entry point and distribution *selects* likes; they are loaded for it.

        Raises:
            PluggyMissing: There is something to load, and nothing to load it with.
        """
        with self._lock:
            selected = [candidate for candidate in self._candidates if selects(candidate.facts)]
            waiting = [candidate for candidate in selected if not candidate.is_settled]
            if waiting:
                check_pluggy([candidate.facts for candidate in waiting])
            for candidate in waiting:
                candidate.load()
            return [candidate.facts for candidate in selected]


_lock = threading.RLock()


@functools.cache
def _discover() -> Discovery:
    return Discovery(find_entry_points(), os.environ.get(SWITCH, ""))


def discovery() -> Discovery:
    """Look for plug-ins, once; only this reads the environment."""
    with _lock:  # the cache alone would let two threads search at the same time
        return _discover()


def forget_discovery() -> None:
    """Look again when plug-ins are needed next: for tests, and for a program that installs something itself."""
    with _lock:
        _discover.cache_clear()


def installed() -> list[Plugin]:
    """Tell which plug-ins are installed, the core's own first, and what is wrong with those that do not work."""
    try:
        plugins = discovery().plugins()
    except PluggyMissing as missing:
        error, cure = "pluggy is missing.", 'Install it: pip install "cqrs-core[plugins]".'
        plugins = [replace(plugin, status="failed", error=error, cure=cure) for plugin in missing.plugins]
    return [builtin_plugin(), *plugins]
