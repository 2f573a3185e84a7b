"""The breaker on aiobreaker: options, listeners, storages; what all breakers do is in test_conformance."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import aiobreaker
import pytest
from aiobreaker.storage.memory import CircuitMemoryStorage
from aiobreaker.storage.redis import CircuitRedisStorage as BlockingStorage

from cqrs_breaker import AioBreakerAdapter, CircuitRedisStorage
from cqrs_core.errors import CircuitOpen, InvalidOption
from cqrs_core.testing import VirtualClock


async def fail(breaker: AioBreakerAdapter, times: int = 1) -> None:
    for _ in range(times):
        await (await breaker.acquire("Pay.handle")).failed(ConnectionError("refused"))


async def succeed(breaker: AioBreakerAdapter) -> None:
    await (await breaker.acquire("Pay.handle")).succeeded()


async def retry_after_s(breaker: AioBreakerAdapter) -> float:
    with pytest.raises(CircuitOpen) as refused:
        await breaker.acquire("Pay.handle")
    return refused.value.retry_after_s


# Options -------------------------------------------------------------------------------------------------------------


async def test_it_is_made_as_the_users_of_python_cqrs_make_it() -> None:
    """Positional or by name."""
    breaker = AioBreakerAdapter(2, 60, [ValueError], None)
    await fail(breaker, 2)

    assert 59 < await retry_after_s(breaker) <= 60


@pytest.mark.parametrize(
    ("duration", "seconds"), [(60, 60), (0.5, 0.5), (timedelta(minutes=2), 120), (timedelta(milliseconds=1), 0.001)]
)
async def test_durations_are_seconds_or_timedeltas(duration: Any, seconds: float) -> None:
    """aiobreaker takes an int, and then every call that fails raises a TypeError."""
    breaker = AioBreakerAdapter(fail_max=1, timeout_duration=duration, clock=VirtualClock())
    await fail(breaker)

    assert seconds == await retry_after_s(breaker)


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        *(("fail_max", value, "a whole number, at least 1") for value in (0, True, 2.5, None)),
        *(
            ("timeout_duration", value, "seconds or a timedelta, more than 0 and at most a year")
            for value in (0, -1, float("nan"), float("inf"), True, "60", timedelta(0), timedelta(days=-1), 1e9)
        ),
        *(
            ("exclude", value, "a list or tuple of classes of exceptions")
            for value in (ValueError, [lambda _error: True], (int,))
        ),
        ("storage_factory", "redis://", "a function of the name of a circuit"),
        *(
            ("listeners", value, "a list or tuple of objects such as aiobreaker.CircuitBreakerListener")
            for value in (None, [object()], [aiobreaker.CircuitBreakerListener])
        ),
    ],
)
def test_options_that_mean_nothing_are_refused(option: str, value: Any, expected: str) -> None:
    """When it is made. A timedelta of nothing is not taken for a minute, as aiobreaker does."""
    with pytest.raises(InvalidOption) as caught:
        AioBreakerAdapter(**{option: value})

    assert f"{option} is {value!r}. It must be {expected}." == str(caught.value)


# Time ----------------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["UTC", "MSK-3", "EST5EDT"])
def _time_zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("_time_zone")
async def test_the_time_zone_of_the_machine_changes_nothing() -> None:
    """aiobreaker compares UTC with the local time; what listeners ask its breaker is right as well."""
    breakers: list[Any] = []
    breaker = AioBreakerAdapter(fail_max=1, timeout_duration=60, listeners=[Noting(on_state=breakers.append)])
    before = datetime.now(timezone.utc).replace(tzinfo=None)
    await fail(breaker)

    assert 59 < await retry_after_s(breaker) <= 60
    (told,) = breakers
    assert timedelta(seconds=59) < told.opens_at - before < timedelta(seconds=61)
    assert timedelta(seconds=59) < told.time_until_open <= timedelta(seconds=60)


async def test_a_breaker_that_was_never_open_opens_at_no_time() -> None:
    """aiobreaker raises a TypeError."""
    breakers: list[Any] = []
    breaker = AioBreakerAdapter(listeners=[Noting(on_success=breakers.append)])
    await succeed(breaker)

    assert [(None, None)] == [(told.opens_at, told.time_until_open) for told in breakers]


# Listeners -----------------------------------------------------------------------------------------------------------


class Noting(aiobreaker.CircuitBreakerListener):  # type: ignore[misc] # it has no types
    """Notes what it hears."""

    def __init__(self, *, on_state: Any = None, on_success: Any = None) -> None:
        self.heard: list[str] = []
        self.on_state = on_state
        self.on_success = on_success

    def before_call(self, breaker: Any, func: Any, *args: Any, **kwargs: Any) -> None:
        self.heard.append(f"call on {breaker.name}")

    def failure(self, breaker: Any, exception: Exception) -> None:
        self.heard.append(f"failure: {exception}")

    def success(self, breaker: Any) -> None:
        self.heard.append("success")
        if self.on_success:
            self.on_success(breaker)

    def state_change(self, breaker: Any, old: Any, new: Any) -> None:
        self.heard.append(f"{old.state.name} to {new.state.name}")
        if self.on_state:
            self.on_state(breaker)


async def test_listeners_hear_what_aiobreaker_tells() -> None:
    """In its order; and nothing of outcomes that came too late, were cancelled, or are excluded."""
    clock = VirtualClock()
    listener = Noting()
    breaker = AioBreakerAdapter(1, 10, [ValueError], listeners=[listener], clock=clock)
    late = await breaker.acquire("Pay.handle")
    await succeed(breaker)
    await (await breaker.acquire("Pay.handle")).failed(ValueError("no such order"))
    await fail(breaker)
    await late.failed(ConnectionError("late"))
    await clock.advance(10)
    (await breaker.acquire("Pay.handle")).abandoned()
    await (await breaker.acquire("Pay.handle")).failed(ValueError("no such order"))

    expected = ["call on Pay.handle", "success", "call on Pay.handle", "failure: refused", "CLOSED to OPEN"]
    assert [*expected, "OPEN to HALF_OPEN", "HALF_OPEN to CLOSED"] == listener.heard


async def test_a_listener_that_raises_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """The circuit opens, others are told, and the log says who failed."""

    class Raising(Noting):
        def failure(self, breaker: Any, exception: Exception) -> None:
            raise RuntimeError("the listener's own fault")

        before_call = success = state_change = failure

    listener = Noting()
    breaker = AioBreakerAdapter(fail_max=1, listeners=[Raising(), listener])
    await succeed(breaker)
    await fail(breaker)

    assert await retry_after_s(breaker) > 0
    assert "CLOSED to OPEN" == listener.heard[-1]
    assert "failure of the listener <" in caplog.text
    assert "the listener's own fault" in caplog.text


# Storages ------------------------------------------------------------------------------------------------------------


async def test_each_circuit_has_the_storage_that_the_factory_gives_for_its_name() -> None:
    """aiobreaker counts there, and keeps its state there."""
    storages: dict[str, Any] = {}

    def make(name: str) -> Any:
        storages[name] = CircuitMemoryStorage(aiobreaker.CircuitBreakerState.CLOSED)
        return storages[name]

    breaker = AioBreakerAdapter(fail_max=2, storage_factory=make)
    await (await breaker.acquire("Ship.handle")).failed(ConnectionError())
    await fail(breaker, 2)

    found = {name: (storage.counter, storage.state.name) for name, storage in storages.items()}
    assert {"Ship.handle": (1, "CLOSED"), "Pay.handle": (2, "OPEN")} == found


async def test_a_circuit_that_is_open_in_its_storage_begins_open() -> None:
    """For the whole time: when it was opened, the clock of another process may have told."""
    clock = VirtualClock()
    storage = CircuitMemoryStorage(aiobreaker.CircuitBreakerState.OPEN)
    breaker = AioBreakerAdapter(timeout_duration=7, storage_factory=lambda _name: storage, clock=clock)
    waited = await retry_after_s(breaker)
    await clock.advance(7)
    await succeed(breaker)

    assert 7 == waited
    assert "CLOSED" == storage.state.name


async def test_a_storage_that_raises_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """Then failures are not counted; the log says why."""

    class Broken(CircuitMemoryStorage):  # type: ignore[misc] # it has no types
        def reset_counter(self) -> None:
            raise OSError("the disk is full")

        increment_counter = reset_counter

        @property
        def state(self) -> Any:
            raise OSError("the disk is full")

    storage = CircuitMemoryStorage(aiobreaker.CircuitBreakerState.CLOSED)
    breaker = AioBreakerAdapter(fail_max=1, storage_factory=lambda _name: storage)
    await succeed(breaker)
    storage.__class__ = Broken
    await succeed(breaker)
    await fail(breaker, 3)
    await succeed(breaker)

    assert "The storage of the circuit Pay.handle failed; the circuit goes on without it." in caplog.messages
    assert "the disk is full" in caplog.text


class FakeClient:
    """A server that is asked nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_arguments, **_options: None


