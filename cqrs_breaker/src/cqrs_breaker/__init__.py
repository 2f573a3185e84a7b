"""
Circuit breakers for :mod:`cqrs_core`, on aiobreaker, in one process or shared through Redis.

A call goes this way: :mod:`.adapter` (the circuit of its name) → :mod:`.circuit` (may it pass; does its outcome count)
→ :mod:`.engine` (aiobreaker: the count, the state, the listeners). Beside it, in a thread, :mod:`.sharing` keeps
circuits in step with other processes: :mod:`.link` (what one circuit tells, and is told) → :mod:`.storage` (its keys)
→ :mod:`.round_trips` (all circuits at once).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cqrs_breaker.adapter import AioBreakerAdapter
    from cqrs_breaker.storage import CircuitRedisStorage
else:

    def __getattr__(name: str) -> object:  # hidden from type checkers, which would believe any name
        """Import aiobreaker when a breaker is asked for: to find the plug-in does not need it."""
        import importlib  # noqa: PLC0415 - as the docstring says

        if name not in _ON_DEMAND:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(_ON_DEMAND[name]), name)
        globals()[name] = value
        return value


_ON_DEMAND = {"AioBreakerAdapter": "cqrs_breaker.adapter", "CircuitRedisStorage": "cqrs_breaker.storage"}

__version__ = "0.1.0"

__all__ = ["AioBreakerAdapter", "CircuitRedisStorage"]
