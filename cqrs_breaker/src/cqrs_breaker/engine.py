"""aiobreaker's own circuit breaker, for what it does well: it counts, keeps the state, and tells listeners."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Protocol

import aiobreaker  # type: ignore[import-untyped] # it has no types: what is used of it is in the protocols below
from aiobreaker.storage.memory import CircuitMemoryStorage  # type: ignore[import-untyped] # as above

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

logger = logging.getLogger(__name__)

#: What aiobreaker calls on a listener.
LISTENER_METHODS = ("before_call", "failure", "success", "state_change")


class Listener(Protocol):
    """What aiobreaker calls when something happens on a circuit: the methods of its ``CircuitBreakerListener``."""

    def before_call(self, breaker: Any, func: Callable[..., object], *args: object, **kwargs: object) -> None:  # noqa: ANN401 - aiobreaker's
        """Note that a call was made; it has ended already, and *func* stands for it."""
        ...

    def failure(self, breaker: Any, exception: Exception) -> None:  # noqa: ANN401 - aiobreaker's
        """Note that a call failed, and that it counts."""
        ...

    def success(self, breaker: Any) -> None:  # noqa: ANN401 - aiobreaker's
        """Note that a call succeeded."""
        ...

    def state_change(self, breaker: Any, old: Any, new: Any) -> None:  # noqa: ANN401 - aiobreaker's
        """Note that the circuit opened, half-opened or closed."""
        ...


class Storage(Protocol):
    """Where aiobreaker keeps the count and the state of one circuit: its ``CircuitBreakerStorage``."""

    state: Any
    opened_at: datetime | None

    @property
    def counter(self) -> int:
        """Count the failures in a row."""
        ...

    def increment_counter(self) -> None:
        """Count one more."""
        ...

    def reset_counter(self) -> None:
        """Count from none."""
        ...


class Engine:
    """
    One breaker of aiobreaker. It is told how calls ended, and never makes one: so its exceptions reach nobody.

    A listener or a storage that raises is logged, and harms nothing else.

    Args:
        name: What listeners read as the name of the breaker.
        storage: In memory unless given.
    """

    def __init__(
        self, name: str, *, fail_max: int, open_for_s: float, listeners: Iterable[Listener], storage: Storage | None
    ) -> None:
        self._name = name
        kept: Any = storage or CircuitMemoryStorage(aiobreaker.CircuitBreakerState.CLOSED)
        self._breaker = _Breaker(
            fail_max=fail_max,
            open_for=timedelta(seconds=open_for_s),
            listeners=[_Tolerated(listener) for listener in listeners],
            storage=kept,
            name=name,
        )

    @property
    def is_closed(self) -> bool:
        """Whether failures are counted, and there were not too many; if the storage does not tell, it is."""
        try:
            return bool(self._breaker.current_state == aiobreaker.CircuitBreakerState.CLOSED)
        except Exception as error:  # noqa: BLE001 - whatever a storage raises is not the caller's
            self._complain(error)
            return True

    def succeeded(self) -> None:
        """End the row of failures, and close the circuit if it is half-open."""
        self._tell(self._breaker.call, _do_nothing)

    def failed(self, error: Exception) -> None:
        """Count a failure, and open the circuit if there were enough, or it is half-open."""
        kept = error.__traceback__, error.__context__
        try:
            self._breaker.call(_raise, error)
        except (aiobreaker.CircuitBreakerError, type(error)):
            pass  # aiobreaker's way to say what the caller knows
        except Exception as failure:  # noqa: BLE001 - as above
            self._complain(failure)
        # It was raised once more, which is nothing that the caller should see.
        error.__traceback__, error.__context__ = kept

    def open(self) -> None:
        """Open the circuit, as somebody else did."""
        self._tell(self._breaker.open)

    def half_open(self) -> None:
        """Let a probe through."""
        self._tell(self._breaker.half_open)

    def close(self) -> None:
        """Close the circuit without a success."""
        self._tell(self._breaker.close)

    def _tell(self, method: Callable[..., object], *arguments: object) -> None:
        try:
            method(*arguments)
        except Exception as error:  # noqa: BLE001 - as above
            self._complain(error)

    def _complain(self, error: Exception) -> None:
        text = "The storage of the circuit %s failed; the circuit goes on without it."
        logger.warning(text, self._name, exc_info=error, extra={"circuit": self._name})


class _Breaker(aiobreaker.CircuitBreaker):  # type: ignore[misc] # it has no types
    """aiobreaker's, with times that are in UTC throughout, and not deprecated."""

    def __init__(self, *, open_for: timedelta, storage: Storage, **options: Any) -> None:  # noqa: ANN401 - aiobreaker's
        self.open_for = open_for
        self.storage: Any = storage
        super().__init__(timeout_duration=open_for, state_storage=self.storage, **options)

    def open(self) -> None:
        # The original asks datetime.utcnow(), which warns from Python 3.12 on.
        self.storage.opened_at = _utcnow()
        self.state = self.storage.state = aiobreaker.CircuitBreakerState.OPEN

    def half_open(self) -> None:
        # A probe after one that was cancelled changes nothing that listeners should hear of.
        if self.storage.state != aiobreaker.CircuitBreakerState.HALF_OPEN:
            super().half_open()

    @property
    def opens_at(self) -> datetime | None:
        """Tell when the next call is let through, in UTC; ``None`` if that is over, or it never opened."""
        # The original compares UTC with the local time, and fails if the circuit was never open.
        opened_at: datetime | None = self.storage.opened_at
        until = None if opened_at is None else opened_at + self.open_for
        return until if until is not None and until > _utcnow() else None

    @property
    def time_until_open(self) -> timedelta | None:
        """Tell how long it is until :attr:`opens_at`."""
        until = self.opens_at
        return None if until is None else until - _utcnow()


class _Tolerated:
    """A listener, any of whose errors are logged: they are not the caller's."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def before_call(self, *arguments: object) -> None:
        self._call("before_call", arguments)

    def failure(self, *arguments: object) -> None:
        self._call("failure", arguments)

    def success(self, *arguments: object) -> None:
        self._call("success", arguments)

    def state_change(self, *arguments: object) -> None:
        self._call("state_change", arguments)

    def _call(self, method: str, arguments: tuple[object, ...]) -> None:
        try:
            getattr(self._listener, method)(*arguments)
        except Exception:
            logger.warning("%s of the listener %r failed.", method, self._listener, exc_info=True)


def _utcnow() -> datetime:
    """Tell the time as aiobreaker's storages keep it: in UTC, and without saying so."""
    return datetime.now(timezone.utc).replace(tzinfo=None)


def _do_nothing() -> None:
    """Stand for a call that returned."""


def _raise(error: Exception) -> None:
    """Stand for a call that raised."""
    raise error
