"""Sagas of an App: over its storage, with its units of work and its outbox, driven by its loops."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

import cqrs_core as cqrs
from cqrs_core import errors
from cqrs_core.clock import SystemClock
from cqrs_core.concurrency import Gate, open_task_group
from cqrs_core.envelope import Envelope
from cqrs_core.memory.unit import MemoryUnitOfWork
from cqrs_core.open_unit import find_unit
from cqrs_core.saga.log import SagaStatus
from cqrs_core.saga.storage import SagaQuery
from cqrs_core.testing import VirtualClock


class Place(cqrs.Request[str]):
    order_id: str = "o-1"


class Sent(cqrs.NotificationEvent[str]):
    pass


def sent(text: str) -> Sent:
    return Sent(event_name="Sent", topic="sent", payload=text)


def app_of(story: Any, *steps: Any, storage: Any = None, **options: Any) -> cqrs.App:
    story.clock = SystemClock()
    app = cqrs.App("shop", storage=storage, **options)
    app.sagas.bind(story.Order, story.saga(*steps))
    return app


def emitting(story: Any, name: str, **attributes: Any) -> Any:
    async def act(self: Any, context: Any) -> Any:
        self.events.append(sent(name))
        await story.tell(f"act {name}", context)
        return self.result(name.lower())

    return story.step(name, act=act, **attributes)


async def run(app: cqrs.App, context: Any, saga_id: uuid.UUID | None = None) -> list[Any]:
    return [result.response async for result in app.stream_saga(context, saga_id=saga_id)]


async def ended(story: Any, app: cqrs.App, saga_id: uuid.UUID) -> SagaStatus:
    """Wait until a saga has ended."""
    ends: list[SagaStatus] = []

    async def has_ended() -> bool:
        record = await app.saga_storage.load(saga_id)
        if record is not None and not record.status.is_live:
            ends.append(record.status)
        return bool(ends)

    await story.until(has_ended)
    return ends[0]


def bodies(storage: cqrs.MemoryStorage) -> list[bytes]:
    return [record.envelope.body for record in storage.outbox.records.behind(0)]


async def test_without_a_storage_sagas_are_kept_in_memory(story: Any) -> None:
    app = app_of(story, "A", "B")
    saga_id = uuid.uuid4()
    async with app:
        assert ["a", "b"] == await run(app, story.Order(), saga_id)
        assert SagaStatus.COMPLETED is await ended(story, app, saga_id)
        assert not app.saga_storage.has_outbox


async def test_outside_the_block_nothing_is_started(story: Any) -> None:
    app = app_of(story, "A")
    with pytest.raises(errors.AppNotStarted):
        app.stream_saga(story.Order())
    with pytest.raises(errors.AppNotStarted):
        await app.start_saga(story.Order())
    with pytest.raises(errors.AppNotStarted):
        _ = app.saga_storage


async def test_a_saga_is_bound_before_the_app_is_started(story: Any) -> None:
    app = cqrs.App("shop")
    async with app:
        with pytest.raises(errors.MapFrozen):
            app.sagas.bind(story.Order, story.saga("A"))
        with pytest.raises(errors.SagaNotBound):
            app.stream_saga(story.Order())


async def test_the_loop_drives_what_was_started(story: Any) -> None:
    """And the App may be started again."""
    app = app_of(story, "A", "B")
    for _ in range(2):
        async with app.running():
            saga_id = await app.start_saga(story.Order())
            assert SagaStatus.COMPLETED is await ended(story, app, saga_id)
        assert app.saga_worker is not None
        assert 1 == app.saga_worker.counts["completed"]

    assert ["act A", "act B"] * 2 == story.events


async def test_the_loop_runs_only_if_it_is_chosen(story: Any) -> None:
    app = app_of(story, "A")
    async with app.running(only=["consumers", "relay"]):
        await app.start_saga(story.Order())
        assert app.saga_worker is None
    async with app.running(only="sagas"):
        assert app.saga_worker is not None
        assert app.relay is None
    with pytest.raises(errors.InvalidOption, match="one of the loops: consumers, relay, sagas"):
        async with app.running(only=["saga"]):
            pass


async def test_an_app_without_sagas_has_no_such_loop() -> None:
    app = cqrs.App("shop")
    async with app.running():
        assert app.saga_worker is None


async def test_messages_of_a_step_are_in_the_outbox_if_and_only_if_the_step_is_durable(story: Any) -> None:
    storage = cqrs.MemoryStorage()
    app = app_of(story, emitting(story, "A"), emitting(story, "B"), storage=storage)
    story.failures["act B"] = [ValueError("no")]
    seen: list[list[bytes]] = []

    async def look() -> None:
        seen.append(bodies(storage))

    story.on["act B"] = look
    async with app:
        with pytest.raises(ValueError, match="no"):
            await run(app, story.Order())
        at_the_end = bodies(storage)

    assert [[b'"A"']] == seen
    assert [b'"A"'] == at_the_end


async def test_the_relay_sends_them(story: Any) -> None:
    received: list[str] = []

    class Hear(cqrs.EventHandler[Sent]):
        async def handle(self, event: Sent) -> None:
            received.append(event.payload)

    app = app_of(story, emitting(story, "A"), storage="memory://")
    app.events.bind(Sent, Hear)
    app.consume("sent", {"Sent": Sent})
    async with app.running():
        await app.start_saga(story.Order())
        await story.until(lambda: bool(received))

    assert ["A"] == received


async def test_an_attempt_has_a_unit_of_work_which_is_committed_before_the_checkpoint(story: Any) -> None:
    """What is put into the outbox by hand in an attempt that fails is rolled back with it."""
    storage = cqrs.MemoryStorage()

    async def act(self: Any, context: Any) -> Any:
        unit = find_unit(app._parts.units, type(context))  # noqa: SLF001 - the unit that is open here
        assert unit is not None
        unit.enqueue([Envelope("by hand", f"{len(story.events)}".encode())])
        await story.tell("act A", context)
        return self.result()

    app = app_of(story, story.step("A", act=act, retry=cqrs.RetryPolicy(max_attempts=2, delay_s=0)), storage=storage)
    story.failures["act A"] = [ValueError("once")]
    async with app:
        await run(app, story.Order())
        kept = bodies(storage)

    assert [b"1"] == kept


async def test_inside_a_unit_of_work_a_saga_is_not_streamed(story: Any) -> None:
    app = app_of(story, "A", storage="memory://")

    class Handler(cqrs.RequestHandler[Place, str]):
        async def handle(self, request: Place) -> str:
            async for _ in app.stream_saga(story.Order()):
                pass
            return "never"

    app.requests.bind(Place, Handler)
    async with app:
        with pytest.raises(errors.StreamInsideUnit, match="leave it to workers"):
            await app.send(Place())


async def test_a_saga_that_a_handler_starts_is_there_if_the_command_is(story: Any) -> None:
    app = app_of(story, "A", storage="memory://")
    started: list[uuid.UUID] = []
    fails = [True, False]

    class Handler(cqrs.RequestHandler[Place, str]):
        async def handle(self, request: Place) -> str:
            started.append(await app.start_saga(story.Order(request.order_id)))
            if fails.pop(0):
                raise ValueError("no")
            return "placed"

    app.requests.bind(Place, Handler)
    async with app.running():
        with pytest.raises(ValueError, match="no"):
            await app.send(Place("1"))
        await app.send(Place("2"))
        assert SagaStatus.COMPLETED is await ended(story, app, started[1])
        assert await app.saga_storage.load(started[0]) is None

    assert ["act A"] == story.events


async def test_what_commands_notify_others_of_lets_nobody_look_for_sagas(story: Any) -> None:
    """And a saga that a command has started lets nobody look into the outbox."""
    clock = VirtualClock()
    storage = cqrs.MemoryStorage(clock=clock)
    app = app_of(story, "A", storage=storage, clock=clock)
    claim, claims, rings = storage.sagas.claim, [], []

    async def count(which: Any) -> Any:
        claims.append(which)
        return await claim(which)

    class Ringing:
        def ring(self) -> None:
            rings.append("outbox")

    class Handler(cqrs.RequestHandler[Place, str]):
        async def handle(self, request: Place) -> str:
            if request.order_id:
                await app.start_saga(story.Order())
            else:
                self.events.append(sent("placed"))
            return "placed"

    storage.sagas.claim = count  # type: ignore[method-assign] # of this one
    app.requests.bind(Place, Handler)
    async with app.running(only=["sagas"]):
        await clock.until_asleep()
        before = len(claims)
        app._parts.signal = Ringing()  # type: ignore[assignment] # noqa: SLF001 - that of another storage
        for _ in range(5):
            await app.send(Place(""))
            await clock.until_asleep()
        told = len(claims) - before, list(rings)
        rings.clear()
        await app.send(Place("1"))
        await story.until(lambda: "act A" in story.events)

    assert (0, ["outbox"] * 5) == told
    assert [] == rings


@pytest.fixture
def commits(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What becomes of the next commits of units: an error before, or after, they have taken effect."""
    commit = MemoryUnitOfWork.commit
    planned: list[Any] = []

    async def planted(self: MemoryUnitOfWork) -> None:
        when, error = planned.pop(0) if planned else (None, None)
        if when == "before":
            raise error
        await commit(self)
        if when == "after":
            raise error

    monkeypatch.setattr(MemoryUnitOfWork, "commit", planted)
    return planned