async def test_a_factory_that_gives_something_else_is_refused() -> None:
    """aiobreaker's own storage on Redis asks the server several times a call, on the event loop."""
    pytest.importorskip("redis")
    blocking = BlockingStorage(aiobreaker.CircuitBreakerState.CLOSED, FakeClient())

    with pytest.raises(InvalidOption, match=r"It must be cqrs_breaker\.CircuitRedisStorage, with the same arguments"):
        await AioBreakerAdapter(storage_factory=lambda _name: blocking).acquire("Pay.handle")
    with pytest.raises(InvalidOption, match=r"a function that gives a cqrs_breaker\.CircuitRedisStorage, or a storage"):
        await AioBreakerAdapter(storage_factory=lambda _name: "redis").acquire("Pay.handle")


@pytest.mark.parametrize("state", ["closed", "CLOSED", aiobreaker.CircuitBreakerState.CLOSED])
def test_a_shared_circuit_begins_as_the_others_have_it(state: Any) -> None:
    """``"closed"`` is what programs for aiobreaker say; its own class raises an AttributeError for the text."""
    CircuitRedisStorage(state=state, redis_object=FakeClient(), namespace="Pay.handle")


class AsyncClient(FakeClient):
    async def execute_command(self, *words: str) -> None:
        pass


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("state", "open", "'closed': what opens a circuit is failures"),
        ("state", aiobreaker.CircuitBreakerState.OPEN, "'closed': what opens a circuit is failures"),
        ("redis_object", "redis://host", "a client such as redis.Redis.from_url('redis://host')"),
        (
            "redis_object",
            AsyncClient(),
            "a synchronous client, redis.Redis: a thread uses it, so that no event loop waits",
        ),
        ("namespace", 7, "a text"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_be_shared_is_refused(option: str, value: Any, expected: str) -> None:
    with pytest.raises(InvalidOption) as caught:
        CircuitRedisStorage(**{"state": "closed", "redis_object": FakeClient(), option: value})

    assert (option, expected) == (caught.value.option, caught.value.expected)
