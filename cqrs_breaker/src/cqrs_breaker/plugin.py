"""What this distribution offers to cqrs-core. It imports no aiobreaker: that is for whoever opens the breaker."""

from __future__ import annotations

from typing import NoReturn

from cqrs_breaker import __version__
from cqrs_core.plugins import Backend, BackendNotBuilt, hookimpl

CQRS_API = 1


@hookimpl
def cqrs_backends() -> list[Backend]:
    """Offer the circuit breaker ``aiobreaker``."""
    return [Backend(kind="circuit_breaker", name="aiobreaker", factory="cqrs_breaker.plugin:open_circuit_breaker")]


def open_circuit_breaker(_address: str, **_options: str) -> NoReturn:
    """
    Say that there is no circuit breaker yet.

    Raises:
        BackendNotBuilt: Always, in this version.
    """
    raise BackendNotBuilt(
        "aiobreaker",
        distribution="cqrs-breaker",
        version=__version__,
        meanwhile="Meanwhile leave the circuit breaker out: calls that fail raise each time.",
    )
