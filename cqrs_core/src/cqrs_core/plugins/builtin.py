"""What the core itself brings: a plug-in module like those of strangers, but for being found without a search."""

from __future__ import annotations

from cqrs_core.plugins.backends import Backend
from cqrs_core.plugins.marker import hookimpl

CQRS_API = 1


@hookimpl
def cqrs_backends() -> tuple[Backend, ...]:
    """Offer what works in one process, on the standard library."""
    return (
        Backend(
            kind="broker",
            name="memory",
            factory="cqrs_core.memory:MemoryBroker.from_url",
            schemes=("memory",),
        ),
        Backend(
            kind="storage",
            name="memory",
            factory="cqrs_core.memory:MemoryStorage.from_url",
            schemes=("memory",),
        ),
    )
