"""Plays one schedule: a saga in a new storage, and as many lives of a worker as it takes."""

from __future__ import annotations

import copy
from collections import Counter, defaultdict
from functools import partial
from typing import TYPE_CHECKING, Any

from cqrs_core.concurrency import open_cancel_scope, open_task_group
from cqrs_core.envelope import ID
from cqrs_core.errors import CqrsError, SagaChanged, SagaNotFound
from cqrs_core.outgoing import OutgoingEvents
from cqrs_core.saga.administration import SagaAdministration
from cqrs_core.saga.engine import SagaEngine
from cqrs_core.saga.leases import Heartbeat, Lease
from cqrs_core.saga.log import SagaAction, SagaStatus, SagaStepStatus
from cqrs_core.saga.options import SagaOptions
from cqrs_core.saga.publishing import Publishing
from cqrs_core.saga.recovery import Recovery
from cqrs_core.saga.run import Run
from cqrs_core.saga.storage import missing_keeper_methods
from cqrs_core.testing.clock import VirtualClock
from cqrs_core.testing.exploring.effects import Effect, taking_effect
from cqrs_core.testing.exploring.incarnation import Died, Incarnation, MortalStorage, living
from cqrs_core.testing.exploring.ledger import Ledger, SideId
from cqrs_core.testing.exploring.schedule import Played

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from cqrs_core.clock import Clock
    from cqrs_core.envelope import Envelope
    from cqrs_core.messages import Event
    from cqrs_core.saga.attempt import Attempt
    from cqrs_core.saga.current import CurrentStep
    from cqrs_core.saga.definition import Definition
    from cqrs_core.saga.runnable import RunnableSaga
    from cqrs_core.saga.steps import SagaContext
    from cqrs_core.testing.exploring.backstage import Backstage
    from cqrs_core.testing.exploring.effects import MortalUnit
    from cqrs_core.testing.exploring.schedule import Schedule

#: How often workers look for the saga: more often than anything that goes wrong here needs it.
_PASSES = 6
_LEASE_S = SagaOptions().lease_s
#: How long a person takes about a decision: a small part of a lease.
_DECIDING_S = 2.0


class Refused(Exception):
    """A service has said no: nothing was done."""


class Lost(TimeoutError):
    """A service has done what it was asked, and its answer did not come."""


class Down(Exception):
    """A service that undoes does not work."""