async def test_a_transactional_step_and_its_record_are_one_commit(story: Any, commits: list[Any]) -> None:
    """A commit that fails leaves neither, and the step has done nothing that counts."""
    storage = cqrs.MemoryStorage()
    step = emitting(story, "A", transactional=True, retry=cqrs.RetryPolicy(max_attempts=2, delay_s=0))
    app = app_of(story, step, "B", storage=storage)
    commits.append(("before", ConnectionError("lost")))
    saga_id = uuid.uuid4()
    seen: list[Any] = []

    async def look() -> None:
        record = await storage.sagas.load(saga_id)
        assert record is not None
        seen.append((record.cursor, bodies(storage)))

    story.on["act A"] = look
    async with app:
        assert ["a", "b"] == await run(app, story.Order(), saga_id)
        history = await app.saga_storage.get_step_history(saga_id)

    assert [(0, []), (0, [])] == seen
    assert ["A", "B"] == [entry.step_id for entry in history]


async def test_a_record_that_is_not_committed_lengthens_no_lease(story: Any, commits: list[Any]) -> None:
    """What the driver believes of its lease is never more than what is stored."""
    clock = VirtualClock()
    storage = cqrs.MemoryStorage(clock=clock)
    step = story.step("A", transactional=True, retry=cqrs.RetryPolicy(max_attempts=2, delay_s=0))
    app = app_of(story, step, storage=storage, clock=clock)
    commits.append(("before", ConnectionError("lost")))
    saga_id = uuid.uuid4()
    ends: list[tuple[float, float]] = []

    async def look() -> None:
        record = await storage.sagas.load(saga_id)
        (lease,) = app._parts.sagas._engine.heartbeat._held  # type: ignore[union-attr] # noqa: SLF001 - what it believes
        assert record is not None
        assert record.wake_at is not None
        ends.append((lease.safe_until - clock.monotonic(), (record.wake_at - clock.now()).total_seconds()))
        clock._seconds += 16.0  # noqa: SLF001 - more than half of the lease, and no heart beats

    story.on["act A"] = look
    async with app:
        await run(app, story.Order(), saga_id)

    assert [(24.0, 30.0), (8.0, 14.0)] == ends


