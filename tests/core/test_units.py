"""Units of work around attempts, joined sends, events and streams: each sentence of DESIGN 4.1 about them."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from contextvars import ContextVar
from datetime import datetime, timedelta, timezone
from typing import Any, TypeVar

import anyio
import pytest

import cqrs_core as cqrs
from cqrs_core import errors
from cqrs_core.concurrency import Gate
from cqrs_core.envelope import Envelope
from cqrs_core.outbox import OutboxedEventRepository, OutboxLease, OutboxRecord
from cqrs_core.testing import VirtualClock

T = TypeVar("T")


class Ledger:
    """What stands for a session: lines that are kept when the unit is committed."""

    def __init__(self, unit: LedgerUnit) -> None:
        self.unit = unit

    def write(self, line: str) -> None:
        self.unit.begin()
        self.unit.lines.append(line)


class LedgerUnit:
    """A unit of work that notes everything that is done to it."""

    def __init__(self, storage: LedgerStorage, number: int) -> None:
        self.storage = storage
        self.number = number
        self.lines: list[str] = []
        self.waiting: list[Envelope] = []
        self.accepted: list[tuple[str, uuid.UUID]] = []
        self.is_open = False
        self._ledger = Ledger(self)

    def take(self, ledger: Ledger) -> None:
        self._ledger = ledger
        ledger.unit = self

    def note(self, what: str) -> None:
        self.storage.log.append(f"{what} {self.number}")

    def begin(self) -> None:
        if not self.is_open:
            self.is_open = True
            self.note("begin")

    @property
    def is_begun(self) -> bool:
        return self.is_open or bool(self.waiting)

    def get(self, wanted: type[T]) -> T:
        assert wanted is Ledger
        return self._ledger  # type: ignore[return-value] # it is one

    def enqueue(self, envelopes: Sequence[Envelope]) -> None:
        self.waiting.extend(envelopes)

    async def accept(self, group: str, message_ids: Sequence[uuid.UUID]) -> Collection[uuid.UUID]:
        self.begin()
        new = [one for one in message_ids if (group, one) not in self.storage.accepted | set(self.accepted)]
        self.accepted.extend((group, one) for one in new)
        self.note(f"accept {len(new)} of {len(message_ids)}")
        return new

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        self.begin()
        before = [*self.lines], [*self.waiting], [*self.accepted]
        try:
            yield
        except BaseException:
            self.lines, self.waiting, self.accepted = before
            self.note("undo")
            raise

    async def flush(self) -> None:
        self.note("flush")

    async def commit(self) -> None:
        await self.storage.during_commit()
        self.storage.lines += self.lines
        self.storage.sent += self.waiting
        self.storage.accepted |= set(self.accepted)
        self._forget("commit")

    async def rollback(self) -> None:
        self._forget("rollback")

    async def close(self) -> None:
        self.note("close")

    def _forget(self, what: str) -> None:
        self.lines, self.waiting, self.accepted, self.is_open = [], [], [], False
        self.note(what)


class LedgerStorage:
    """A storage that keeps its books in lists."""

    provides: Collection[type] = (Ledger,)
    takes: type | None = None
    sagas = None

    def __init__(self) -> None:
        self.log: list[str] = []
        self.lines: list[str] = []
        self.sent: list[Envelope] = []
        self.accepted: set[tuple[str, uuid.UUID]] = set()
        self.units: list[LedgerUnit] = []
        self.outbox, self.inbox = self, self
        self.commit_gates: list[tuple[Gate, Gate]] = []
        self.failures: list[Exception] = []

    async def start(self) -> None:
        self.log.append("start")

    async def stop(self) -> None:
        self.log.append("stop")

    def unit_of_work(self, taken: object = None) -> LedgerUnit:
        unit = LedgerUnit(self, len(self.units) + 1)
        if taken is not None:
            assert isinstance(taken, Ledger)
            unit.take(taken)
        self.units.append(unit)
        return unit

    async def during_commit(self) -> None:
        """What tests put into the middle of a commit."""
        if self.commit_gates:
            reached, go_on = self.commit_gates.pop(0)
            reached.open()
            await go_on.wait()
        if self.failures:
            raise self.failures.pop(0)

    async def pending(self, *, limit: int = 100, after: int = 0) -> Sequence[OutboxRecord]:
        now = datetime.now(timezone.utc)
        return [OutboxRecord(number, sent, now) for number, sent in enumerate(self.sent, 1) if number > after][:limit]

    def lease(self, name: str, *, ttl_s: float) -> OutboxLease:
        raise NotImplementedError

    async def purge(self, older_than: timedelta, *, batch_size: int = 5000) -> int:
        raise NotImplementedError

    def since_start(self) -> list[str]:
        return self.log[self.log.index("start") + 1 :]


class Write(cqrs.Request[str]):
    line: str


class Outer(cqrs.Request[str]):
    line: str = "outer"


class Written(cqrs.DomainEvent):
    line: str


class Passed(cqrs.DomainEvent):
    line: str


class Told(cqrs.DomainEvent):
    line: str


class Plan:
    """What handlers do beside writing; told by the tests."""

    def __init__(self) -> None:
        self.failures: dict[str, list[Exception]] = {}
        self.steps: dict[str, Callable[[], Any]] = {}
        self.ended: list[str] = []

    async def reach(self, name: str) -> None:
        if name in self.steps:
            await self.steps[name]()
        if self.failures.get(name):
            raise self.failures[name].pop(0)


class WriteHandler(cqrs.RequestHandler[Write, str]):
    def __init__(self, ledger: Ledger, plan: Plan) -> None:
        self._ledger, self._plan = ledger, plan

    async def handle(self, request: Write) -> str:
        self._ledger.write(request.line)
        self.events.append(Written(request.line))
        await self._plan.reach("handler")
        return request.line


class OtherHandler(WriteHandler):
    async def handle(self, request: Write) -> str:
        self._ledger.write(f"{request.line} otherwise")
        return request.line


class OuterHandler(cqrs.RequestHandler[Outer, str]):
    """Sends another command; what it makes of that is told by the tests."""

    def __init__(self, ledger: Ledger, app: cqrs.App, plan: Plan) -> None:
        self._ledger, self._app, self._plan = ledger, app, plan

    async def handle(self, request: Outer) -> str:
        self._ledger.write(request.line)
        await self._plan.reach("outer")
        return request.line


class First(cqrs.EventHandler[Written]):
    def __init__(self, ledger: Ledger, plan: Plan) -> None:
        self._ledger, self._plan = ledger, plan

    async def handle(self, event: Written) -> None:
        self._ledger.write(f"first {event.line}")
        self.events.append(Passed(event.line))
        await self._plan.reach("first")


class Second(cqrs.EventHandler[Written]):
    def __init__(self, ledger: Ledger, plan: Plan) -> None:
        self._ledger, self._plan = ledger, plan

    async def handle(self, event: Written) -> None:
        self._ledger.write(f"second {event.line}")
        await self._plan.reach("second")


class Follow(cqrs.EventHandler[Passed]):
    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def handle(self, event: Passed) -> None:
        self._ledger.write(f"follow {event.line}")


class Items(cqrs.Request[str]):
    count: int = 3


class ItemsHandler(cqrs.StreamingRequestHandler[Items, str]):
    def __init__(self, ledger: Ledger, plan: Plan) -> None:
        self._ledger, self._plan = ledger, plan

    async def handle(self, request: Items) -> AsyncIterator[str]:
        for number in range(request.count):
            self._ledger.write(f"item {number}")
            self.events.append(Written(str(number)))
            await self._plan.reach(f"item {number}")
            yield str(number)


class Read(cqrs.Request[int]):
    pass


class ReadHandler(cqrs.RequestHandler[Read, int]):
    async def handle(self, request: Read) -> int:
        return 1


@pytest.fixture
def storage() -> LedgerStorage:
    return LedgerStorage()


@pytest.fixture
def plan() -> Plan:
    return Plan()


@pytest.fixture
def app(storage: LedgerStorage, plan: Plan) -> cqrs.App:
    return make_app(storage, plan)


def make_app(storage: LedgerStorage, plan: Plan, *, bind: bool = True, **options: Any) -> cqrs.App:
    container = options.pop("container", None) or plan_container(plan)
    if isinstance(container, cqrs.SimpleContainer):
        container.instance(Plan, plan)
    app = cqrs.App("shop", storage=storage, container=container, **options)
    app.requests.bind(Outer, OuterHandler)
    app.requests.bind(Items, ItemsHandler)
    app.requests.bind(Read, ReadHandler)
    if bind:
        app.requests.bind(Write, WriteHandler)
    return app


def plan_container(plan: Plan) -> cqrs.SimpleContainer:
    container = cqrs.SimpleContainer()
    container.instance(Plan, plan)
    return container


# One attempt, one unit -----------------------------------------------------------------------------------------------


async def test_handler_event_handlers_and_follow_ups_are_committed_together(
    app: cqrs.App, storage: LedgerStorage
) -> None:
    """``unit of work( handler → domain event handlers → follow-ups ) → outbox rows → commit``."""
    app.events.bind(Written, First)
    app.events.bind(Written, Second)
    app.events.bind(Passed, Follow)
    app.publishes("shop", {"Passed": Passed})
    async with app:
        assert "a" == await app.send(Write("a"))
    assert ["a", "first a", "second a", "follow a"] == storage.lines
    assert ["Passed"] == [envelope.headers["ce_type"] for envelope in storage.sent]
    assert ["begin 1", "commit 1", "close 1", "stop"] == storage.since_start()


async def test_an_attempt_that_raised_leaves_nothing(app: cqrs.App, storage: LedgerStorage, plan: Plan) -> None:
    """Events of an attempt that raised are dropped, and what it changed is undone."""
    app.publishes("shop", {"Written": Written})
    plan.failures["handler"] = [ValueError("no")]
    async with app:
        with pytest.raises(ValueError, match="no"):
            await app.send(Write("a"))
    assert ([], []) == (storage.lines, storage.sent)
    assert ["begin 1", "rollback 1", "close 1", "stop"] == storage.since_start()


async def test_each_attempt_has_its_own_unit_and_each_side_of_a_fallback(storage: LedgerStorage, plan: Plan) -> None:
    """Each attempt, and each side of a fallback, has its own scope, handler and unit of work."""
    app = make_app(storage, plan, bind=False)
    fallback = cqrs.RequestHandlerFallback(WriteHandler, OtherHandler)
    app.requests.bind(Write, fallback, retry=cqrs.RetryPolicy(max_attempts=2, delay_s=0))
    plan.failures["handler"] = [ValueError("1"), ValueError("2")]
    async with app:
        await app.send(Write("a"))
    assert ["a otherwise"] == storage.lines
    ends = ["rollback 1", "close 1", "rollback 2", "close 2", "commit 3", "close 3"]
    assert ends == [line for line in storage.since_start() if not line.startswith(("begin", "stop"))]


async def test_a_message_that_touches_nothing_costs_no_transaction(app: cqrs.App, storage: LedgerStorage) -> None:
    """Opened on first use: a query that touches no session costs no transaction."""
    async with app:
        assert 1 == await app.send(Read())
    assert ["close 1", "stop"] == storage.since_start()


async def test_what_is_only_to_be_sent_is_committed_too(storage: LedgerStorage, plan: Plan) -> None:
    """An event without a handler, published by the App itself, goes to the outbox."""
    app = make_app(storage, plan)
    app.publishes("shop", {"Told": Told})
    async with app:
        await app.publish(Told("x"))
        await app.publish(cqrs.NotificationEvent(event_name="Said", topic="others", payload=Told("y")))
    assert ["shop", "others"] == [envelope.topic for envelope in storage.sent]


async def test_what_cannot_be_written_fails_the_command_before_the_commit(storage: LedgerStorage, plan: Plan) -> None:
    """An event that cannot be encoded fails the command, whatever the policy for errors of event handlers is."""
    app = make_app(storage, plan, event_errors="log")
    app.publishes("shop", {"Written": Written}, key=lambda _: object())
    async with app:
        with pytest.raises(cqrs.EventHandlersFailed) as caught:
            await app.send(Write("a"))
    assert isinstance(caught.value.errors[0], errors.UnpublishableEvent)
    assert caught.value.is_rolled_back
    assert [] == storage.lines


async def test_a_commit_that_fails_is_the_failure_of_the_command(app: cqrs.App, storage: LedgerStorage) -> None:
    """The caller is told, and the unit is closed all the same."""
    storage.failures = [ConnectionError("gone")]
    async with app:
        with pytest.raises(ConnectionError, match="gone"):
            await app.send(Write("a"))
        await app.send(Write("b"))
    assert ["b"] == storage.lines
    assert ["begin 1", "rollback 1", "close 1"] == storage.since_start()[:3]


async def test_a_commit_in_doubt_is_not_tried_again(storage: LedgerStorage, plan: Plan) -> None:
    """It may have taken effect: a retry, or a fallback, would do it twice."""
    app = make_app(storage, plan, bind=False)
    fallback = cqrs.RequestHandlerFallback(WriteHandler, OtherHandler)
    app.requests.bind(Write, fallback, retry=cqrs.RetryPolicy(max_attempts=3, delay_s=0))
    storage.failures = [errors.CommitInDoubt("ledger")]
    async with app:
        with pytest.raises(errors.CommitInDoubt):
            await app.send(Write("a"))
    assert 1 == len(storage.units)


async def test_a_retry_sees_what_an_event_handler_raised(storage: LedgerStorage, plan: Plan) -> None:
    """In a unit nothing has taken effect: the error of an event handler is one of the attempt, and judged as it is."""
    app = make_app(storage, plan, bind=False)
    app.requests.bind(Write, WriteHandler, retry=cqrs.RetryPolicy(delay_s=0, retry_on=(ConnectionError,)))
    app.events.bind(Written, First)
    plan.failures["first"] = [ConnectionError("1"), LookupError("2")]
    async with app:
        with pytest.raises(cqrs.EventHandlersFailed) as caught:
            await app.send(Write("a"))
    assert isinstance(caught.value.errors[0], LookupError)
    assert (2, []) == (len(storage.units), storage.lines)


async def test_a_cancellation_does_not_interrupt_a_commit(app: cqrs.App, storage: LedgerStorage) -> None:
    """Neither a deadline nor a cancellation interrupts a commit."""
    reached, go_on = Gate(), Gate()
    storage.commit_gates = [(reached, go_on)]
    async with app, anyio.create_task_group() as tasks:
        tasks.start_soon(app.send, Write("a"))
        await reached.wait()
        tasks.cancel_scope.cancel()
        go_on.open()
    assert ["a"] == storage.lines
    assert ["begin 1", "commit 1", "close 1", "stop"] == storage.since_start()


async def test_a_deadline_does_not_interrupt_a_commit(storage: LedgerStorage, plan: Plan) -> None:
    """``unit of work( timeout( … ) → outbox rows → commit )``."""
    clock = VirtualClock()
    app = make_app(storage, plan, bind=False, clock=clock)
    app.requests.bind(Write, WriteHandler, timeout_s=5)
    reached, go_on = Gate(), Gate()
    storage.commit_gates = [(reached, go_on)]
    async with app, anyio.create_task_group() as tasks:
        tasks.start_soon(app.send, Write("a"))
        await reached.wait()
        await clock.advance(60)
        go_on.open()
    assert ["a"] == storage.lines


async def test_a_deadline_holds_for_event_handlers_too(storage: LedgerStorage, plan: Plan) -> None:
    """``timeout( handler → domain event handlers → follow-ups )``: in a unit, all of them can be undone."""
    clock = VirtualClock()
    app = make_app(storage, plan, bind=False, clock=clock)
    app.requests.bind(Write, WriteHandler, timeout_s=5)
    app.events.bind(Written, First)
    reached = Gate()

    async def wait_for_ever() -> None:
        reached.open()
        await anyio.sleep_forever()

    plan.steps["first"] = wait_for_ever
    async with app, anyio.create_task_group() as tasks:

        async def send() -> None:
            with pytest.raises(errors.HandlerTimedOut):
                await app.send(Write("a"))

        tasks.start_soon(send)
        await reached.wait()
        await clock.until_asleep()  # what ends it in time
        await clock.advance(6)
    assert [] == storage.lines


async def test_a_cancelled_attempt_is_rolled_back(app: cqrs.App, storage: LedgerStorage, plan: Plan) -> None:
    """Nothing runs on after a cancelled ``send``, and nothing stays of it."""
    reached = Gate()

    async def wait_for_ever() -> None:
        reached.open()
        await anyio.sleep_forever()

    plan.steps["handler"] = wait_for_ever
    async with app, anyio.create_task_group() as tasks:
        tasks.start_soon(app.send, Write("a"))
        await reached.wait()
        tasks.cancel_scope.cancel()
    assert ["begin 1", "rollback 1", "close 1", "stop"] == storage.since_start()


# Where the session comes from ----------------------------------------------------------------------------------------


class ForeignScope:
    """The scope of a container of somebody else's, which can be given values."""

    def __init__(self, container: ForeignContainer, values: dict[type, Any]) -> None:
        self._container, self._values = container, values

    async def resolve(self, wanted: type) -> Any:
        if wanted not in self._values:
            self._values[wanted] = self._container.make(wanted, self._values)
        return self._values[wanted]

    async def aclose(self, error: BaseException | None = None) -> None:
        self._container.closed.append(error)


