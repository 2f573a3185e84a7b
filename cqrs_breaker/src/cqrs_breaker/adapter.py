"""The circuit breaker that programs make: many circuits by name, in this process or shared."""

from __future__ import annotations

import weakref
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from aiobreaker.storage.base import CircuitBreakerStorage  # type: ignore[import-untyped] # it has no types
from aiobreaker.storage.redis import CircuitRedisStorage as BlockingStorage  # type: ignore[import-untyped] # as above

from cqrs_breaker.circuit import Circuit, Rules
from cqrs_breaker.engine import LISTENER_METHODS, Engine, Listener
from cqrs_breaker.link import Link
from cqrs_breaker.sharing import PROBE_RECHECK_S, Worker, wait_for
from cqrs_breaker.storage import CircuitRedisStorage
from cqrs_core.breaker import check_exclude, check_fail_max
from cqrs_core.clock import SystemClock
from cqrs_core.durations import is_duration
from cqrs_core.errors import InvalidOption

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cqrs_core.breaker import Permit
    from cqrs_core.clock import Clock

_LONGEST_S = 365 * 86_400


class AioBreakerAdapter:
    """
    A circuit breaker on aiobreaker: a :class:`cqrs_core.breaker.CircuitBreaker` for asyncio and trio.

    A circuit opens after *fail_max* failures in a row, and lets one call through after *timeout_duration*. Callers see
    their own exceptions, or :class:`cqrs_core.errors.CircuitOpen`, and never one of aiobreaker.

    It is for one event loop at a time. Circuits are made when they are first used, and kept. A process that is forked
    goes on with those of the first, and shares them on its own account.

    Args:
        fail_max: How many failures in a row, within this process, open a circuit; at least 1.
        timeout_duration: Seconds, or a timedelta, for which it stays open; at most a year.
        exclude: Errors that are answers: they neither count nor end a row of failures. From a probe, such an error
            closes the circuit.
        storage_factory: Gives, for the name of a circuit, its storage. With a
            :class:`~cqrs_breaker.storage.CircuitRedisStorage` processes share the circuit. Others of aiobreaker's
            storages are used as they are, on the event loop. In memory unless given.
        listeners: Objects with the methods of ``aiobreaker.CircuitBreakerListener``. They are called when a call has
            ended; what they raise is logged.
        clock: Whose :meth:`Clock.monotonic` is asked; the machine's unless given.

    Raises:
        InvalidOption: One of them is not of these.
    """

    def __init__(
        self,
        fail_max: int = 5,
        timeout_duration: float | timedelta = 60,
        exclude: Sequence[type[Exception]] | None = None,
        storage_factory: Callable[[str], Any] | None = None,
        *,
        listeners: Sequence[Listener] = (),
        clock: Clock | None = None,
    ) -> None:
        check_fail_max(fail_max)
        seconds = timeout_duration.total_seconds() if isinstance(timeout_duration, timedelta) else timeout_duration
        if not is_duration(seconds) or seconds > _LONGEST_S:
            expected = "seconds or a timedelta, more than 0 and at most a year"
            raise InvalidOption("timeout_duration", timeout_duration, expected)
        excluded = () if exclude is None else exclude
        check_exclude(excluded)
        if storage_factory is not None and not callable(storage_factory):
            raise InvalidOption("storage_factory", storage_factory, "a function of the name of a circuit")
        _check_listeners(listeners)
        self._fail_max = fail_max
        self._rules = Rules(float(seconds), tuple(excluded), (clock or SystemClock()).monotonic)
        self._storage_factory = storage_factory
        self._listeners = tuple(listeners)
        self._circuits: dict[str, tuple[Circuit, Link | None]] = {}
        self._worker = Worker()
        weakref.finalize(self, self._worker.stop)

    async def acquire(self, circuit: str) -> Permit:
        """As :meth:`cqrs_core.breaker.CircuitBreaker.acquire`; it suspends for circuits that are shared, if at all."""
        found, link = self._circuits.get(circuit) or self._add(circuit)
        if link is None:
            return found.closed or found.probe()
        if link.view is None and link.may_answer:
            await self._ask(link, for_probe=False)
        _catch_up(found, link)
        return found.closed or await self._probe(found, link)

    async def _probe(self, circuit: Circuit, link: Link) -> Permit:
        permit = circuit.probe()
        if not link.may_answer:
            return permit
        try:
            wait_s = await self._ask(link, for_probe=True)
        except BaseException:
            permit.abandoned()
            raise
        # The server did not answer in time, or gave the right to make the probe.
        if not wait_s and not (link.view is not None and link.view.is_closed):
            return permit
        circuit.withdraw(permit, wait_s=min(wait_s or 0.0, PROBE_RECHECK_S))
        _catch_up(circuit, link)  # it may have been closed, or opened anew
        return circuit.closed or circuit.probe()

    async def _ask(self, link: Link, *, for_probe: bool) -> float | None:
        answer = link.ask(for_probe=for_probe)
        self._worker.wake()
        return await wait_for(answer)

    def _add(self, name: str) -> tuple[Circuit, Link | None]:
        given: Any = None if self._storage_factory is None else self._storage_factory(name)
        shared = given.state_of(name) if isinstance(given, CircuitRedisStorage) else None
        engine = Engine(
            name,
            fail_max=self._fail_max,
            open_for_s=self._rules.open_for_s,
            listeners=self._listeners,
            storage=None if shared is not None else _storage_of_aiobreaker(given),
        )
        circuit = Circuit(name, engine, self._rules, self._worker.wake)
        link = None if shared is None else Link(circuit, shared)
        self._circuits[name] = circuit, link
        if link is not None:
            self._worker.add(link)
        return circuit, link


def _catch_up(circuit: Circuit, link: Link) -> None:
    view = link.view
    if view is not None and view is not circuit.seen:
        circuit.adopt(view)


def _check_listeners(listeners: object) -> None:
    expected = "a list or tuple of objects such as aiobreaker.CircuitBreakerListener"
    if not isinstance(listeners, (list, tuple)):
        raise InvalidOption("listeners", listeners, expected)
    for listener in listeners:
        methods = [getattr(listener, name, None) for name in LISTENER_METHODS]
        if isinstance(listener, type) or not all(map(callable, methods)):
            raise InvalidOption("listeners", listeners, expected)


def _storage_of_aiobreaker(given: Any) -> Any:  # noqa: ANN401 - it has no types
    if isinstance(given, BlockingStorage):
        expected = "cqrs_breaker.CircuitRedisStorage, with the same arguments: aiobreaker's blocks the event loop"
        raise InvalidOption("storage_factory", given, expected)
    if given is not None and not isinstance(given, CircuitBreakerStorage):
        expected = "a function that gives a cqrs_breaker.CircuitRedisStorage, or a storage of aiobreaker"
        raise InvalidOption("storage_factory", given, expected)
    return given