@pytest.mark.parametrize("transactional", [True, False])
async def test_a_commit_says_that_the_saga_is_still_ours(story: Any, *, transactional: bool) -> None:
    """That is news, for a thirtieth of a lease: nobody has to look before the next step, whose record is within it."""
    clock = VirtualClock()
    storage = cqrs.MemoryStorage(clock=clock)
    app = app_of(
        story, *(story.step(name, transactional=transactional) for name in "ABCD"), storage=storage, clock=clock
    )
    load, looks = storage.sagas.load, []

    async def look(saga_id: uuid.UUID) -> Any:
        looks.append(story.events[-1])
        return await load(saga_id)

    async def take_a_while() -> None:
        clock._seconds += 0.9  # noqa: SLF001 - time passes, and no heart beats

    async def take_longer() -> None:
        clock._seconds += 2.0  # noqa: SLF001 - as above

    storage.sagas.load = look  # type: ignore[method-assign] # to count them
    story.on |= {"act A": take_a_while, "act B": take_a_while, "act C": take_longer}
    async with app:
        assert ["a", "b", "c", "d"] == await run(app, story.Order())

    assert [] == looks


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_commit_in_doubt_is_looked_up(story: Any, commits: list[Any], when: str) -> None:
    """If it has taken effect, the step is done; if not, it has failed, and may have had other effects."""
    app = app_of(story, story.step("A", transactional=True), "B", storage="memory://")
    commits.append((when, errors.CommitInDoubt("the storage")))
    async with app:
        if when == "after":
            assert ["a", "b"] == await run(app, story.Order())
        else:
            with pytest.raises(errors.CommitInDoubt):
                await run(app, story.Order())

    assert (["act A", "act B"] if when == "after" else ["act A", "undo A"]) == story.events