class ForeignContainer:
    """A container that makes what it was told, and the ledger too if it is to."""

    def __init__(self, plan: Plan, *, has_ledger: bool = False) -> None:
        self.closed: list[BaseException | None] = []
        self.plan = plan
        self.has_ledger = has_ledger
        self.ledgers: list[Ledger] = []

    def provides(self, wanted: type) -> bool:
        return wanted is Plan or (wanted is Ledger and self.has_ledger)

    async def resolve(self, wanted: type) -> Any:
        return self.make(wanted, {})

    def scope(self, values: Any = None) -> ForeignScope:
        return ForeignScope(self, dict(values or {}))

    def make(self, wanted: type, values: dict[type, Any]) -> Any:
        if wanted is Plan:
            return self.plan
        assert wanted is Ledger, wanted
        assert self.has_ledger
        ledger = Ledger(None)  # type: ignore[arg-type] # the storage takes it
        self.ledgers.append(ledger)
        return ledger


class PlainContainer:
    async def resolve(self, wanted: type) -> Any:
        return wanted()


async def test_a_foreign_container_is_given_the_session_of_the_unit(storage: LedgerStorage, plan: Plan) -> None:
    """Adapters that can take scope values get ours."""
    container = ForeignContainer(plan)
    app = make_app(storage, plan, container=container)
    async with app:
        await app.send(Write("a"))
    assert ["a"] == storage.lines
    assert [None] == container.closed


