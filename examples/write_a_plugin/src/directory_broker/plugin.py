"""What cqrs-core finds by the entry point: a name, and where to find what bears it. Nothing else is imported here."""

from __future__ import annotations

from cqrs_core.plugins import Backend, hookimpl

#: The version of the hooks for which this was written; a core with other hooks says so, instead of calling them.
CQRS_API = 1


@hookimpl
def cqrs_backends() -> list[Backend]:
    """Offer the broker ``directory``."""
    factory = "directory_broker.broker:DirectoryBroker.from_url"
    return [Backend(kind="broker", name="directory", schemes=("directory",), factory=factory)]