async def test_a_transactional_step_of_a_zombie_keeps_nothing(story: Any) -> None:
    """Its unit of work is rolled back, with all that it wrote."""
    storage = cqrs.MemoryStorage()
    app = app_of(story, emitting(story, "A", transactional=True), storage=storage)
    saga_id = uuid.uuid4()

    async def lose() -> None:
        storage.sagas._going[saga_id].fence += 1  # noqa: SLF001 - another driver

    story.on["act A"] = lose
    async with app:
        with pytest.raises(errors.SagaFenced):
            await run(app, story.Order(), saga_id)
        assert [] == bodies(storage)
        assert ["act A"] == story.events


async def test_a_transactional_step_needs_a_storage(story: Any) -> None:
    app = app_of(story, story.step("A", transactional=True))
    with pytest.raises(cqrs.WiringError, match=r"A\.transactional is True"):
        async with app:
            pass


async def test_a_storage_that_keeps_no_sagas_is_told(story: Any) -> None:
    class Without(cqrs.MemoryStorage):
        sagas = None  # type: ignore[assignment] # the fault

        def __init__(self) -> None:
            super().__init__()
            self.sagas = None  # type: ignore[assignment] # the fault

    app = app_of(story, "A", storage=Without())
    with pytest.raises(cqrs.WiringError, match="Without keeps no sagas"):
        async with app:
            pass


async def test_a_step_may_ask_for_the_app(story: Any) -> None:
    """And send a command, which is a part of its unit of work."""

    class Handler(cqrs.RequestHandler[Place, str]):
        async def handle(self, request: Place) -> str:
            story.events.append(f"placed {request.order_id}")
            return request.order_id

    async def act(self: Any, context: Any) -> Any:
        return self.result(await self.app.send(Place(context.order_id)))

    def __init__(self: Any, app: cqrs.App) -> None:  # noqa: N807 - of the class that is made below
        self.app = app

    app = app_of(story, story.step("A", act=act, __init__=__init__), storage="memory://")
    app.requests.bind(Place, Handler)
    async with app:
        assert ["o-1"] == await run(app, story.Order())

    assert ["placed o-1"] == story.events


async def test_what_is_wrong_with_a_saga_is_told_with_all_the_rest(story: Any) -> None:
    app = app_of(story, "A")
    app.sagas.bind(Place, story.saga("B", name="Other"))  # type: ignore[arg-type] # the fault
    app.requests.bind(story.Order, cqrs.RequestHandler)
    with pytest.raises(cqrs.WiringError, match="2 wiring problems"):
        async with app:
            pass


async def test_cancelled_while_a_worker_runs_a_saga_is_left_to_it(story: Any) -> None:
    """Memory or not: somebody goes on."""
    app = app_of(story, "A", "B")
    saga_id, reached = uuid.uuid4(), Gate()

    async def wait() -> None:
        del story.on["act A"]
        reached.open()
        await Gate().wait()

    story.on["act A"] = wait
    async with app.running():

        async def stream() -> None:
            await run(app, story.Order(), saga_id)

        async with open_task_group() as tasks:
            tasks.start(stream)
            await reached.wait()
            tasks.cancel()
        app._parts.sagas.bell.ring()  # type: ignore[union-attr] # noqa: SLF001 - no need to wait for its next look
        assert SagaStatus.COMPLETED is await ended(story, app, saga_id)

    assert ["act A", "act A", "act B"] == story.events