async def test_the_session_that_the_container_makes_is_taken_if_the_storage_says_so(
    storage: LedgerStorage, plan: Plan
) -> None:
    """With ``session_from="container"`` we begin, flush and commit it, while the container closes it."""
    storage.provides, storage.takes = (), Ledger
    container = ForeignContainer(plan, has_ledger=True)
    app = make_app(storage, plan, container=container)
    app.events.bind(Written, First)
    async with app:
        await app.send(Write("a"))
    assert ["a", "first a"] == storage.lines
    assert 1 == len(container.ledgers)


async def test_the_built_in_container_can_make_the_session_too(storage: LedgerStorage, plan: Plan) -> None:
    """The same with ``SimpleContainer``."""
    storage.provides, storage.takes = (), Ledger
    container = cqrs.SimpleContainer()
    container.scoped(Ledger, lambda: Ledger(None))  # type: ignore[arg-type] # the storage takes it
    app = make_app(storage, plan, container=container)
    async with app:
        await app.send(Write("a"))
        await app.send(Write("b"))
    assert ["a", "b"] == storage.lines


@pytest.mark.parametrize(
    ("make", "takes", "expected"),
    [
        pytest.param(lambda _: PlainContainer(), None, errors.ContainerWithoutScopes, id="no scopes"),
        pytest.param(ForeignContainer, Ledger, errors.NotProvidedByContainer, id="not there"),
        pytest.param(lambda plan: ForeignContainer(plan, has_ledger=True), None, errors.ProvidedTwice, id="twice"),
    ],
)
async def test_a_container_that_cannot_hand_the_session_on_is_refused_when_wired(
    make: Any, takes: type | None, expected: type[Exception], storage: LedgerStorage, plan: Plan
) -> None:
    """A container that can do neither is refused when wired."""
    storage.provides, storage.takes = (() if takes else (Ledger,)), takes
    app = make_app(storage, plan, container=make(plan))
    with pytest.raises(cqrs.WiringError) as caught:
        await app.__aenter__()
    assert expected in {type(problem) for problem in caught.value.problems}


