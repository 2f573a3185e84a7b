"""What this distribution offers to cqrs-core. It imports no Kafka client: that is for whoever opens the broker."""

from __future__ import annotations

from typing import NoReturn

from cqrs_core.plugins import Backend, BackendNotBuilt, hookimpl
from cqrs_kafka import __version__

CQRS_API = 1


@hookimpl
def cqrs_backends() -> list[Backend]:
    """Offer the broker ``kafka``."""
    return [Backend(kind="broker", name="kafka", factory="cqrs_kafka.plugin:open_broker", schemes=("kafka",))]


def open_broker(_address: str, **_options: str) -> NoReturn:
    """
    Say that there is no broker yet.

    Raises:
        BackendNotBuilt: Always, in this version.
    """
    raise BackendNotBuilt(
        "kafka",
        distribution="cqrs-kafka",
        version=__version__,
        meanwhile="Meanwhile broker='memory' takes events from one part of a process to others.",
    )
