"""Sagas for tests: steps that note what they do, and do what they are told."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from types import new_class
from typing import Any

import anyio
import pytest

import cqrs_core as cqrs
from cqrs_core.bootstrap import bootstrap_sagas
from cqrs_core.resilience import RetryPolicy
from cqrs_core.saga.mediator import SagaMediator
from cqrs_core.testing import VirtualClock


class Order(cqrs.SagaContext):
    order_id: str = "o-1"
    note: str = ""


class Story:
    """
    What has happened, in order; and what is to go wrong.

    Attributes:
        events: ``"act A"``, ``"undo A"``, and what tests add.
        failures: What calls raise, by the same words: the first call the first, and so on; ``None``: nothing.
        on: What is awaited at such a moment.
        keys: The idempotency keys of the calls.
    """

    Order = Order

    def __init__(self) -> None:
        self.events: list[str] = []
        self.failures: dict[str, list[Exception | None]] = {}
        self.on: dict[str, Callable[[], Awaitable[object]]] = {}
        self.keys: dict[str, list[uuid.UUID]] = {}
        self.notes: list[str] = []
        self.clock = VirtualClock(jumps=True)

    @property
    def waits(self) -> list[float]:
        """The delays that there were, but for those between two beats of the heart."""
        return [seconds for seconds in self.clock.slept if seconds != 10.0]

    async def tell(self, what: str, context: Order) -> None:
        self.events.append(what)
        self.notes.append(context.note)
        self.keys.setdefault(what, []).append(cqrs.current_step().idempotency_key)
        context.note += what[-1]
        if what in self.on:
            await self.on[what]()
        failures = self.failures.get(what, [])
        failure = failures.pop(0) if failures else None
        if failure is not None:
            raise failure

    def step(self, name: str, **attributes: Any) -> Any:
        """Write a class of steps."""
        story = self

        async def act(self: Any, context: Order) -> Any:
            await story.tell(f"act {name}", context)
            return self.result(name.lower())

        async def compensate(_: Any, context: Order) -> None:
            await story.tell(f"undo {name}", context)

        defaults = {"compensation_retry": RetryPolicy(max_attempts=3, jitter=0.0)}
        body = {"act": act, "compensate": compensate, **defaults, **attributes}
        bases = (cqrs.SagaStepHandler[Order, str],)
        return new_class(name, bases, exec_body=lambda namespace: namespace.update(body))

    def saga(self, *steps: Any, name: str = "Made", **attributes: Any) -> Any:
        """Write a class of sagas; a step may be given by its name."""
        listed = [self.step(step) if isinstance(step, str) else step for step in steps]
        body = {"steps": listed, **attributes}
        return new_class(name, (cqrs.Saga[Order],), exec_body=lambda namespace: namespace.update(body))

    def mediator(self, saga: Any, storage: Any = None, **options: Any) -> SagaMediator:
        """Build a mediator of one saga, whose time passes by itself when something is waited for."""
        storage = storage or cqrs.MemorySagaStorage(clock=self.clock)
        return bootstrap_sagas(
            sagas_mapper=lambda sagas: sagas.bind(Order, saga), saga_storage=storage, clock=self.clock, **options
        )

    @staticmethod
    async def until(is_so: Callable[[], bool | Awaitable[bool]]) -> None:
        """Let others run until it is so; some of them sleep by the machine's clock, so no number of turns is enough."""
        with anyio.fail_after(30):
            while True:
                answer = is_so()
                if answer if isinstance(answer, bool) else await answer:
                    return
                await anyio.lowlevel.checkpoint()

    async def run(self, mediator: SagaMediator, saga_id: uuid.UUID | None = None, context: Order | None = None) -> Any:
        """Run a saga to its end; give the responses of its steps."""
        return [result.response async for result in mediator.stream(context or Order(), saga_id)]


@pytest.fixture
def story() -> Story:
    return Story()


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def storage(clock: VirtualClock) -> cqrs.MemorySagaStorage:
    return cqrs.MemorySagaStorage(clock=clock)