async def test_what_is_no_storage_is_refused_when_wired(plan: Plan) -> None:
    """By its type alone: what it shows of itself may hold a password."""
    app = make_app(object(), plan)  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(cqrs.WiringError) as caught:
        await app.__aenter__()
    (problem,) = [one for one in caught.value.problems if isinstance(one, errors.InvalidOption)]
    assert "unit_of_work" in str(problem)


# By hand -------------------------------------------------------------------------------------------------------------


class Say(cqrs.Request[None]):
    event: cqrs.Event
    rolls_back: bool = False


class SayHandler(cqrs.RequestHandler[Say, None]):
    def __init__(self, outbox: OutboxedEventRepository) -> None:
        self._outbox = outbox

    async def handle(self, request: Say) -> None:
        self._outbox.add(request.event)
        if request.rolls_back:
            await self._outbox.rollback()
        else:
            await self._outbox.commit()


async def test_an_outbox_by_hand_writes_and_the_unit_commits(storage: LedgerStorage, plan: Plan) -> None:
    """By hand, ``outbox.commit()`` inside a unit flushes; the unit commits."""
    app = make_app(storage, plan)
    app.requests.bind(Say, SayHandler)
    async with app:
        await app.send(Say(cqrs.NotificationEvent(event_name="Said", topic="others", payload=Told("y"))))
    assert ["Said"] == [envelope.headers["ce_type"] for envelope in storage.sent]
    assert ["flush 1", "commit 1", "close 1", "stop"] == storage.since_start()


async def test_an_outbox_rolled_back_by_hand_rolls_back_the_unit(storage: LedgerStorage, plan: Plan) -> None:
    """Part of a transaction cannot be undone alone: the caller is told that all of it was."""
    app = make_app(storage, plan)
    app.requests.bind(Say, SayHandler)
    event = cqrs.NotificationEvent(event_name="Said", topic="others", payload=Told("y"))
    async with app:
        with pytest.raises(errors.UnitOfWorkRolledBack, match="by hand"):
            await app.send(Say(event, rolls_back=True))
    assert [] == storage.sent


async def test_an_event_that_goes_nowhere_is_refused_by_the_outbox(storage: LedgerStorage, plan: Plan) -> None:
    """Neither a notification nor published: it would be lost in silence."""
    app = make_app(storage, plan)
    app.requests.bind(Say, SayHandler)
    async with app:
        with pytest.raises(errors.UnpublishableEvent, match="publishes"):
            await app.send(Say(Told("y")))


# Events in a unit ----------------------------------------------------------------------------------------------------


async def test_the_first_error_of_an_event_handler_ends_and_rolls_back_all(
    app: cqrs.App, storage: LedgerStorage, plan: Plan
) -> None:
    """One after the other; the first error ends and rolls back all."""
    app.events.bind(Written, First)
    app.events.bind(Written, Second)
    plan.failures["first"] = [ValueError("no")]
    plan.steps["second"] = lambda: pytest.fail("it ran")
    async with app:
        with pytest.raises(cqrs.EventHandlersFailed, match="rolled back") as caught:
            await app.send(Write("a"))
    assert caught.value.is_rolled_back
    assert (["no"], None) == ([str(error) for error in caught.value.errors], caught.value.response)
    assert [] == storage.lines


async def test_event_handlers_run_one_after_the_other_whatever_the_limit_is(storage: LedgerStorage, plan: Plan) -> None:
    """One session: inside a unit the limit does not count."""
    app = make_app(storage, plan, max_concurrent_event_handlers=10)
    app.events.bind(Written, First)
    app.events.bind(Written, Second)

    async def look() -> None:
        await anyio.lowlevel.checkpoint()
        assert ["a", "first a"] == storage.units[0].lines

    plan.steps["first"] = look
    async with app:
        await app.send(Write("a"))
    assert ["a", "first a", "second a"] == storage.lines


