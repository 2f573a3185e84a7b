"""The explorer finds no broken promise in the engine, and finds each bug that is planted into it."""

from __future__ import annotations

import os
import random
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from types import new_class
from typing import Any

import pytest

import cqrs_core as cqrs
from cqrs_core.envelope import Envelope
from cqrs_core.errors import InvalidOption
from cqrs_core.memory import MemorySagaStorage
from cqrs_core.resilience import RetryPolicy
from cqrs_core.saga import execution, recovery
from cqrs_core.saga import plan as plans
from cqrs_core.saga.compensation import Compensator
from cqrs_core.saga.current import CurrentStep
from cqrs_core.saga.engine import SagaEngine
from cqrs_core.saga.journal import Journal
from cqrs_core.saga.log import Branch, SagaAction, SagaStatus
from cqrs_core.saga.plan import Happened, Standing, StepKind
from cqrs_core.saga.publishing import Publishing
from cqrs_core.saga.storage import SagaStorage, SagaWrite
from cqrs_core.testing import Exploration, ExplorationFailed, Played, Schedule, VirtualClock, assert_idempotent, explore
from cqrs_core.testing.exploring.explore import faults_of
from cqrs_core.testing.exploring.schedule import MODES

#: All faults, and a second crash at every point: `SAGA_SCHEDULES=long`. By itself, two faults for each saga.
IS_LONG = os.environ.get("SAGA_SCHEDULES") == "long"


class Order(cqrs.SagaContext):
    order_id: str = "o-1"
    done: str = ""


def step(name: str, *, emits: bool = True, **attributes: Any) -> Any:
    """Write a class of steps that leaves its mark on the context, and tells others."""

    async def act(self: Any, context: Order) -> Any:
        context.done += name
        if emits:
            self.events.append(cqrs.NotificationEvent(event_name=name, payload=name))
        return self.result()

    body = {"act": act, "compensation_retry": RetryPolicy(max_attempts=2, delay_s=0.1), **attributes}
    bases = (cqrs.SagaStepHandler[Order, None],)
    return new_class(name, bases, exec_body=lambda namespace: namespace.update(body))


def saga(name: str, *steps: Any) -> Any:
    return new_class(name, (cqrs.Saga[Order],), exec_body=lambda namespace: namespace.update(steps=list(steps)))


def generated(seed: int) -> Any:
    """Write a saga of 1 to 5 steps: some with fallbacks, some retried, some with a point of no return."""
    draw = random.Random(seed)  # noqa: S311 - sagas, and no secrets
    length = 1 + seed % 5
    pivot = draw.randrange(length) if draw.random() < 0.4 else length
    steps = []
    for number in range(length):
        kind = StepKind.COMPENSABLE if number < pivot else StepKind.PIVOT if number == pivot else StepKind.RETRIABLE
        options: dict[str, Any] = {"kind": kind, "emits": draw.random() < 0.7}
        if draw.random() < 0.3:
            options["retry"] = RetryPolicy(max_attempts=2, delay_s=0.1)
        letter = "ABCDE"[number]
        made = step(letter, **options)
        steps.append(cqrs.Fallback(made, step(f"F{letter}", kind=kind)) if draw.random() < 0.35 else made)
    return saga(f"Generated{seed}", *steps)


def explored(made: Any, seed: int = 0, **options: Any) -> Exploration:
    if IS_LONG:
        return explore(made, context=Order, is_thorough=True, **options)
    every = faults_of(made)
    chosen = random.Random(seed).sample(every, min(2, len(every)))  # noqa: S311 - as above
    return explore(made, context=Order, faults=chosen, **options)


@pytest.mark.parametrize("seed", range(24))
def test_no_schedule_breaks_a_promise(seed: int) -> None:
    """Generated sagas of 1 to 5 steps, with fallbacks, points of no return, and undos that fail."""
    found = explored(generated(seed), seed)

    assert found.total > 50
    assert set(MODES) == set(found.counts)


def test_everything_that_can_fail_is_tried() -> None:
    """A saga of one step with a fallback, and all there is."""
    found = explore(saga("Small", cqrs.Fallback(step("A"), step("F"))), context=Order)

    assert {"completed", "failed", "never started"} == set(found.ends)
    assert found.total > 200


# Bugs, planted one at a time ------------------------------------------------------------------------------------------

THREE = saga("Three", step("A"), cqrs.Fallback(step("B"), step("F")), step("C"))
#: Enough to find them all.
SOME: Any = [
    {"act B": "lost"},
    {"act C": "lost"},
    {"act C": "refused_later"},
    {"act C": "lost", "undo A": "fails"},
]


