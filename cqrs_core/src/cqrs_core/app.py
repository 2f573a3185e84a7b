"""One object that holds what a program is made of: maps, container, mediators."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from cqrs_core.bootstrap import open_breaker
from cqrs_core.clock import SystemClock
from cqrs_core.concurrency import run_shielded
from cqrs_core.emitter import EventEmitter
from cqrs_core.errors import AppNotStarted, AppStarted, InvalidOption, RelayRefused
from cqrs_core.injection import SimpleContainer
from cqrs_core.lifetimes import each_of
from cqrs_core.loops import chosen_loops, run_loops
from cqrs_core.maps import EventMap, RequestMap
from cqrs_core.mediators import EventMediator, RequestMediator, StreamingRequestMediator
from cqrs_core.resilience.guards import Guards
from cqrs_core.units import Units
from cqrs_core.wiring import HandlerSource, wire

if TYPE_CHECKING:
    import uuid
    from collections.abc import (
        AsyncGenerator,
        AsyncIterator,
        Callable,
        Collection,
        Coroutine,
        Iterable,
        Mapping,
        Sequence,
    )

    from cqrs_core.bell import Bell
    from cqrs_core.broker import Broker
    from cqrs_core.clock import Clock
    from cqrs_core.consumer import Consumer, OnDead, OnUnknown, Order
    from cqrs_core.container import Container
    from cqrs_core.envelope import Envelope
    from cqrs_core.handlers import EventBatchHandler
    from cqrs_core.messages import Event, Request
    from cqrs_core.observer import Observer
    from cqrs_core.observing import Observing
    from cqrs_core.outbox_signal import OutboxSignal
    from cqrs_core.outgoing import Key
    from cqrs_core.pipeline import EventMiddleware, RequestMiddleware
    from cqrs_core.relay import OutboxRelay, RelayOptions
    from cqrs_core.resilience import RetryPolicy
    from cqrs_core.saga.definition import Saga
    from cqrs_core.saga.mediator import SagaMediator
    from cqrs_core.saga.options import SagaOptions
    from cqrs_core.saga.saga_map import SagaMap
    from cqrs_core.saga.steps import Ctx, SagaContext, SagaStepResult
    from cqrs_core.saga.storage import SagaStorage
    from cqrs_core.saga.worker import SagaRecoveryWorker
    from cqrs_core.storage import Storage
    from cqrs_core.traffic import Traffic

R = TypeVar("R")


class App:
    """
    A program that handles messages.

    Bind handlers to :attr:`requests` and :attr:`events`, and contexts to :attr:`sagas`, then use it inside ``async with
    app:``; inside ``async with app.running():`` it consumes from its broker, and drives sagas, as well. Handlers may
    ask for the App, or for one of its mediators, in their constructors.

    Attributes:
        name: What it is called.
        requests: What serves which request, streams too.
        events: Which handlers an event has.
    """

    def __init__(
        self,
        name: str,
        *,
        broker: Broker | str | None = None,
        storage: Storage | str | None = None,
        relay: RelayOptions | None = None,
        observer: Observer | str | None = None,
        sagas: SagaOptions | None = None,
        container: Container | None = None,
        middlewares: Iterable[RequestMiddleware] = (),
        event_middlewares: Iterable[EventMiddleware] = (),
        max_concurrent_event_handlers: int = 1,
        max_event_depth: int = 32,
        event_errors: Literal["raise", "log"] = "raise",
        polymorphic: bool = False,
        max_concurrent_messages: int = 10,
        stop_deadline_s: float = 30.0,
        clock: Clock | None = None,
    ) -> None:
        """
        Make an App; nothing is started, and nothing checked, before it is entered.

        Args:
            name: For people; what messages to others name as their source, and the group in which it consumes.
            broker: Carries events to and from other processes. A URL or a name: the backend of that scheme or name,
                found among the plug-ins. An object: taken as it is; the App starts and stops it. ``None``: one of its
                own in this process, where events reach what the App itself consumes, and nobody else.
            storage: Gives each message a unit of work: what its handler, the handlers of its events, and the outbox
                write is committed together, or not at all. A URL or a name, or an object; as *broker*. ``None``:
                there are no units of work, and events go to the broker directly.
            relay: How what waits in the outbox is sent, inside :meth:`running`.
            observer: Takes the figures of the relay and the consumers, for an exporter; a URL or a name, or an
                object; as *broker*.
            sagas: How sagas are driven.
            container: Makes handlers and what they need. Given, it is the caller's to close; else the App makes a
                ``SimpleContainer``, and closes it when it stops.
            middlewares: Wrap all requests, outermost first; for streams, by their method ``stream``.
            event_middlewares: Wrap all events, outermost first, once for each handler.
            max_concurrent_event_handlers: How many handlers of events one message may have running at a time; with 1
                they run one after the other.
            max_event_depth: How many levels of events that events lead to are allowed.
            event_errors: Whether errors of event handlers are raised, together, when all have run, or only logged.
            polymorphic: Whether an event reaches the handlers that are bound to its base classes as well.
            max_concurrent_messages: How many consumed messages, or batches, each group handles at the same time.
            stop_deadline_s: Seconds that handlers of consumed messages have to end in when the App stops.
            clock: Tells the time of messages, and measures the delays and deadlines of policies and loops.

        Raises:
            InvalidOption: *relay* is given, and there is no storage.
        """
        if relay is not None and storage is None:
            raise InvalidOption("relay", relay, "left out: without a storage there is no outbox")
        self.name = name
        self.requests = RequestMap()
        self.events = EventMap()
        self._own_container = SimpleContainer() if container is None else None
        self._source = HandlerSource(self._own_container or container)
        self._source.offer_as_all(self, App)
        #: The classes of events that leave the process; the emitter looks here.
        self._published: set[type] = set()
        self._clock = clock or SystemClock()
        guards = self._guards = Guards(clock=self._clock, open_breaker=open_breaker)
        self._units = Units(
            self._source, storage=storage, open_storage=_open_storage, write=self._write, on_enqueued=self._on_enqueued
        )
        self._emitter = EventEmitter(
            self.events,
            self._source,
            publisher=_LazyPublisher(self._publish),
            published=self._published,
            middlewares=event_middlewares,
            max_concurrent_handlers=max_concurrent_event_handlers,
            max_event_depth=max_event_depth,
            on_error=event_errors,
            is_polymorphic=polymorphic,
            guards=guards,
            units=self._units,
        )
        middlewares = tuple(middlewares)
        self._requests = RequestMediator(
            self.requests, self._source, self._emitter, middlewares=middlewares, guards=guards, units=self._units
        )
        self._streams = StreamingRequestMediator(
            self.requests, self._source, self._emitter, middlewares=middlewares, guards=guards, units=self._units
        )
        self._events = EventMediator(self._source, self._emitter)
        self._broker = broker
        self._max_concurrent_messages = max_concurrent_messages
        self._stop_deadline_s = stop_deadline_s
        #: Made when something is to be exchanged with others: a program that does not pays nothing for it.
        self._traffic: Traffic | None = None
        self._observing = None if observer is None else _observing(observer)
        self._relay_options = relay
        #: Tells the relay of this process that there is something to send.
        self._bell: Bell | None = None
        #: Tells those of other processes.
        self._signal: OutboxSignal | None = None
        self._relay: OutboxRelay | None = None
        #: Made when the first saga is bound: a program that has none pays nothing for them.
        self._sagas: SagaMediator | None = None
        self._saga_options = sagas
        self._saga_worker: SagaRecoveryWorker | None = None
        self._consumers: tuple[Consumer, ...] = ()
        self._is_starting = False
        self._is_started = False

    def publishes(self, topic: str, names: Mapping[str, type[Event]], *, key: Key | None = None) -> None:
        """
        Send events of some classes to other processes, beside what their handlers here do.

        The event itself is the body of the message, as JSON. Without an outbox each is sent at most once, when the
        handlers of the message that led to it have run.

        Args:
            topic: Where to.
            names: The classes by the names under which others know them: ``{"OrderPlaced": OrderPlaced}``. Events of
                classes derived from them are not published; name those as well.
            key: The field that holds the ordering key, or a function that gives it: events of one key stay in order.
                ``None``: no order is kept.

        Raises:
            AppStarted: The App is running. What is wrong with the arguments is told when it starts.
        """
        self._check_not_started()
        self._published.update(self._needed_traffic().publishes(topic, names, key))

    def consume(
        self,
        topic: str,
        names: Mapping[str, Any],
        *,
        group: str | None = None,
        order: Order = "key",
        retry: RetryPolicy | None = None,
        retry_topic_delays_s: Sequence[float] = (),
        on_unknown: OnUnknown = "skip",
        dead_letter_topic: str | None = None,
        on_dead: OnDead = "skip",
        batch_handler: type[EventBatchHandler[Any]] | None = None,
        max_batch_size: int = 100,
        max_body_bytes: int = 16 * 1024 * 1024,
    ) -> None:
        """
        Take events that others send to their handlers here, inside ``async with app.running():``.

        Each message is handled at least once, all handlers of its event in one scope, and acknowledged after that. A
        message that fails is tried again, while only those of its lane wait; then it may wait in retry topics, while
        nobody does; it ends in the dead-letter topic, body and headers untouched, with headers ``cqrs_dead_…`` that say
        why. So does one that cannot be read.

        Args:
            topic: Where from.
            names: Event classes, or ``NotificationEvent[P]``, by the names that they have in the messages. Several
                names may mean one class.
            group: Members of one group share the messages; the App's name unless given.
            order: What is handled in order: messages of one ``"key"`` (those without have no order), all of a
                ``"partition"``, or ``"none"``.
            retry: How often, and after what delays; five attempts unless given.
            retry_topic_delays_s: What has failed so often waits for that many seconds, for as many attempts again, in
                the topic ``"<topic>.<group>.retry.<delay>"`` of each delay: with ``(30, 300, 300)``, once in
                ``….30s``, and twice in ``….5m``. Meanwhile others of its key overtake it, so it does not go together
                with ``order="partition"``. None unless given.
            on_unknown: Whether messages with other names are passed over, with one warning each, or are dead letters.
            dead_letter_topic: ``"<topic>.<group>.dead"`` unless given.
            on_dead: What becomes of the next messages of a key when one is given up: they are handled all the same
                (``"skip"``), or they are parked behind it in the dead-letter topic, until it was sent back and is done
                (``"park"``). That is only for ``order="key"`` without retry topics, and for a broker that can read a
                topic from its beginning.
            batch_handler: Takes many events at once; handlers of single events are not called then.
            max_batch_size: How many at most.
            max_body_bytes: Larger messages are not parsed: they are dead letters.

        Raises:
            AppStarted: The App is running. What is wrong with the arguments is told when it starts.
        """
        self._check_not_started()
        self._needed_traffic().consume(
            topic,
            names,
            group=group,
            order=order,
            retry=retry,
            retry_topic_delays_s=retry_topic_delays_s,
            on_unknown=on_unknown,
            dead_letter_topic=dead_letter_topic,
            on_dead=on_dead,
            batch_handler=batch_handler,
            max_batch_size=max_batch_size,
            max_body_bytes=max_body_bytes,
        )

    @property
    def consumers(self) -> tuple[Consumer, ...]:
        """The consumers of the last, or the running, ``running()``, one for each group; each has its ``counts``."""
        return self._consumers

    @property
    def relay(self) -> OutboxRelay | None:
        """The relay of the last, or the running, ``running()``, with its ``counts``; ``None`` if there was none."""
        return self._relay

    @property
    def sagas(self) -> SagaMap:
        """Which context means which saga."""
        return self._needed_sagas().saga_map

    @property
    def saga_storage(self) -> SagaStorage:
        """Where the sagas are, inside the block: for their histories, and to look after them."""
        return self._started_sagas().storage

    @property
    def saga_worker(self) -> SagaRecoveryWorker | None:
        """What drives sagas in the last, or the running, ``running()``, with its ``counts``; ``None``: nothing did."""
        return self._saga_worker

    async def __aenter__(self) -> App:
        """
        Check the wiring, and start. An App that was stopped may be started again.

        Raises:
            WiringError: With everything that is wrong with the bindings, storage, broker and observer, all at once.
            StorageUnavailable: The storage cannot be reached.
            StorageUnusable: Something is missing in the storage, such as a table.
            BrokerUnavailable: The broker cannot be reached.
            AppStarted: It is started already.
        """
        self._check_not_started()
        traffic = self._traffic if self._broker is None else self._needed_traffic()
        beside = [part for part in (self._sagas, traffic, self._observing) if part is not None]
        wire(self._units, self._emitter, self._requests, self._streams, *beside)
        self._is_starting = True  # nobody else may, while the storage and the broker are awaited
        try:
            await self._start(traffic)
            self._is_started = True
        finally:
            self._is_starting = False
        return self

    async def _start(self, traffic: Traffic | None) -> None:
        await self._units.start()
        if self._units.are_used:
            self._signal = getattr(self._units.storage, "outbox_signal", None)
        if traffic is not None:
            try:
                await traffic.start()
            except BaseException:
                await run_shielded(self._units.stop)
                raise

    async def __aexit__(self, *_: object) -> None:
        """
        Stop: nothing can be sent any more, the broker is stopped, and what the App's own container made is ended.

        Messages that other tasks have under way are not waited for: end those tasks before leaving the block. Stopping
        is not interrupted by a cancellation.
        """
        self._is_started = False
        await run_shielded(self._stop)

    async def _stop(self) -> None:
        traffic, container = self._traffic, self._own_container
        await each_of(
            [
                *([] if traffic is None else [traffic.stop]),
                self._units.stop,
                *([] if container is None else [container.aclose]),
            ]
        )

    @asynccontextmanager
    async def running(self, *, only: Collection[str] | None = None) -> AsyncIterator[App]:
        """
        Start, as ``async with app:`` does, and run the loops until the block is left.

        The relay sends to the broker what waits in the outbox, if there is a storage; consumers receive from it; and
        sagas that were started, or left by their drivers, are driven. When the block begins, the App is a member of its
        groups: what is sent from then on is received. At its end nothing new is begun: steps of sagas have
        ``stop_deadline_s`` seconds to end in, then the relay lets arrive what is on its way, and then messages under
        way have as long again. If the block is cancelled, or a loop breaks, what is under way is cancelled too, is not
        acknowledged, and so comes again.

        Args:
            only: Which loops to run: ``"consumers"``, ``"relay"`` and ``"sagas"``; ``None``: all that there are. For an
                outbox that somebody else sends, such as Debezium, there is no relay.

        Raises:
            InvalidOption: *only* names something else.
            RelayRefused: Somebody else sends the outbox, and *only* asks for a relay, or the App has settings for one.
            Exception: As for ``async with app:``; what the block raised; what ended a loop.
        """
        loops = chosen_loops(only)
        async with self:
            traffic = self._traffic
            self._consumers = (
                () if traffic is None or "consumers" not in loops else tuple(traffic.consumers(self._observer))
            )
            self._relay = await self._make_relay() if self._needs_relay(only, loops) else None
            has_sagas = self._sagas is not None and "sagas" in loops
            self._saga_worker = (
                self._started_sagas().worker(stop_deadline_s=self._stop_deadline_s) if has_sagas else None
            )
            async with run_loops(self._consumers, self._relay, self._saga_worker):
                yield self

    def _needs_relay(self, only: Collection[str] | None, loops: Collection[str]) -> bool:
        sent_by = self._units.sent_by
        if sent_by is None:
            return self._units.are_used and "relay" in loops
        if self._relay_options is not None or (only is not None and "relay" in loops):
            raise RelayRefused(sent_by)
        return False

    @property
    def _observer(self) -> Observer | None:
        return None if self._observing is None else self._observing.observer

    async def _make_relay(self) -> OutboxRelay:
        # Only who has an outbox pays for it.
        from cqrs_core.bell import Bell  # noqa: PLC0415 - see above
        from cqrs_core.relay import OutboxRelay, RelayOptions  # noqa: PLC0415 - see above
        from cqrs_core.storage import outbox_keeper_of  # noqa: PLC0415 - see above

        traffic = await self._started_traffic()
        options = self._relay_options or RelayOptions()
        storage = self._units.storage
        self._bell = Bell()
        return OutboxRelay(
            storage.outbox.lease(self.name, ttl_s=options.lease_ttl_s),
            traffic.broker,
            options=options,
            bell=self._bell,
            observer=self._observer,
            keeper=outbox_keeper_of(storage),
            signal=self._signal,
            clock=self._clock,
        )

    def send(self, request: Request[R]) -> Coroutine[Any, Any, R]:
        """Send *request* to its handler, as :meth:`RequestMediator.send` does; outside the block, ``AppNotStarted``."""
        self._check_started()
        return self._requests.send(request)

    def stream(self, request: Request[R]) -> AsyncGenerator[R, None]:
        """Iterate over the answers to *request*; as :meth:`StreamingRequestMediator.stream`, and as :meth:`send`."""
        self._check_started()
        return self._streams.stream(request)

    def stream_saga(
        self, context: Ctx, *, saga_id: uuid.UUID | None = None, saga: type[Saga[Any]] | None = None
    ) -> AsyncGenerator[SagaStepResult[Ctx, Any], None]:
        """Run a saga, and iterate over what its steps bring; as :meth:`SagaMediator.stream`, and as :meth:`send`."""
        return self._started_sagas().stream(context, saga_id, saga=saga)

    async def start_saga(
        self, context: SagaContext, *, saga_id: uuid.UUID | None = None, saga: type[Saga[Any]] | None = None
    ) -> uuid.UUID:
        """
        Make a saga durable, and leave it to the workers of ``running()``, here or elsewhere.

        Inside the handling of a message, it is started if and when that is committed. Else as
        :meth:`SagaMediator.start`.

        Returns:
            Its id.

        Raises:
            AppNotStarted: Outside the block.
        """
        return await self._started_sagas().start(context, saga_id, saga=saga)

    def publish(self, event: Event) -> Coroutine[Any, Any, None]:
        """
        Publish *event* as if a handler had emitted it: to its handlers here, or, a notification, to other processes.

        Raises:
            EventHandlersFailed: Some handlers failed. All others ran; in a unit of work, everything was rolled back.
            AppNotStarted: Outside the block.
        """
        self._check_started()
        return self._emitter.emit((event,))

    def _needed_traffic(self) -> Traffic:
        if self._traffic is None:
            from cqrs_core.traffic import Traffic  # noqa: PLC0415 - see __init__

            self._traffic = Traffic(
                self.name,
                self._source,
                self._emitter,
                self._units,
                broker=self._broker,
                clock=self._clock,
                max_concurrent_messages=self._max_concurrent_messages,
                stop_deadline_s=self._stop_deadline_s,
            )
        return self._traffic

    async def _started_traffic(self) -> Traffic:
        traffic = self._needed_traffic()
        if not traffic.is_started:  # there was nothing to exchange until now
            wire(traffic)
            await traffic.start()
        return traffic

    async def _publish(self, event: Event) -> None:
        self._check_started()  # a message that outlives the App must not start its broker again
        unit = self._units.current(type(event))
        if unit is not None:
            unit.enqueue(self._write(event))
        else:
            traffic = await self._started_traffic()
            await traffic.publish(event)

    def _on_enqueued(self) -> None:
        if self._bell is not None:
            self._bell.ring()
        if self._signal is not None:
            self._signal.ring()

    def _needed_sagas(self) -> SagaMediator:
        if self._sagas is None:
            from cqrs_core.saga.mediator import SagaMediator  # noqa: PLC0415 - see __init__
            from cqrs_core.saga.saga_map import SagaMap  # noqa: PLC0415 - as above

            self._sagas = SagaMediator(
                SagaMap(),
                self._source,
                self._emitter,
                self._find_saga_storage,
                write=self._write,
                on_enqueued=self._on_enqueued,
                guards=self._guards,
                units=self._units,
                options=self._saga_options,
                clock=self._clock,
                name=self.name,
            )
            if self._is_started or self._is_starting:
                self._sagas.freeze()  # whoever binds now is told that it is too late
        return self._sagas

    def _find_saga_storage(self) -> SagaStorage:
        if not self._units.are_used:
            from cqrs_core.memory import MemorySagaStorage  # noqa: PLC0415 - see __init__

            return MemorySagaStorage(clock=self._clock)
        from cqrs_core.saga.storage import sagas_of  # noqa: PLC0415 - as above

        return sagas_of(self._units.storage)

    def _started_sagas(self) -> SagaMediator:
        self._check_started()
        return self._needed_sagas()

    def _write(self, event: Event) -> Sequence[Envelope]:
        return self._needed_traffic().envelopes(event)

    def _check_not_started(self) -> None:
        if self._is_started or self._is_starting:
            raise AppStarted(self.name)

    def _check_started(self) -> None:
        if not self._is_started:
            raise AppNotStarted(self.name)


class _LazyPublisher:
    """Stands for the broker until the first event that goes there."""

    def __init__(self, publish: Callable[[Event], Coroutine[Any, Any, None]]) -> None:
        self._publish = publish

    async def publish(self, event: Event) -> None:
        """As :class:`cqrs_core.broker.Publisher` has it."""
        await self._publish(event)


def _observing(observer: Observer | str) -> Observing:
    from cqrs_core.observing import Observing  # noqa: PLC0415 - only who has one pays for it

    return Observing(observer)


def _open_storage(spec: str) -> Storage:
    from cqrs_core.plugins import open_backend  # noqa: PLC0415 - only who names one pays for the search

    return open_backend("storage", spec)