async def test_under_log_each_event_handler_has_a_savepoint(
    storage: LedgerStorage, plan: Plan, caplog: pytest.LogCaptureFixture
) -> None:
    """Under ``log`` one that fails leaves nothing behind, its events neither, and the rest is committed."""
    app = make_app(storage, plan, event_errors="log")
    app.events.bind(Written, First)
    app.events.bind(Written, Second)
    app.events.bind(Passed, Follow)
    plan.failures["first"] = [ValueError("no")]
    async with app:
        await app.send(Write("a"))
    assert ["a", "second a"] == storage.lines
    assert [logging.ERROR] == [record.levelno for record in caplog.records if record.exc_info]


async def test_an_event_handler_that_is_tried_again_begins_with_what_it_found(
    storage: LedgerStorage, plan: Plan
) -> None:
    """The policies of an event handler hold inside a unit too: each attempt is a savepoint."""
    app = make_app(storage, plan)
    app.events.bind(Written, First, retry=cqrs.RetryPolicy(max_attempts=3, delay_s=0))
    plan.failures["first"] = [ValueError("1"), ValueError("2")]
    async with app:
        await app.send(Write("a"))
    assert ["a", "first a"] == storage.lines
    assert 2 == sum(line.startswith("undo") for line in storage.log)


# What is sent inside a unit ------------------------------------------------------------------------------------------


async def test_a_send_inside_a_handler_joins_its_unit(app: cqrs.App, storage: LedgerStorage, plan: Plan) -> None:
    """A ``send`` inside a handler is a function call: it joins the unit of work that is open."""
    app.events.bind(Written, First)
    plan.steps["outer"] = lambda: app.send(Write("inner"))
    async with app:
        await app.send(Outer())
    assert ["outer", "inner", "first inner"] == storage.lines
    assert 1 == len(storage.units)


async def test_an_error_inside_a_unit_rolls_it_back_even_if_it_is_caught(
    app: cqrs.App, storage: LedgerStorage, plan: Plan
) -> None:
    """If it raises, the unit can only roll back, even if the error is caught."""

    async def send_and_catch() -> None:
        with pytest.raises(ValueError, match="no"):
            await app.send(Write("inner"))

    plan.steps["outer"] = send_and_catch
    plan.failures["handler"] = [ValueError("no")]
    async with app:
        with pytest.raises(errors.UnitOfWorkRolledBack, match="ValueError") as caught:
            await app.send(Outer())
    assert isinstance(caught.value.__cause__, ValueError)
    assert [] == storage.lines


async def test_a_send_inside_a_unit_is_not_tried_again_by_itself(storage: LedgerStorage, plan: Plan) -> None:
    """Its own retry does not apply, nor its fallback: what failed has left its traces in the unit."""
    app = make_app(storage, plan, bind=False)
    fallback = cqrs.RequestHandlerFallback(WriteHandler, OtherHandler)
    app.requests.bind(Write, fallback, retry=cqrs.RetryPolicy(delay_s=0))
    plan.steps["outer"] = lambda: app.send(Write("inner"))
    plan.failures["handler"] = [ValueError("no")]
    async with app:
        with pytest.raises(ValueError, match="no"):
            await app.send(Outer())
        assert (1, []) == (len(storage.units), storage.lines)
        await app.send(Write("alone"))
    assert ["alone"] == storage.lines


async def test_an_event_published_inside_a_unit_joins_it(app: cqrs.App, storage: LedgerStorage, plan: Plan) -> None:
    """``App.publish`` inside a handler is a part of the same transaction."""
    app.events.bind(Written, First)
    app.publishes("shop", {"Written": Written})
    plan.steps["outer"] = lambda: app.publish(Written("x"))
    async with app:
        await app.send(Outer())
    assert ["outer", "first x"] == storage.lines
    assert (1, 1) == (len(storage.units), len(storage.sent))