def turn_in_memory_only(patch: pytest.MonkeyPatch) -> None:
    """The point of no return is not durable before the first undo."""
    turn = execution.Executor._turn  # noqa: SLF001 - where the bug is planted

    async def planted(self: Any, run: Any, *given: Any) -> None:
        journal, self._journal = self._journal, _Silent()
        try:
            await turn(self, run, *given)
        finally:
            self._journal = journal

    class _Silent:
        async def note(self, run: Any, standing: Standing, *_: Any, done: Any = None, **__: Any) -> None:
            run.standing, run.done = standing, run.done if done is None else done

    patch.setattr(execution.Executor, "_turn", planted)


def write_without_the_fence(patch: pytest.MonkeyPatch) -> None:
    """A worker that has lost the saga goes on writing."""

    def planted(self: Any, write: Any) -> Any:
        return self._rows.get(write.saga_id)

    patch.setattr(MemorySagaStorage, "_guarded", planted)


def forget_the_doubt(patch: pytest.MonkeyPatch) -> None:
    """A step that may have taken effect is not undone."""
    patch.setattr(execution, "may_have_taken_effect", lambda *_: False)


def forget_earlier_attempts(patch: pytest.MonkeyPatch) -> None:
    """A claim does not count the attempt that the one before may have begun."""
    follow = plans.follow

    def planted(standing: Standing, happened: Happened, *given: Any, **named: Any) -> Standing:
        after = follow(standing, happened, *given, **named)
        return after._replace(attempt=1) if happened is Happened.CLAIMED else after

    patch.setattr("cqrs_core.memory.sagas.follow", planted)


def fall_back_at_once(patch: pytest.MonkeyPatch) -> None:
    """A primary in doubt is left as it is when its fallback begins."""
    follow = plans.follow

    def planted(standing: Standing, happened: Happened, *given: Any, **named: Any) -> Standing:
        after = follow(standing, happened, *given, **named)
        return after._replace(branch=Branch.FALLBACK) if after.branch is Branch.LEAVING else after

    patch.setattr(execution, "follow", planted)


def send_before_it_is_durable(patch: pytest.MonkeyPatch) -> None:
    """Messages of a step leave when it has returned, whatever becomes of its record."""
    envelopes = Publishing.envelopes

    def planted(self: Any, saga_id: Any, events: Any) -> Any:
        made = envelopes(self, saga_id, events)
        if made:
            OUTBOXES[-1].keep(made)
        return ()

    init = MemorySagaStorage.__init__

    def remember(self: Any, **named: Any) -> None:
        init(self, **named)
        OUTBOXES.append(named["outbox"])

    patch.setattr(MemorySagaStorage, "__init__", remember)
    patch.setattr(Publishing, "envelopes", planted)


OUTBOXES: list[Any] = []


def undo_past_what_cannot_be_undone(patch: pytest.MonkeyPatch) -> None:
    """An undo that fails for good is taken for done."""
    note = Journal.note

    async def planted(self: Any, run: Any, standing: Standing, *given: Any, **named: Any) -> None:
        if standing.status is SagaStatus.SUSPENDED and standing.suspended_from is SagaStatus.COMPENSATING:
            left = standing.cursor - 1
            status = SagaStatus.COMPENSATING if left else SagaStatus.FAILED
            standing, named["done"] = Standing(status, left, Branch.PRIMARY, 1 if left else 0), run.done[:-1]
        await note(self, run, standing, *given, **named)

    patch.setattr(Journal, "note", planted)


def begin_after_standing_still(patch: pytest.MonkeyPatch) -> None:
    """A worker does not ask whether it still has the saga before it begins a step."""
    patch.setattr(Journal, "is_unsure_of", lambda *_: False)


def begin_without_a_look(patch: pytest.MonkeyPatch) -> None:
    """A worker does not look whether a person has decided otherwise before it begins a step."""

    def planted(self: Any, run: Any) -> bool:
        return bool(self._clock.monotonic() >= run.lease.safe_until)

    patch.setattr(Journal, "is_unsure_of", planted)


def new_key_for_each_attempt(patch: pytest.MonkeyPatch) -> None:
    """A service cannot know a repetition."""
    patch.setattr(CurrentStep, "idempotency_key", property(lambda _: uuid.uuid4()))


def forget_what_was_asked(patch: pytest.MonkeyPatch) -> None:
    """Cancelled while it writes, a driver takes it for granted that nothing was written."""

    async def planted(*_: Any) -> bool:
        return False

    patch.setattr(Journal, "was_written", planted)


