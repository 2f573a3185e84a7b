"""What can go wrong with a breaker that is shared."""

from __future__ import annotations

from cqrs_core.errors import CqrsError


class RedisMissing(CqrsError, ImportError):
    """A circuit breaker is to be shared through Redis, and the package that speaks with it is not installed."""

    def __init__(self) -> None:
        super().__init__(
            'A circuit breaker on Redis needs the package redis. Install it: pip install "cqrs-breaker[redis]".'
        )