async def test_another_task_cannot_join(app: cqrs.App, storage: LedgerStorage, plan: Plan) -> None:
    """Used from another task: ``UnitOfWorkShared``."""

    async def send_beside() -> None:
        async def send() -> None:
            with pytest.raises(errors.UnitOfWorkShared, match="Write"):
                await app.send(Write("inner"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send)

    plan.steps["outer"] = send_beside
    async with app:
        await app.send(Outer())
    assert ["outer"] == storage.lines


async def test_a_task_that_outlives_the_unit_has_its_own(app: cqrs.App, storage: LedgerStorage, plan: Plan) -> None:
    """What a handler has started and left behind is on its own when the unit is over."""
    ended = Gate()
    async with app, anyio.create_task_group() as tasks:

        async def send_later() -> None:
            await ended.wait()
            await app.send(Write("later"))

        async def leave_behind() -> None:
            tasks.start_soon(send_later)

        plan.steps["outer"] = leave_behind
        await app.send(Outer())
        ended.open()
    assert ["outer", "later"] == storage.lines
    assert 2 == len(storage.units)


async def test_a_stream_inside_a_unit_is_refused(app: cqrs.App, storage: LedgerStorage, plan: Plan) -> None:
    """``stream`` inside a unit is refused; the cure: emit an event."""

    async def stream() -> None:
        async for _ in app.stream(Items()):
            pass

    plan.steps["outer"] = stream
    async with app:
        with pytest.raises(errors.StreamInsideUnit, match="Items"):
            await app.send(Outer())
    assert [] == storage.lines


async def test_units_of_two_apps_are_each_their_own(app: cqrs.App, storage: LedgerStorage, plan: Plan) -> None:
    """A handler of one App that uses another has a unit in each; back in the first, it joins the first."""
    others = LedgerStorage()
    second_plan = Plan()
    second = make_app(others, second_plan)
    plan.steps["outer"] = lambda: second.send(Outer("second"))
    second_plan.steps["outer"] = lambda: app.send(Write("back"))
    async with app, second:
        await app.send(Outer("first"))
    assert (["first", "back"], ["second"]) == (storage.lines, others.lines)
    assert (1, 1) == (len(storage.units), len(others.units))


# Streams -------------------------------------------------------------------------------------------------------------


async def test_a_stream_commits_before_each_item_is_handed_out(app: cqrs.App, storage: LedgerStorage) -> None:
    """The unit commits before each item is handed out, with that item's events; none is open meanwhile."""
    app.events.bind(Written, First)
    seen: list[tuple[str, list[str], bool]] = []
    async with app:
        async for item in app.stream(Items(2)):
            seen.append((item, [*storage.lines], storage.units[0].is_begun))
            await app.send(Read())  # the consumer's own, and no part of the stream
    first = ["item 0", "first 0"]
    assert [("0", first, False), ("1", [*first, "item 1", "first 1"], False)] == seen
    assert 3 == len(storage.units)
    assert 1 == storage.log.count("close 1")


async def test_leaving_a_stream_early_rolls_back_only_what_is_unfinished(app: cqrs.App, storage: LedgerStorage) -> None:
    """What was handed out stays."""
    async with app, aclosing(app.stream(Items())) as items:
        assert "0" == await anext(items)
        assert "1" == await anext(items)
    assert ["item 0", "item 1"] == storage.lines
    assert ["rollback 1", "close 1", "stop"] == storage.since_start()[-3:]


async def test_an_item_that_fails_is_rolled_back_alone(app: cqrs.App, storage: LedgerStorage, plan: Plan) -> None:
    """Those before it were committed, and were handed out."""
    plan.failures["item 1"] = [ValueError("no")]
    got: list[str] = []
    async with app:
        with pytest.raises(ValueError, match="no"):
            async for item in app.stream(Items()):
                got.append(item)  # noqa: PERF401 - those before the error count
    assert (["0"], ["item 0"]) == (got, storage.lines)


async def test_a_stream_that_two_tasks_read_in_turn_keeps_its_unit(
    app: cqrs.App, storage: LedgerStorage, plan: Plan
) -> None:
    """Each step belongs to the task that asks for it: what the handler sends joins there."""
    plan.steps["item 1"] = lambda: app.send(Write("inside"))
    got: list[str] = []
    async with app, aclosing(app.stream(Items())) as items:
        got.append(await anext(items))

        async def read() -> None:
            got.append(await anext(items))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
    assert ["0", "1"] == got
    assert ["item 0", "item 1", "inside"] == storage.lines


# From the bus --------------------------------------------------------------------------------------------------------


class CountBatch(cqrs.EventBatchHandler[Told]):
    def __init__(self, ledger: Ledger, plan: Plan) -> None:
        self._ledger, self._plan = ledger, plan

    async def handle(self, events: Sequence[Told]) -> None:
        for index, event in enumerate(events):
            if event.line == "poison":
                raise cqrs.BatchFailed(index) from ValueError("poison")
            self._ledger.write(event.line)


class NoteTold(cqrs.EventHandler[Told]):
    def __init__(self, ledger: Ledger, plan: Plan) -> None:
        self._ledger, self._plan = ledger, plan

    async def handle(self, event: Told) -> None:
        self._ledger.write(event.line)
        self.events.append(Passed(event.line))
        await self._plan.reach("told")


def message(line: str, message_id: uuid.UUID | None = None) -> Envelope:
    headers = {"ce_id": str(message_id or uuid.uuid4()), "ce_type": "Told", "ce_source": "others"}
    return Envelope("news", b'{"line":"%s"}' % line.encode(), None, {**headers, "ce_specversion": "1.0"})


def make_consumer(storage: LedgerStorage, plan: Plan, broker: cqrs.MemoryBroker, **options: Any) -> cqrs.App:
    app = make_app(storage, plan, broker=broker, event_errors="log")
    retry = cqrs.RetryPolicy(max_attempts=2, delay_s=0)
    app.consume("news", {"Told": Told}, retry=retry, order="partition", **options)
    return app


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(30):
        while not condition():
            await anyio.lowlevel.checkpoint()


async def test_a_message_is_handled_in_one_unit_its_inbox_row_first(storage: LedgerStorage, plan: Plan) -> None:
    """One message = one scope, one unit, its inbox row first, all handlers, follow-ups, commit."""
    broker = cqrs.MemoryBroker()
    app = make_consumer(storage, plan, broker)
    app.events.bind(Told, NoteTold)
    app.events.bind(Passed, Follow)
    async with app.running(only=["consumers"]):
        await broker.send(message("x"))
        await until(lambda: app.consumers[0].counts["handled"] == 1)
    assert ["x", "follow x"] == storage.lines
    assert ["begin 1", "accept 1 of 1 1", "commit 1", "close 1"] == storage.since_start()[:4]


async def test_a_repeated_message_is_acknowledged_and_not_handled_again(storage: LedgerStorage, plan: Plan) -> None:
    """With the inbox, effects in the same database are there exactly once."""
    broker = cqrs.MemoryBroker(partitions=1)
    app = make_consumer(storage, plan, broker)
    app.events.bind(Told, NoteTold)
    message_id = uuid.uuid4()
    async with app.running(only=["consumers"]):
        for _ in range(3):
            await broker.send(message("x", message_id))
        await until(lambda: app.consumers[0].counts["handled"] == 3)
    assert ["x"] == storage.lines


async def test_a_consumer_always_raises(storage: LedgerStorage, plan: Plan) -> None:
    """A consumer always uses ``raise``: what failed is rolled back, its inbox row too, and comes again."""
    broker = cqrs.MemoryBroker()
    app = make_consumer(storage, plan, broker)
    app.events.bind(Told, NoteTold)
    plan.failures["told"] = [ValueError("no")]
    async with app.running(only=["consumers"]):
        await broker.send(message("x"))
        await until(lambda: app.consumers[0].counts["handled"] == 1)
    assert ["x"] == storage.lines
    assert 2 == len(storage.units)


async def test_a_batch_is_one_unit_without_what_was_handled_before(storage: LedgerStorage, plan: Plan) -> None:
    """``accept_many`` for a batch: repeated messages are left out, also within the batch."""
    broker = cqrs.MemoryBroker(partitions=1)
    app = make_consumer(storage, plan, broker, batch_handler=CountBatch)
    known = uuid.uuid4()
    async with app.running(only=["consumers"]):
        await broker.send(message("a", known))
        await until(lambda: app.consumers[0].counts["handled"] == 1)
        for line in ("a", "b", "b", "c"):
            ids = {"a": known, "b": uuid.uuid5(known, "b")}
            await broker.send(message(line, ids.get(line)))
        await until(lambda: app.consumers[0].counts["handled"] == 5)
    assert ["a", "b", "c"] == storage.lines


async def test_what_comes_before_a_failed_message_of_a_batch_is_done_again_and_kept(
    storage: LedgerStorage, plan: Plan
) -> None:
    """``BatchFailed(index)``: those before it are done, in a unit of their own; the poison goes to the dead letters."""
    broker = cqrs.MemoryBroker(partitions=1)
    app = make_consumer(storage, plan, broker, batch_handler=CountBatch)
    async with app.running(only=["consumers"]):
        for line in ("a", "b", "poison", "c"):
            await broker.send(message(line))
        counts = app.consumers[0].counts
        await until(lambda: counts["handled"] == 3 and counts["dead_lettered"] == 1)
    assert ["a", "b", "c"] == storage.lines
    assert 3 == len(storage.accepted)


async def test_what_a_failed_batch_emitted_is_undone_with_it(storage: LedgerStorage, plan: Plan) -> None:
    """Of the two before the poison, nobody hears in the unit that is rolled back, and once in the one that is kept."""
    heard: list[str] = []

    class PassBatch(cqrs.EventBatchHandler[Told]):
        async def handle(self, events: Sequence[Told]) -> None:
            for index, event in enumerate(events):
                if event.line == "poison":
                    raise cqrs.BatchFailed(index) from ValueError("poison")
                self.events.append(Passed(event.line))

    class Hear(cqrs.EventHandler[Passed]):
        async def handle(self, event: Passed) -> None:
            heard.append(event.line)

    broker = cqrs.MemoryBroker(partitions=1)
    app = make_consumer(storage, plan, broker, batch_handler=PassBatch)
    app.events.bind(Passed, Hear)
    async with app.running(only=["consumers"]):
        for line in ("a", "b", "poison"):
            await broker.send(message(line))
        counts = app.consumers[0].counts
        await until(lambda: counts["handled"] == 2 and counts["dead_lettered"] == 1)
    assert ["a", "b"] == heard


async def test_a_program_that_consumes_by_itself_names_the_message(storage: LedgerStorage, plan: Plan) -> None:
    """``EventMediator.send(event, message_id=, group=)`` does the same for other people's consumers."""
    app = make_app(storage, plan)
    app.events.bind(Told, NoteTold)
    asked: list[cqrs.EventMediator] = []

    class AskHandler(cqrs.RequestHandler[Read, int]):
        def __init__(self, events: cqrs.EventMediator) -> None:
            asked.append(events)

        async def handle(self, request: Read) -> int:
            return 1

    class Ask(Read):
        pass

    app.requests.bind(Ask, AskHandler)
    message_id = uuid.uuid4()
    async with app:
        await app.send(Ask())
        for group in ("one", "one", "two"):
            await asked[0].send(Told("x"), message_id=message_id, group=group)
    assert ["x", "x"] == storage.lines


async def test_without_a_storage_a_message_id_is_refused() -> None:
    """Nobody would remember it: a promise that cannot be kept is not made."""
    mediator = cqrs.bootstrap.bootstrap_events(events_mapper=lambda _: None)
    with pytest.raises(errors.InvalidOption, match="message_id"):
        await mediator.send(Told("x"), message_id=uuid.uuid4(), group="one")


# The App -------------------------------------------------------------------------------------------------------------


async def test_the_storage_is_started_before_the_broker_and_stopped_after_it(
    storage: LedgerStorage, plan: Plan
) -> None:
    """Start: storage, broker; stop in reverse."""

    class LoggingBroker(cqrs.MemoryBroker):
        async def start(self) -> None:
            storage.log.append("broker start")
            await super().start()

        async def stop(self) -> None:
            storage.log.append("broker stop")
            await super().stop()

    app = make_app(storage, plan, broker=LoggingBroker())
    async with app:
        pass
    assert ["start", "broker start", "broker stop", "stop"] == storage.log


async def test_a_broker_that_does_not_start_stops_the_storage(storage: LedgerStorage, plan: Plan) -> None:
    """What was begun is ended; the App can be started again."""

    class BrokenBroker(cqrs.MemoryBroker):
        async def start(self) -> None:
            raise errors.BrokerUnavailable("it is down")

    app = make_app(storage, plan, broker=BrokenBroker())
    with pytest.raises(errors.BrokerUnavailable):
        await app.__aenter__()
    assert ["start", "stop"] == storage.log


async def test_the_events_of_a_notification_stay_in_this_process_only_if_they_arrive(
    storage: LedgerStorage, plan: Plan
) -> None:
    """A ``NotificationEvent`` emitted by a handler goes out only; an event may have local handlers and be published."""
    app = make_app(storage, plan)
    app.publishes("shop", {"Written": Written})
    app.events.bind(Written, First)
    app.events.bind(cqrs.NotificationEvent[Told], HearTold)
    async with app:
        await app.send(Write("a"))
        await app.publish(cqrs.NotificationEvent(event_name="Said", topic="others", payload=Told("y")))
    assert ["a", "first a"] == storage.lines
    assert ["Written", "Said"] == [envelope.headers["ce_type"] for envelope in storage.sent]


class HearTold(cqrs.EventHandler[cqrs.NotificationEvent[Told]]):
    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def handle(self, event: cqrs.NotificationEvent[Told]) -> None:
        self._ledger.write("heard")


class Resource:
    """Something that a scope ends."""


async def make_resource() -> AsyncIterator[Resource]:
    yield Resource()
    raise OSError("cannot be closed")


class UseHandler(WriteHandler):
    def __init__(self, ledger: Ledger, plan: Plan, resource: Resource) -> None:
        super().__init__(ledger, plan)
        self._resource = resource


def test_a_cleanup_that_fails_after_the_commit_does_not_make_the_command_fail(
    storage: LedgerStorage, plan: Plan, caplog: pytest.LogCaptureFixture
) -> None:
    """What was committed has taken effect: told as a failure, it would be done again."""
    container = cqrs.SimpleContainer()
    container.scoped(Resource, make_resource)
    app = make_app(storage, plan, bind=False, container=container)
    app.requests.bind(Write, UseHandler)

    async def main() -> str:
        async with app:
            return await app.send(Write("a"))

    assert "a" == asyncio.run(main())
    assert ["a"] == storage.lines
    assert "cannot be closed" in caplog.text


async def test_options_of_a_relay_without_a_storage_are_refused() -> None:
    """There would be nothing to relay."""
    with pytest.raises(errors.InvalidOption, match="relay"):
        cqrs.App("shop", relay=cqrs.RelayOptions())


async def test_a_retry_sees_what_a_unit_was_rolled_back_for(storage: LedgerStorage, plan: Plan) -> None:
    """An error that was caught inside decides, as it would have if it had not been caught."""
    app = cqrs.App("shop", storage=storage, container=plan_container(plan))
    app.requests.bind(Write, WriteHandler)
    app.requests.bind(Outer, OuterHandler, retry=cqrs.RetryPolicy(delay_s=0, retry_on=(ConnectionError,)))

    async def send_and_catch() -> None:
        with suppress(ConnectionError, LookupError):
            await app.send(Write("inner"))

    plan.steps["outer"] = send_and_catch
    plan.failures["handler"] = [ConnectionError("1"), LookupError("2")]
    async with app:
        with pytest.raises(errors.UnitOfWorkRolledBack) as caught:
            await app.send(Outer())
    assert isinstance(caught.value.__cause__, LookupError)
    assert 2 == len(storage.units)


# What a review found -------------------------------------------------------------------------------------------------


async def test_events_of_an_attempt_whose_savepoint_could_not_be_kept_are_dropped(
    storage: LedgerStorage, plan: Plan
) -> None:
    """An event handler that is tried again: only what the attempt that stays has emitted goes on."""
    app = make_app(storage, plan)
    app.events.bind(Written, First, retry=cqrs.RetryPolicy(max_attempts=2, delay_s=0))
    app.events.bind(Passed, Follow)

    async def doom_once() -> None:
        plan.steps.pop("first")
        plan.failures["handler"] = [ValueError("no")]
        with pytest.raises(ValueError, match="no"):
            await app.send(Write("inner"))

    plan.steps["first"] = doom_once
    async with app:
        await app.send(Write("a"))
    assert ["a", "first a", "follow a"] == storage.lines


async def test_a_middleware_that_raises_inside_a_unit_dooms_it(storage: LedgerStorage, plan: Plan) -> None:
    """If the ``send`` raises, the unit can only roll back: its middlewares are a part of it."""

    async def deny(request: Any, handle: Any) -> Any:
        await handle(request)
        raise PermissionError

    app = make_app(storage, plan, bind=False)
    app.requests.bind(Write, WriteHandler, middlewares=[deny])

    async def send_and_catch() -> None:
        with pytest.raises(PermissionError):
            await app.send(Write("inner"))

    plan.steps["outer"] = send_and_catch
    async with app:
        with pytest.raises(errors.UnitOfWorkRolledBack):
            await app.send(Outer())
    assert [] == storage.lines


class KeepOutboxHandler(cqrs.RequestHandler[Say, None]):
    kept: list[OutboxedEventRepository] = []

    def __init__(self, outbox: OutboxedEventRepository) -> None:
        self.kept.append(outbox)

    async def handle(self, request: Say) -> None:
        pass


async def test_an_outbox_that_is_kept_beyond_its_unit_is_refused(storage: LedgerStorage, plan: Plan) -> None:
    """Nothing would ever commit what it is given."""
    app = make_app(storage, plan)
    app.requests.bind(Say, KeepOutboxHandler)
    event = cqrs.NotificationEvent(event_name="Said", topic="others", payload=Told("y"))
    async with app:
        await app.send(Say(event))
        outbox = KeepOutboxHandler.kept.pop()
        with pytest.raises(errors.UnitOfWorkOver):
            outbox.add(event)
        with pytest.raises(errors.UnitOfWorkOver):
            await outbox.commit()
        with pytest.raises(errors.UnitOfWorkOver):
            await outbox.rollback()


class CountAndTell(cqrs.EventBatchHandler[Told]):
    async def handle(self, events: Sequence[Told]) -> None:
        self.events.extend(Written(event.line) for event in events)


async def test_errors_of_what_a_batch_emitted_are_raised_too(storage: LedgerStorage, plan: Plan) -> None:
    """A consumer always uses ``raise``, whatever the App's policy is: nothing is acknowledged that failed."""
    broker = cqrs.MemoryBroker(partitions=1)
    app = make_consumer(storage, plan, broker, batch_handler=CountAndTell)
    app.events.bind(Written, First)
    plan.failures["first"] = [ValueError("1"), ValueError("2"), ValueError("3"), ValueError("4")]
    async with app.running(only=["consumers"]):
        await broker.send(message("x"))
        await until(lambda: app.consumers[0].counts["dead_lettered"] == 1)
    assert [] == storage.lines


_tenant: ContextVar[str] = ContextVar("tenant", default="")
_ended: list[str] = []


class Tenant:
    """Something that a scope sets in its context, and takes back."""


async def make_tenant() -> AsyncIterator[Tenant]:
    token = _tenant.set("a tenant")
    yield Tenant()
    _tenant.reset(token)
    _ended.append("well")


class TenantHandler(WriteHandler):
    def __init__(self, ledger: Ledger, plan: Plan, tenant: Tenant) -> None:
        super().__init__(ledger, plan)
        self._tenant = tenant


async def test_a_scope_is_cleaned_up_in_the_context_that_it_was_made_in(storage: LedgerStorage, plan: Plan) -> None:
    """A factory may take back what it has set; with a storage as without."""
    container = plan_container(plan)
    container.scoped(Tenant, make_tenant)
    app = make_app(storage, plan, bind=False, container=container)
    app.requests.bind(Write, TenantHandler)
    _ended.clear()
    async with app:
        await app.send(Write("a"))
        plan.failures["handler"] = [ValueError("no")]
        with pytest.raises(ValueError, match="no"):
            await app.send(Write("b"))
    assert ["well"] == _ended
    assert ["a"] == storage.lines


async def test_under_log_what_the_command_has_left_unwritten_fails_the_command(
    storage: LedgerStorage, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is written before the savepoint of the first event handler, and is not that handler's fault."""
    app = make_app(storage, plan, event_errors="log")
    app.events.bind(Written, First)

    async def refuse(_: LedgerUnit) -> None:
        raise LookupError("a duplicate")

    monkeypatch.setattr(LedgerUnit, "flush", refuse)
    async with app:
        with pytest.raises(LookupError, match="a duplicate"):
            await app.send(Write("a"))
    assert [] == storage.lines