def undo_in_the_order_of_doing(patch: pytest.MonkeyPatch) -> None:
    """The first is undone first."""

    async def planted(self: Any, run: Any) -> None:
        await self._undo(run, run.done[0])

    patch.setattr(Compensator, "undo_last", planted)


def forget_history(patch: pytest.MonkeyPatch) -> None:
    """Who recovers a saga does not look at what was done."""
    patch.setattr(recovery, "still_done", lambda _: [])


def act_before_it_is_durable(patch: pytest.MonkeyPatch) -> None:
    """The first step begins while the start is under way."""
    begin = SagaEngine.begin

    async def planted(self: Any, made: Any, context: Any, saga_id: uuid.UUID) -> Any:
        current = CurrentStep(saga_id, "A", Branch.PRIMARY, SagaAction.ACT, 1, 1)
        await made.steps[0].primary.act(context, current)
        return await begin(self, made, context, saga_id)

    patch.setattr(SagaEngine, "begin", planted)


BUGS: list[Callable[[pytest.MonkeyPatch], None]] = [
    turn_in_memory_only,
    write_without_the_fence,
    forget_the_doubt,
    forget_earlier_attempts,
    fall_back_at_once,
    send_before_it_is_durable,
    undo_past_what_cannot_be_undone,
    begin_after_standing_still,
    begin_without_a_look,
    new_key_for_each_attempt,
    forget_what_was_asked,
    undo_in_the_order_of_doing,
    forget_history,
    act_before_it_is_durable,
]


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_a_planted_bug_is_found(bug: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the schedule that it tells finds it again, alone; without the bug, it finds nothing."""
    with monkeypatch.context() as patch:
        bug(patch)
        with pytest.raises(ExplorationFailed) as raised:
            explore(THREE, context=Order, modes=["none", "crash", "zombie", "cancel", "undo"], faults=SOME)
        shortest = raised.value.shortest
        with pytest.raises(ExplorationFailed):
            explore(THREE, context=Order, schedules=[shortest.schedule])
    found = explore(THREE, context=Order, schedules=[shortest.schedule])

    assert (1, []) == (found.total, found.unreached)


# What it tells, and what it takes -------------------------------------------------------------------------------------


def test_the_shortest_schedule_is_told_as_a_test_to_paste(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_the_doubt(monkeypatch)
    with pytest.raises(AssertionError) as raised:
        explore(saga("Two", step("A"), step("B")), context=Order, modes=["none"])
    lines = str(raised.value).splitlines()

    assert "Two: 6 of 11 schedules break a promise. The shortest:" == lines[0]
    assert "  - The saga says that all is undone, and A is not." == lines[1]
    assert "      0 first: start is asked for" == lines[2]
    assert "      2 first: act A begins" in lines
    assert [
        "from cqrs_core.testing import Schedule, explore",
        "",
        "",
        "def test_two_with_faults() -> None:",
        "    explore(Two, ..., schedules=[Schedule(faults={'act A': 'lost'})])",
    ] == lines[-5:]


def test_a_test_to_paste_asks_for_the_point_and_the_report_says_what_was_promised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    new_key_for_each_attempt(monkeypatch)
    with pytest.raises(ExplorationFailed) as raised:
        explore(THREE, context=Order, modes=["crash"], faults=[])
    at = raised.value.shortest.schedule.at
    lines = str(raised.value).splitlines()

    assert "    (Promise 3: the key of a step is the same in every attempt.)" in lines
    assert [
        f"def test_three_crash_at_{at}() -> None:",
        f"    found = explore(Three, ..., schedules=[Schedule(mode='crash', at={at})])",
        "    assert [] == found.unreached, 'it says nothing any more: explore anew'",
    ] == lines[-3:]


class Ledger:
    """A bank as a program would fake it: it knows repetitions by their keys, or not."""

    def __init__(self, *, knows_keys: bool) -> None:
        self.knows_keys = knows_keys
        self.booked: list[uuid.UUID] = []
        self.container = cqrs.SimpleContainer()
        self.container.instance(Ledger, self)

    def book(self, key: uuid.UUID) -> None:
        if not self.knows_keys or key not in self.booked:
            self.booked.append(key)

    def cancel(self, key: uuid.UUID) -> None:
        if key in self.booked:
            self.booked.remove(key)


class Charge(cqrs.SagaStepHandler[Order, None]):
    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    async def act(self, context: Order) -> Any:
        self.ledger.book(cqrs.current_step().idempotency_key)
        return self.result()

    async def compensate(self, context: Order) -> None:
        self.ledger.cancel(cqrs.current_step().act_key)


class Paying(cqrs.Saga[Order]):
    steps = [Charge, step("Ship")]


def books_balance(ledger: Ledger, played: Played) -> None:
    assert played.record is not None or not ledger.booked
    if played.record is not None and played.record.status in (SagaStatus.COMPLETED, SagaStatus.FAILED):
        expected = int(played.record.status is SagaStatus.COMPLETED)
        assert expected == len(ledger.booked), f"{played.record.status}, and booked {len(ledger.booked)} times"


def test_a_program_checks_a_world_of_its_own() -> None:
    faults: Any = [{"act Ship": "lost"}, {"act Ship": "refused"}]
    world = partial(Ledger, knows_keys=True)
    found = explore(Paying, context=Order, world=world, check=books_balance, faults=faults)

    assert found.total > 200


def test_a_service_that_does_not_know_repetitions_is_found() -> None:
    with pytest.raises(ExplorationFailed, match=r"check: completed, and booked 2 times") as raised:
        explore(Paying, context=Order, world=lambda: Ledger(knows_keys=False), check=books_balance, faults=[])

    assert "repeat" in {played.schedule.mode for played in raised.value.exploration.failed}


def test_a_late_act_that_no_service_refuses_is_what_no_engine_can_call_back() -> None:
    """With services that do not remember an undo, a worker that stood still in the middle of an act breaks it."""
    with pytest.raises(ExplorationFailed) as raised:
        explore(THREE, context=Order, refuses_late_acts=False, faults=SOME)

    assert {"zombie"} == {played.schedule.mode for played in raised.value.exploration.failed}


def test_handlers_of_events_run_too() -> None:
    class Told(cqrs.DomainEvent):
        pass

    handled: list[Told] = []

    class Hear(cqrs.EventHandler[Told]):
        async def handle(self, event: Told) -> None:
            handled.append(event)

    async def act(self: Any, _: Order) -> Any:
        self.events.append(Told())
        return self.result()

    made = saga("Telling", step("A", act=act))
    explore(made, context=Order, events=lambda events: events.bind(Told, Hear), schedules=[Schedule()])

    assert 1 == len(handled)


def test_a_step_that_raises_by_itself_is_a_step_that_fails() -> None:
    async def act(*_: Any) -> Any:
        raise KeyError("sold out")

    found = explore(saga("SoldOut", step("A"), step("B", act=act)), context=Order, modes=["none", "crash"], faults=[])

    assert {"failed", "never started"} == set(found.ends)


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"modes": []}, r"modes is \[\]\. It must be some of none, crash,"),
        ({"modes": ["crash", "explode"]}, r"modes is \['crash', 'explode'\]"),
        ({"schedules": []}, r"schedules is \[\]\. It must be one at least"),
        (
            {"faults": [{"act D": "lost"}]},
            r"faults is 'act D'\. It must be a call of the saga, one of 'act A', 'undo A', 'a",
        ),
        ({"faults": [{"act A fallback": "lost"}]}, "faults is 'act A fallback'"),
        ({"faults": [{"A": "lost"}]}, "faults is 'A'"),
        ({"faults": [{"act A": "explodes"}]}, "faults is 'explodes'"),
        ({"schedules": [Schedule(faults={"undo B failback": "fails"})]}, "faults is 'undo B failback'"),
        (
            {"world": object},
            "world is <object object.*It must be what makes a container, or an object with a container",
        ),
    ],
)
def test_what_means_nothing_is_refused(wrong: dict[str, Any], problem: str) -> None:
    """And not passed over: an exploration of nothing would find nothing, and be content."""
    with pytest.raises(InvalidOption, match=f"^{problem}"):
        explore(THREE, context=Order, **wrong)


def test_every_call_of_a_saga_may_be_told_to_fail() -> None:
    every = {call for fault in faults_of(THREE) for call in fault}

    assert {"act A", "undo A", "act B", "undo B", "act B fallback", "act C", "undo C"} == every
    assert explore(THREE, context=Order, modes=["none"], faults=[{"undo B fallback": "fails"}]).total == 2


@pytest.mark.parametrize(
    "beyond", [Schedule("crash", at=999), Schedule("double_crash", at=2, then=999), Schedule("lost_answer", at=99)]
)
def test_a_schedule_whose_point_is_not_come_to_is_told(beyond: Schedule) -> None:
    """It was played, and says nothing: nothing has happened at its point."""
    found = explore(THREE, context=Order, schedules=[Schedule("crash", at=2), beyond])

    assert [beyond] == found.unreached
    assert 2 == found.total


def test_an_exploration_of_all_points_asks_for_none_that_is_not_come_to() -> None:
    assert [] == explore(THREE, context=Order, modes=["crash"], faults=[]).unreached


@pytest.mark.parametrize("wrong", [{"mode": "explode"}, {"faults": {"act A": "explodes"}}])
def test_a_schedule_that_means_nothing_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidOption, match=f"{next(iter(wrong))} is "):
        Schedule(**wrong)


def test_steps_that_can_be_repeated_are_idempotent() -> None:
    assert_idempotent(
        Charge, context=Order, world=lambda: Ledger(knows_keys=True), observe=lambda ledger: len(ledger.booked)
    )


def test_steps_that_cannot_are_not() -> None:
    with pytest.raises(AssertionError, match=r"Charge.act, done twice, leaves 2, and done once 1\."):
        assert_idempotent(
            Charge, context=Order, world=lambda: Ledger(knows_keys=False), observe=lambda ledger: len(ledger.booked)
        )


def test_a_step_that_cannot_be_undone_before_it_is_done_is_not() -> None:
    class Strict(Charge):
        async def compensate(self, context: Order) -> None:
            self.ledger.booked.remove(cqrs.current_step().act_key)

    with pytest.raises(ValueError, match="not in list"):
        assert_idempotent(
            Strict, context=Order, world=lambda: Ledger(knows_keys=True), observe=lambda ledger: len(ledger.booked)
        )


def test_a_step_that_can_be_undone_once_before_it_is_done_and_not_twice_is_not() -> None:
    class Refund(Charge):
        async def compensate(self, context: Order) -> None:
            if cqrs.current_step().act_key not in self.ledger.booked:
                self.ledger.booked.append(uuid.uuid4())

    with pytest.raises(AssertionError, match=r"compensate, done twice without act, leaves 2, and done once 1\."):
        assert_idempotent(
            Refund, context=Order, world=lambda: Ledger(knows_keys=True), observe=lambda ledger: len(ledger.booked)
        )


def test_a_world_without_a_container_is_told() -> None:
    with pytest.raises(InvalidOption, match="^world is <object object"):
        assert_idempotent(Charge, context=Order, world=object, observe=repr)


def test_a_step_whose_needs_are_not_met_is_told() -> None:
    with pytest.raises(cqrs.CqrsError, match="Ledger"):
        assert_idempotent(Charge, context=Order, world=cqrs.SimpleContainer, observe=repr)


class Kept:
    """A storage to play in: one for all plays, with a clock of its own."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.memory = cqrs.MemoryStorage(clock=self.clock)
        self.is_open = False
        self.passed_s = 0.0

    @asynccontextmanager
    async def open_storage(self) -> AsyncIterator[SagaStorage]:
        self.is_open = True
        yield self.memory.sagas
        self.is_open = False

    async def sent(self, storage: SagaStorage) -> Sequence[Envelope]:
        return [record.envelope for record in await self.memory.outbox.pending(limit=10_000)]

    async def pass_time(self, storage: SagaStorage, seconds: float) -> None:
        self.passed_s += seconds
        await self.clock.advance(seconds)


def test_sagas_are_played_in_a_storage_that_is_given() -> None:
    """It is opened once, for all plays; each has a saga of its own there, and the same comes of it as in memory."""
    kept = Kept()

    def is_kept(_: Any, played: Played) -> None:
        assert kept.is_open
        row = kept.memory.sagas._rows.get(played.saga_id)  # noqa: SLF001 - where it is
        assert (row and row.record()) == played.record

    modes = ["none", "crash", "undo"]
    found = explore(THREE, context=Order, modes=modes, faults=[], storage=kept, check=is_kept)
    in_memory = explore(THREE, context=Order, modes=modes, faults=[])

    assert (in_memory.counts, in_memory.ends) == (found.counts, found.ends)
    assert len(kept.memory.sagas._rows) > 2 * found.total // 3  # noqa: SLF001 - as above
    assert not kept.is_open
    assert kept.passed_s > 0


def test_a_storage_that_is_given_and_does_not_keep_its_promises_is_found_out() -> None:
    """One that lets whoever has lost a saga write it."""

    class Careless(MemorySagaStorage):
        async def write(self, write: SagaWrite, *, within: Any = None) -> None:
            row = self._rows.get(write.saga_id)
            if row is not None:
                write = write._replace(fence=row.fence, version=row.version)
            await super().write(write, within=within)

    class CarelesslyKept(Kept):
        def __init__(self) -> None:
            super().__init__()
            self.memory.sagas = Careless(clock=self.clock, outbox=self.memory.outbox)

    with pytest.raises(ExplorationFailed, match="a driver that has lost the saga has changed it"):
        explore(THREE, context=Order, modes=["zombie"], faults=[], storage=CarelesslyKept())