class Play:
    """One play of a saga, as a schedule has it."""

    def __init__(
        self,
        saga: RunnableSaga,
        schedule: Schedule,
        make_backstage: Callable[[Clock], Backstage],
        *,
        refuses_late_acts: bool,
    ) -> None:
        self._saga = saga
        self._schedule = schedule
        self._refuses_late_acts = refuses_late_acts
        self._clock = VirtualClock(jumps=True)
        self._backstage = make_backstage(self._clock)
        self._sagas, self._id = self._backstage.sagas, self._backstage.saga_id
        self._ledger = Ledger(saga.definition)
        self._transactional = transactional_sides(saga.definition)
        self._storage = MortalStorage(self._sagas, is_durable=schedule.is_durable, on_write=self._ledger.written)
        self._played = Played(schedule, self._id)
        self._calls: Counter[str] = Counter()
        #: What handlers themselves have raised.
        self._raised: list[Exception] = []
        #: By side and action, for each attempt that returned: the ids of the messages that it wants sent.
        self._emitted: dict[tuple[SideId, str], list[frozenset[str]]] = defaultdict(list)
        self._outgoing = OutgoingEvents("explore", clock=self._clock)

    # The play itself --------------------------------------------------------------------------------------------------

    async def run(self, context: SagaContext) -> None:
        """Let a worker begin, and others go on as often as it takes."""
        schedule, trace = self._schedule, self._played.trace
        at = None if schedule.mode in ("none", "repeat") else schedule.at
        does = {"double_crash": "crash"}.get(schedule.mode, schedule.mode)
        first = Incarnation("first", at=at, does=does, trace=trace)
        engine = self._engine()

        async def begin() -> Run | None:
            run = await engine.begin(self._saga, context, self._id)
            return run if isinstance(run, Run) else None

        async with open_task_group() as tasks:
            tasks.start(partial(self._live, first, partial(_drain, engine, begin)))
            await first.paused.wait()
            if schedule.mode == "zombie" and first.was_reached:
                await self._recover(trace)
            elif schedule.mode == "undo" and first.was_reached:
                await self._decide(trace)
            first.resumed.open()
        second = await self._recover(trace)
        self._played.was_reached = (at is None or first.was_reached) and (
            schedule.mode != "double_crash" or (second is not None and second.was_reached)
        )

    def unit_of_work(self) -> MortalUnit:
        """Make a unit of work of the storage of this play."""
        return self._backstage.unit_of_work()

    def written(self, event: Event) -> Sequence[Envelope]:
        """Write an event for other processes."""
        return self._outgoing.envelopes(event)

    def _engine(self) -> SagaEngine:
        heart = _StillHeart(self._storage, lease_s=_LEASE_S, clock=self._clock)
        publishing = Publishing(None, self._outgoing.envelopes)
        return SagaEngine(self._storage, publishing, clock=self._clock, heartbeat=heart)

    async def _decide(self, trace: list[str]) -> None:
        """Let a person have the saga undone, if there is a way back."""
        keeper: Any = self._sagas
        if missing_keeper_methods(keeper):
            trace.append("a person cannot have it undone: nobody looks after the sagas of this storage")
            return
        administration = SagaAdministration(keeper, [self._saga.definition.saga])
        record = await self._sagas.load(self._id)
        is_stuck = record is not None and record.status is SagaStatus.SUSPENDED
        undo = administration.compensate if is_stuck else administration.cancel
        try:
            await undo(self._id, actor="somebody", reason="it was called off")
        except (SagaChanged, SagaNotFound) as error:
            trace.append(f"a person cannot have it undone: {error}")
        else:
            trace.append("a person has it undone")
        await self._pass(_DECIDING_S)

    async def _recover(self, trace: list[str]) -> Incarnation | None:
        """Let one worker after the other come, until nobody has to any more; gives the first."""
        first: Incarnation | None = None
        for number in range(1, _PASSES + 1):
            record = await self._sagas.load(self._id)
            if record is None or not record.status.is_live:
                break
            await self._pass(_LEASE_S + 1)
            at = self._schedule.then if self._schedule.mode == "double_crash" and first is None else None
            life = Incarnation(f"worker {number}", at=at, trace=trace)
            first = first or life
            engine = self._engine()
            take = partial(Recovery(engine, is_patient=False).take, self._saga, self._id)
            async with open_task_group() as tasks:
                tasks.start(partial(self._live, life, partial(_drain, engine, take)))
        return first

    async def _pass(self, seconds: float) -> None:
        await self._clock.advance(seconds)
        await self._backstage.pass_time(seconds)

    async def _live(self, life: Incarnation, work: Callable[[], Awaitable[None]]) -> None:
        living.set(life)
        try:
            with open_cancel_scope() as life.scope:
                await work()
        except (Died, Refused, Lost, Down, CqrsError):
            pass  # what became of the saga is stored
        except Exception as error:  # noqa: BLE001 - of the saga's own steps, or a fault of the engine
            if not any(error is raised for raised in self._raised):
                self._ledger.violations.append(f"A driver raised {type(error).__name__}: {error}")
        finally:
            life.paused.open()

    # What the watched steps do ----------------------------------------------------------------------------------------

    async def call(self, side: SideId, attempt: Attempt, context: Any, current: CurrentStep) -> Any:  # noqa: ANN401 - as it is there
        """Make one attempt at a step, or at undoing one, with what is to go wrong in it."""
        is_act = current.action is SagaAction.ACT
        label = f"{'act' if is_act else 'undo'} {side}"
        life = living.get()
        before = life.was_reached
        await life.point(f"{label} begins")
        self._calls[label] += 1
        # One that stood still just here could not know what has happened meanwhile.
        stood_here = life.was_reached and not before
        await self._judge(side, current, is_act=is_act, could_know=not stood_here)
        fault = self._schedule.faults.get(label)
        if fault == "refused" or (fault == "refused_later" and self._calls[label] > 1):
            raise Refused(f"{label} was refused")
        if fault == "fails" or (fault == "fails_once" and self._calls[label] == 1):
            raise Down(f"{label} does not work")
        if is_act and self._refuses_late_acts and self._ledger.refuses(side):
            raise Refused(f"{label} comes after it was undone")
        is_once = is_act and side in self._transactional
        take = (
            partial(self._ledger.done, side, is_late=not self._refuses_late_acts)
            if is_act
            else partial(self._ledger.undone, side)
        )
        effect = Effect(
            current, take, partial(self._tell, side, current.action), is_answer_lost=is_once and fault == "lost"
        )
        token = taking_effect.set(effect)
        try:
            outcome = await self._called(attempt, context, current, is_once=is_once)
        finally:
            taking_effect.reset(token)
        effect.returned(outcome[1])
        await life.point(f"{label} has taken effect")
        if fault == "lost":
            current.has_returned = False  # for the engine, the handler itself has raised
            raise Lost(f"the answer to {label} did not come")
        return outcome

    def _tell(self, side: SideId, action: SagaAction, published: Sequence[Event]) -> None:
        """Note what an attempt wants sent."""
        ids = frozenset(envelope.headers[ID] for event in published for envelope in self._outgoing.envelopes(event))
        self._emitted[side, action.value].append(ids)

    async def _called(
        self,
        attempt: Attempt,
        context: Any,  # noqa: ANN401 - as there
        current: CurrentStep,
        *,
        is_once: bool,
    ) -> tuple[Any, Sequence[Event]]:
        try:
            if self._schedule.mode == "repeat" and not is_once:
                await attempt(copy.deepcopy(context), current)
            return await attempt(context, current)
        except Exception as error:
            self._raised.append(error)
            raise

    async def _judge(self, side: SideId, current: CurrentStep, *, is_act: bool, could_know: bool) -> None:
        storage = self._sagas
        record = await storage.load(self._id)
        owns = record is not None and record.fence == current.fence
        if not owns and could_know and record is not None:
            what = f"{current.action} {side}"
            self._ledger.violations.append(f"Promise 4: {what} is begun by a driver that lost the saga before.")
        if is_act:
            history = await storage.get_step_history(self._id)
            self._ledger.acts(side, current.idempotency_key, record, history, owns=owns)
        else:
            self._ledger.undoes(side, current.idempotency_key, record, owns=owns)

    # The end ----------------------------------------------------------------------------------------------------------

    async def judge(self) -> Played:
        """Tell what came of it."""
        played, storage, schedule = self._played, self._sagas, self._schedule
        played.record = await storage.load(self._id)
        played.history = await storage.get_step_history(self._id)
        may_be_stuck = "fails" in schedule.faults.values()
        self._ledger.ended(played.record, played.history, may_be_stuck=may_be_stuck)
        self._judge_messages(await self._backstage.sent())
        played.violations = list(dict.fromkeys(self._ledger.violations))
        return played

    def _judge_messages(self, sent: Sequence[str]) -> None:
        if len(set(sent)) < len(sent):
            self._ledger.violations.append("Promise 7: a message is sent twice.")
        completed = Counter(
            (SideId(entry.step_id, entry.branch), entry.action.value)
            for entry in self._played.history
            if entry.status is SagaStepStatus.COMPLETED
        )
        for (side, action), attempts in self._emitted.items():
            kept = [ids for ids in attempts if ids & set(sent)]
            expected = completed[side, action] if any(attempts) else 0
            if len(kept) != expected or any(ids - set(sent) for ids in kept):
                what = f"{action} {side} is durable {expected} times"
                self._ledger.violations.append(f"Promise 7: {what}, and {len(kept)} attempts have sent their messages.")


def transactional_sides(definition: Definition) -> frozenset[SideId]:
    """Tell which sides of steps are one transaction with the record that they are done."""
    steps = (*definition.steps, *definition.retired)
    return frozenset(SideId(step.id, side.branch) for step in steps for side in step.sides if side.is_transactional)


class _StillHeart(Heartbeat):
    """Lets time pass by hand."""

    def hold(self, lease: Lease) -> None:
        """Renew nothing: nobody else comes before the time is put forward."""

    def let_go(self, lease: Lease) -> None:
        """Do nothing."""


async def _drain(engine: SagaEngine, begin: Callable[[], Awaitable[Run | None]]) -> None:
    async for _ in engine.stream(begin):
        pass
