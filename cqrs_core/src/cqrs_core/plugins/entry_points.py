"""Reads the entry points of what is installed; the only module that speaks to importlib.metadata."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from cqrs_core.plugins.errors import PluginWarning
from cqrs_core.plugins.facts import Plugin, canonical
from cqrs_core.plugins.marker import PROJECT

if TYPE_CHECKING:
    from collections.abc import Iterable
    from importlib.metadata import Distribution, EntryPoint, PackageMetadata


def find_entry_points() -> list[EntryPoint]:
    """Find the entry points of the group ``cqrs_core``; an installation that is damaged spoils none but its own."""
    from importlib import metadata  # noqa: PLC0415 - 40 ms, which a program without plug-ins does not spend

    try:
        return list(metadata.entry_points(group=PROJECT))
    except Exception:  # noqa: BLE001 - TypeError, UnicodeDecodeError, ...: it depends on what is in the file
        # One entry_points.txt cannot be read, of whatever distribution, and with it goes the whole list. Taken one by
        # one, the others can be. Of two with one name, the first on sys.path counts, as it does for Python.
        by_name: dict[str, Distribution] = {}
        for distribution in metadata.distributions():
            by_name.setdefault(canonical(_name_and_version(distribution)[0]), distribution)
        return [entry_point for distribution in by_name.values() for entry_point in _entry_points_of(distribution)]


def facts_of(entry_point: EntryPoint) -> Plugin:
    """Tell what can be known of a plug-in before it is imported."""
    name, version = _name_and_version(entry_point.dist)
    return Plugin(entry_point=entry_point.name, distribution=name, version=version)


def _name_and_version(distribution: Distribution | None) -> tuple[str, str]:
    # Distribution.name warns, and is to raise one day, where the metadata is damaged.
    metadata: PackageMetadata | dict[str, str] = distribution.metadata if distribution else {}
    found = {field: metadata[field] for field in ("Name", "Version") if field in metadata}
    return found.get("Name", "an unknown distribution"), found.get("Version", "?")


def _entry_points_of(distribution: Distribution) -> Iterable[EntryPoint]:
    try:
        return distribution.entry_points.select(group=PROJECT)
    except Exception as error:  # noqa: BLE001 - as above
        warnings.warn(
            f"The entry points of {' '.join(_name_and_version(distribution))} cannot be read, so its plug-ins, if any, "
            f"are left out: {type(error).__name__}: {error}. Install it again, or uninstall it.",
            PluginWarning,
            stacklevel=2,
        )
        return ()
