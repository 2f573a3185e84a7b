"""
Backends from other distributions: found by name or URL, made by :func:`open_backend`.

General layout: an author of plug-ins needs ``marker``, ``backends`` and ``hookspecs``. A name goes through ``specs``
(what is wanted), ``lookup`` (who has it), ``discovery`` (who there is), ``options`` and ``opening``. Importing this
imports neither pluggy nor importlib.metadata; asking for what is not built in does.
"""

from __future__ import annotations

from cqrs_core.plugins.backends import Backend, Kind
from cqrs_core.plugins.discovery import forget_discovery, installed
from cqrs_core.plugins.errors import (
    BackendAmbiguous,
    BackendIncomplete,
    BackendLoadError,
    BackendNotBuilt,
    BackendNotFound,
    InvalidBackendOption,
    InvalidBackendSpec,
    PluggyMissing,
    PluginWarning,
    WrongBackendKind,
)
from cqrs_core.plugins.facts import Plugin
from cqrs_core.plugins.hookspecs import CQRS_API
from cqrs_core.plugins.marker import hookimpl
from cqrs_core.plugins.opening import open_backend

__all__ = [
    "CQRS_API",
    "Backend",
    "BackendAmbiguous",
    "BackendIncomplete",
    "BackendLoadError",
    "BackendNotBuilt",
    "BackendNotFound",
    "InvalidBackendOption",
    "InvalidBackendSpec",
    "Kind",
    "PluggyMissing",
    "Plugin",
    "PluginWarning",
    "WrongBackendKind",
    "forget_discovery",
    "hookimpl",
    "installed",
    "open_backend",
]
