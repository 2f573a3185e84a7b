"""The object that a program starts its sagas with."""

from __future__ import annotations

import uuid
from functools import partial
from typing import TYPE_CHECKING, Any

from cqrs_core.bell import Bell
from cqrs_core.clock import SystemClock
from cqrs_core.errors import CqrsError, InvalidOption, SagaNotFound, SagasNotKept, StreamInsideUnit
from cqrs_core.given_backends import check_backend
from cqrs_core.resilience.guards import Guards
from cqrs_core.saga.engine import SagaEngine, raise_stored
from cqrs_core.saga.publishing import Publishing
from cqrs_core.saga.recovery import Recovery
from cqrs_core.saga.runnable import RunnableSagas
from cqrs_core.saga.storage import SagaRecord, missing_saga_methods
from cqrs_core.units import Units
from cqrs_core.wiring import wire

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from cqrs_core.clock import Clock
    from cqrs_core.concurrency import Once
    from cqrs_core.emitter import EventEmitter
    from cqrs_core.envelope import Envelope
    from cqrs_core.messages import Event
    from cqrs_core.observer import Observer
    from cqrs_core.saga.definition import Saga
    from cqrs_core.saga.options import SagaOptions
    from cqrs_core.saga.run import Run
    from cqrs_core.saga.runnable import RunnableSaga
    from cqrs_core.saga.saga_map import SagaMap
    from cqrs_core.saga.steps import Ctx, SagaContext, SagaStepResult
    from cqrs_core.saga.storage import SagaStorage
    from cqrs_core.saga.worker import SagaRecoveryWorker
    from cqrs_core.wiring import HandlerSource

#: How often to look whether another driver has got on: at first, and at last.
_LOOK_AFTER_S = (0.02, 1.0)