class Reserved(cqrs.DomainEvent):
    order_id: str


def reserving(story: Any) -> Any:
    async def act(self: Any, context: Any) -> Any:
        self.events.append(Reserved(context.order_id))
        await story.tell("act A", context)
        return self.result()

    return story.step("A", act=act)


async def test_handlers_of_events_share_the_unit_of_the_step_and_their_messages_ride_with_it(story: Any) -> None:
    """What they put into the outbox by hand is committed with the unit; what they emit, with the record of the step."""
    storage = cqrs.MemoryStorage()
    app = app_of(story, reserving(story), storage=storage)

    class Handler(cqrs.EventHandler[Reserved]):
        async def handle(self, event: Reserved) -> None:
            unit = find_unit(app._parts.units, Reserved)  # noqa: SLF001 - the unit that is open here
            assert unit is not None
            unit.enqueue([Envelope("by hand", b"by hand")])
            self.events.append(sent("emitted"))

    app.events.bind(Reserved, Handler)
    async with app:
        await run(app, story.Order())
        kept = bodies(storage)

    assert [b"by hand", b'"emitted"'] == kept


async def test_a_handler_of_events_that_fails_rolls_the_unit_back_and_the_step_is_undone(story: Any) -> None:
    """What it did elsewhere has been done: nobody can roll that back."""
    storage = cqrs.MemoryStorage()
    app = app_of(story, reserving(story), storage=storage)

    class Handler(cqrs.EventHandler[Reserved]):
        async def handle(self, event: Reserved) -> None:
            unit = find_unit(app._parts.units, Reserved)  # noqa: SLF001 - as above
            assert unit is not None
            unit.enqueue([Envelope("by hand", b"by hand")])
            raise ValueError("the projection is broken")

    app.events.bind(Reserved, Handler)
    async with app:
        with pytest.raises(errors.EventHandlersFailed):
            await run(app, story.Order())
        kept = bodies(storage)

    assert [] == kept
    assert ["act A", "undo A"] == story.events


async def test_in_recovery_a_step_has_its_unit_and_its_events_too(story: Any) -> None:
    """The worker, and whoever started the saga, are one engine."""
    storage = cqrs.MemoryStorage()
    app = app_of(story, reserving(story), emitting(story, "B"), storage=storage)
    handled: list[bool] = []

    class Handler(cqrs.EventHandler[Reserved]):
        async def handle(self, event: Reserved) -> None:
            handled.append(find_unit(app._parts.units, Reserved) is not None)  # noqa: SLF001 - as above

    app.events.bind(Reserved, Handler)
    async with app.running(only="sagas"):
        saga_id = await app.start_saga(story.Order())
        assert SagaStatus.COMPLETED is await ended(story, app, saga_id)
        kept = bodies(storage)

    assert [True] == handled
    assert [b'"B"'] == kept


class Closed(cqrs.MemoryBroker):
    """A broker that cannot be reached."""

    async def start(self) -> None:
        raise errors.BrokerUnavailable("It is closed.")


async def test_people_look_after_sagas_while_the_program_does_not_run(story: Any) -> None:
    """Its broker is not started, so that it need not be there; and the App may be started afterwards."""
    storage = cqrs.MemoryStorage(clock=story.clock)
    app = app_of(story, "A", storage=storage, broker=Closed())
    await storage.start()
    async with app.saga_administration() as administration:
        assert [] == await administration.storage.find(SagaQuery())
        for second in (app, app.saga_administration()):
            with pytest.raises(errors.AppStarted, match="or its sagas are looked after"):
                await second.__aenter__()
        with pytest.raises(errors.AppNotStarted):
            await app.start_saga(story.Order())
    with pytest.raises(errors.BrokerUnavailable):
        await app.__aenter__()
    await storage.stop()


async def test_people_look_after_sagas_inside_the_program(story: Any) -> None:
    app = app_of(story, "A", storage=cqrs.MemoryStorage(clock=story.clock))
    async with app:
        saga_id = await app.start_saga(story.Order())
        async with app.saga_administration() as administration:
            record = await administration.cancel(saga_id, actor="Ada", reason="it was a mistake")
        assert SagaStatus.FAILED is record.status
        assert record == await app.saga_storage.load(saga_id)
