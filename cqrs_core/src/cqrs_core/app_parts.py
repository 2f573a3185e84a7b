"""What an App is made of, and how that starts and stops: what few programs need is made when it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from cqrs_core.bootstrap import open_breaker
from cqrs_core.concurrency import run_shielded
from cqrs_core.emitter import EventEmitter
from cqrs_core.errors import AppNotStarted, AppStarted
from cqrs_core.injection import SimpleContainer
from cqrs_core.lifetimes import each_of
from cqrs_core.maps import EventMap, RequestMap
from cqrs_core.mediators import EventMediator, RequestMediator, StreamingRequestMediator
from cqrs_core.resilience.guards import Guards
from cqrs_core.units import Units
from cqrs_core.wiring import HandlerSource, wire

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cqrs_core.bell import Bell
    from cqrs_core.broker import Broker
    from cqrs_core.clock import Clock
    from cqrs_core.container import Container
    from cqrs_core.envelope import Envelope
    from cqrs_core.messages import Event
    from cqrs_core.observer import Observer
    from cqrs_core.observing import Observing
    from cqrs_core.outbox_signal import OutboxSignal
    from cqrs_core.outgoing import Key
    from cqrs_core.pipeline import EventMiddleware, RequestMiddleware
    from cqrs_core.saga.mediator import SagaMediator
    from cqrs_core.saga.options import SagaOptions
    from cqrs_core.saga.storage import SagaStorage
    from cqrs_core.storage import Storage
    from cqrs_core.traffic import Traffic


class AppParts:
    """
    The parts of one App, which know of each other through it.

    Attributes:
        name: What the App is called.
        clock: Tells the time of messages, and measures delays and deadlines.
        request_map: What serves which request.
        event_map: Which handlers an event has.
        source: Makes the handlers.
        units: Open the unit of work of each attempt, over the App's storage, if it has one.
        emitter: Takes events to their handlers, and to :meth:`publish`.
        requests: Mediates requests.
        streams: Mediates streams.
        traffic: What is exchanged with other processes; ``None`` until something is to be: see :meth:`needed_traffic`.
        sagas: Mediates sagas; ``None`` until one is bound: see :meth:`needed_sagas`.
        stop_deadline_s: Seconds that what is under way has to end in when the loops stop.
        bell: Tells the relay of this process, while there is one, that there is something to send.
        signal: Tells those of other processes, if the storage can.
        is_started: Whether messages may be sent.
    """

    def __init__(
        self,
        name: str,
        *,
        broker: Broker | str | None,
        storage: Storage | str | None,
        observer: Observer | str | None,
        sagas: SagaOptions | None,
        container: Container | None,
        middlewares: Iterable[RequestMiddleware],
        event_middlewares: Iterable[EventMiddleware],
        max_concurrent_event_handlers: int,
        max_event_depth: int,
        event_errors: Literal["raise", "log"],
        polymorphic: bool,
        max_concurrent_messages: int,
        stop_deadline_s: float,
        clock: Clock,
    ) -> None:
        """Put them together, as the App was told; nothing is started, and nothing checked."""
        self.name = name
        self.clock = clock
        self.request_map = RequestMap()
        self.event_map = EventMap()
        self._own_container = SimpleContainer() if container is None else None
        self.source = HandlerSource(self._own_container or container)
        self._guards = Guards(clock=clock, open_breaker=open_breaker)
        self.units = Units(
            self.source, storage=storage, open_storage=_open_storage, write=self._write, on_enqueued=self._on_enqueued
        )
        #: The classes of events that leave the process; the emitter looks here.
        self._published: set[type] = set()
        self.emitter = EventEmitter(
            self.event_map,
            self.source,
            publisher=self,
            published=self._published,
            middlewares=event_middlewares,
            max_concurrent_handlers=max_concurrent_event_handlers,
            max_event_depth=max_event_depth,
            on_error=event_errors,
            is_polymorphic=polymorphic,
            guards=self._guards,
            units=self.units,
        )
        middlewares = tuple(middlewares)
        self.requests = RequestMediator(
            self.request_map, self.source, self.emitter, middlewares=middlewares, guards=self._guards, units=self.units
        )
        self.streams = StreamingRequestMediator(
            self.request_map, self.source, self.emitter, middlewares=middlewares, guards=self._guards, units=self.units
        )
        EventMediator(self.source, self.emitter)  # for handlers that ask for it
        self._broker = broker
        self._max_concurrent_messages = max_concurrent_messages
        self.stop_deadline_s = stop_deadline_s
        self.traffic: Traffic | None = None
        self._observing = None if observer is None else _observing(observer)
        self.bell: Bell | None = None
        self.signal: OutboxSignal | None = None
        self.sagas: SagaMediator | None = None
        self._saga_options = sagas
        self._is_starting = False
        self.is_started = False

    @property
    def observer(self) -> Observer | None:
        """What takes figures, if something does; to be asked for after :meth:`start`."""
        return None if self._observing is None else self._observing.observer

    async def start(self) -> None:
        """
        Check the wiring, and start.

        Raises:
            Exception: As the App's ``__aenter__`` has it; nothing is started then.
        """
        self.check_not_started()
        traffic = self.traffic if self._broker is None else self.needed_traffic()
        beside = [part for part in (self.sagas, traffic, self._observing) if part is not None]
        wire(self.units, self.emitter, self.requests, self.streams, *beside)
        self._is_starting = True  # nobody else may, while the storage and the broker are awaited
        try:
            await self._start_backends(traffic)
            self.is_started = True
        finally:
            self._is_starting = False

    async def _start_backends(self, traffic: Traffic | None) -> None:
        await self.units.start()
        if self.units.are_used:
            self.signal = getattr(self.units.storage, "outbox_signal", None)
        if traffic is not None:
            try:
                await traffic.start()
            except BaseException:
                await run_shielded(self.units.stop)
                raise

    async def stop(self) -> None:
        """Stop, uninterrupted by a cancellation: nothing can be sent any more."""
        self.is_started = False
        await run_shielded(self._stop_all)

    async def _stop_all(self) -> None:
        traffic, container = self.traffic, self._own_container
        await each_of(
            [
                *([] if traffic is None else [traffic.stop]),
                self.units.stop,
                *([] if container is None else [container.aclose]),
            ]
        )

    def check_not_started(self) -> None:
        """Raise ``AppStarted`` if it is."""
        if self.is_started or self._is_starting:
            raise AppStarted(self.name)

    def check_started(self) -> None:
        """Raise ``AppNotStarted`` if it is not."""
        if not self.is_started:
            raise AppNotStarted(self.name)

    def publishes(self, topic: str, names: Mapping[str, type[Event]], key: Key | None) -> None:
        """Let events of the classes in *names* leave the process."""
        self._published.update(self.needed_traffic().publishes(topic, names, key))

    async def publish(self, event: Event) -> None:
        """Take *event* to other processes: through the outbox of the unit that is open, or to the broker."""
        self.check_started()  # a message that outlives the App must not start its broker again
        unit = self.units.current(type(event))
        if unit is not None:
            unit.enqueue(self._write(event))
        else:
            traffic = await self.started_traffic()
            await traffic.publish(event)

    def needed_traffic(self) -> Traffic:
        """Give what is exchanged with others; it is made if nothing was until now."""
        if self.traffic is None:
            from cqrs_core.traffic import Traffic  # noqa: PLC0415 - only who exchanges something pays for it

            self.traffic = Traffic(
                self.name,
                self.source,
                self.emitter,
                self.units,
                broker=self._broker,
                clock=self.clock,
                max_concurrent_messages=self._max_concurrent_messages,
                stop_deadline_s=self.stop_deadline_s,
            )
        return self.traffic

    async def started_traffic(self) -> Traffic:
        """Give the same, with its broker started."""
        traffic = self.needed_traffic()
        if not traffic.is_started:  # there was nothing to exchange until now
            wire(traffic)
            await traffic.start()
        return traffic

    def needed_sagas(self) -> SagaMediator:
        """Give the mediator of sagas; it is made if there was none."""
        if self.sagas is None:
            from cqrs_core.saga.mediator import SagaMediator  # noqa: PLC0415 - only who has sagas pays for them
            from cqrs_core.saga.saga_map import SagaMap  # noqa: PLC0415 - as above

            self.sagas = SagaMediator(
                SagaMap(),
                self.source,
                self.emitter,
                self._find_saga_storage,
                write=self._write,
                on_enqueued=self._on_enqueued,
                guards=self._guards,
                units=self.units,
                options=self._saga_options,
                clock=self.clock,
                name=self.name,
            )
            if self.is_started or self._is_starting:
                self.sagas.freeze()  # whoever binds now is told that it is too late
        return self.sagas

    def started_sagas(self) -> SagaMediator:
        """Give the same, or raise ``AppNotStarted``."""
        self.check_started()
        return self.needed_sagas()

    def _find_saga_storage(self) -> SagaStorage:
        if not self.units.are_used:
            from cqrs_core.memory import MemorySagaStorage  # noqa: PLC0415 - only who has sagas pays for it

            return MemorySagaStorage(clock=self.clock)
        from cqrs_core.saga.storage import sagas_of  # noqa: PLC0415 - as above

        return sagas_of(self.units.storage)

    def _write(self, event: Event) -> Sequence[Envelope]:
        return self.needed_traffic().envelopes(event)

    def _on_enqueued(self) -> None:
        if self.bell is not None:
            self.bell.ring()
        if self.signal is not None:
            self.signal.ring()


def _observing(observer: Observer | str) -> Observing:
    from cqrs_core.observing import Observing  # noqa: PLC0415 - only who has one pays for it

    return Observing(observer)


def _open_storage(spec: str) -> Storage:
    from cqrs_core.plugins import open_backend  # noqa: PLC0415 - only who names one pays for the search

    return open_backend("storage", spec)