class SagaMediator:
    """
    Starts sagas, and hands out what their steps bring.

    Attributes:
        saga_map: Which context means which saga.
        bell: Rung when a saga of this process has become due.
    """

    def __init__(
        self,
        saga_map: SagaMap,
        source: HandlerSource,
        emitter: EventEmitter,
        storage: SagaStorage | Callable[[], SagaStorage],
        *,
        write: Callable[[Event], Sequence[Envelope]] | None = None,
        on_enqueued: Callable[[], None] | None = None,
        startup: Once | None = None,
        guards: Guards | None = None,
        units: Units | None = None,
        options: SagaOptions | None = None,
        clock: Clock | None = None,
        name: str = "",
    ) -> None:
        """
        Put the mediator together; ``cqrs_core.bootstrap`` and ``App`` do it for you.

        Args:
            saga_map: Which context means which saga. It is frozen by wiring.
            source: Makes the handlers of steps, and offers them this mediator.
            emitter: Takes their events to handlers in this process; and, when a step is durable and the storage has no
                outbox, to its publisher.
            storage: Where sagas are kept; or what gives that when everything is checked.
            write: Writes them for the outbox, where it has one.
            on_enqueued: Called when something is in it.
            startup: What must have been done before the first saga.
            guards: Knows breakers and deadlines.
            units: Gives each step its unit of work, if there is a storage for them.
            options: How sagas are driven.
            clock: Measures leases and delays.
            name: Tells people who drives a saga.
        """
        self.saga_map = saga_map
        self._emitter = emitter
        self._given_storage = storage
        self._write = write
        self._on_enqueued = on_enqueued
        self._startup = startup
        self._units = units or Units(source)
        self._options = options
        self._clock = clock or SystemClock()
        self._name = name
        self._runnables = RunnableSagas(source, emitter, self._units, guards or Guards(clock=self._clock))
        self._sagas: dict[type, RunnableSaga] = {}
        #: By the class of the context, and the saga that was named.
        self._found: dict[tuple[type, type | None], RunnableSaga] = {}
        self._is_wired = False
        self._engine: SagaEngine
        self._recovery: Recovery
        self.bell = Bell()
        source.offer_as_all(self, SagaMediator)

    @property
    def storage(self) -> SagaStorage:
        """Where the sagas are: for their histories, and to look after them."""
        self._check_wired()
        return self._engine.storage

    def stream(
        self, context: Ctx, saga_id: uuid.UUID | None = None, *, saga: type[Saga[Any]] | None = None
    ) -> AsyncGenerator[SagaStepResult[Ctx, Any], None]:
        """
        Run a saga on *context*, and iterate over the results of its steps, each of which is durable by then.

        *context* is what the steps work on. A saga that was started before under the same id, with the same context, is
        not started again: its end is waited for, and if its driver has left it, it is gone on with here. Who stops to
        iterate leaves the saga to others; ``async with contextlib.aclosing(mediator.stream(...))`` does so at once.

        Args:
            context: What the saga is about.
            saga_id: Under which it is stored: the same when the same order comes twice. A new one unless given.
            saga: Which, if several sagas are bound to the context.

        Raises:
            SagaNotBound: None is bound to it, or it was not said which. Raised by the call itself.
            SagaAlreadyExists: Something else was started under the id.
            StreamInsideUnit: A unit of work is open here.
            Exception: What the step raised for which everything was undone.
            SagaFailed: Everything was undone, for what another driver has seen.
            SagaAbandoned: A person has given it up as it is.
            SagaNotFound: It was started before, has ended while its end was waited for, and was forgotten since.
            SagaSuspended: A person is waited for.
            SagaFenced: Another driver has taken it over.
            SagaUnrunnable: A notification of a step would be lost, as there is no publisher. It is left
                to others, and if that was often enough, suspended.
            SagaStorageUnavailable: What was done could not be made durable.
        """
        runnable = self._find(type(context), saga)
        return self._engine.stream(partial(self._begin, runnable, context, saga_id or uuid.uuid4()))

    async def start(
        self, context: SagaContext, saga_id: uuid.UUID | None = None, *, saga: type[Saga[Any]] | None = None
    ) -> uuid.UUID:
        """
        Make a saga durable, and leave it to workers; inside a unit of work, it is when that is committed.

        Returns:
            Its id. Started before under the same, with the same context, nothing is done.

        Raises:
            SagaNotBound: As for :meth:`stream`; so are the others.
            SagaAlreadyExists: Something else was started under the id.
            StorageUnavailable: It may have been made durable. Start it again under the same id, if
                you have given one: it is started once.
        """
        runnable = self._find(type(context), saga)
        saga_id = saga_id or uuid.uuid4()
        await self._start()
        unit = self._units.current(type(context)) if self._units.are_used else None
        await self._engine.enqueue(runnable, context, saga_id, None if unit is None else unit.work)
        if unit is None:
            self.bell.ring()
        else:
            unit.call_when_committed(self.bell.ring)
        return saga_id

    def recover(self, saga_id: uuid.UUID, *, saga: type[Saga[Any]]) -> AsyncGenerator[SagaStepResult[Any, Any], None]:
        """
        Go on with a saga that its driver has left, and iterate over the results of its steps, as :meth:`stream`.

        Raises:
            SagaNotFound: There is no such saga.
            SagaNotClaimable: Somebody drives it, or nobody may.
            SagaUnrunnable: It does not fit *saga*.
            Exception: As for :meth:`stream`.
        """
        self._check_wired()
        runnable = self._sagas.get(saga)
        if runnable is None:
            raise InvalidOption("saga", saga, "a saga that is bound")
        return self._engine.stream(lambda: self._recovery.take(runnable, saga_id))

    def worker(self, *, stop_deadline_s: float = 30.0, observer: Observer | None = None) -> SagaRecoveryWorker:
        """Make what drives the sagas that are due; to be called when the mediator is wired."""
        from cqrs_core.saga.worker import SagaRecoveryWorker  # noqa: PLC0415 - only who runs one pays for it

        self._check_wired()
        sagas = {saga.definition.name: saga for saga in self._sagas.values()}
        return SagaRecoveryWorker(
            self._engine, sagas, stop_deadline_s=stop_deadline_s, bell=self.bell, observer=observer
        )

    def wire(self) -> list[CqrsError]:
        """Get ready, and tell everything that is wrong: errors, none of them raised."""
        problems = self.saga_map.problems()
        definitions = [] if problems else list(self.saga_map.definitions())
        if not problems:
            problems = [problem for definition in definitions for problem in self._runnables.problems(definition)]
        storage = self._opened_storage(problems)
        if problems or storage is None:
            return problems
        self._sagas = {definition.saga: self._runnables.make(definition) for definition in definitions}
        self._found.clear()
        write = self._write if storage.has_outbox else None
        publishing = Publishing(self._emitter.publisher, write, self._on_enqueued)
        self._engine = SagaEngine(storage, publishing, clock=self._clock, name=self._name, options=self._options)
        self._recovery = Recovery(self._engine)
        self._is_wired = True
        return []

    def freeze(self) -> None:
        """Refuse changes of the map from now on."""
        self.saga_map.freeze()

    def _opened_storage(self, problems: list[CqrsError]) -> SagaStorage | None:
        given: Any = self._given_storage
        try:
            if missing_saga_methods(given) and callable(given):
                given = given()
            check_backend("saga_storage", given, missing_saga_methods(given), "storage of sagas")
        except (SagasNotKept, InvalidOption) as error:
            problems.append(error)
            return None
        storage: SagaStorage = given
        return storage

    def _check_wired(self) -> None:
        if not self._is_wired:
            wire(self._emitter, self)

    def _find(self, context_type: type, saga: type[Saga[Any]] | None) -> RunnableSaga:
        runnable = self._found.get((context_type, saga))
        if runnable is None:
            found = self.saga_map.find(context_type, saga)
            self._check_wired()
            runnable = self._found[context_type, saga] = self._sagas[found]
        return runnable

    async def _start(self) -> None:
        if self._startup is not None and not self._startup.is_done:
            await self._startup.run()

    async def _begin(self, saga: RunnableSaga, context: SagaContext, saga_id: uuid.UUID) -> Run | None:
        if self._units.are_used and self._units.current(type(context)) is not None:
            cure = "Start the saga, and leave it to workers (start_saga): it is then durable with this unit of work."
            raise StreamInsideUnit(type(context), cure)
        await self._start()
        begun = await self._engine.begin(saga, context, saga_id)
        return await self._attach(saga, begun) if isinstance(begun, SagaRecord) else begun

    async def _attach(self, saga: RunnableSaga, stored: SagaRecord) -> Run | None:
        """Wait for the end of a saga that was started before; take it over, if its driver has left it."""
        delay_s, longest = _LOOK_AFTER_S
        while stored.status.is_live:
            run = await self._recovery.claim(saga, stored.id)
            if run is not None:
                return run
            await self._clock.sleep(delay_s)
            delay_s = min(2 * delay_s, longest)
            found = await self._engine.storage.load(stored.id)
            if found is None:  # it has ended, and how is forgotten
                raise SagaNotFound(stored.id)
            stored = found
        raise_stored(stored)
        return None
