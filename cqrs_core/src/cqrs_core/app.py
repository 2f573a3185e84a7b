"""One object that holds what a program is made of: maps, container, mediators."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from cqrs_core.app_loops import AppLoops, loops_of
from cqrs_core.app_parts import AppParts
from cqrs_core.clock import SystemClock
from cqrs_core.errors import InvalidOption
from cqrs_core.loops import chosen_loops, run_loops

if TYPE_CHECKING:
    import uuid
    from collections.abc import AsyncGenerator, AsyncIterator, Collection, Coroutine, Iterable, Mapping, Sequence

    from cqrs_core.broker import Broker
    from cqrs_core.clock import Clock
    from cqrs_core.consumer import Consumer, OnDead, OnUnknown, Order
    from cqrs_core.container import Container
    from cqrs_core.handlers import EventBatchHandler
    from cqrs_core.messages import Event, Request
    from cqrs_core.observer import Observer
    from cqrs_core.outgoing import Key
    from cqrs_core.pipeline import EventMiddleware, RequestMiddleware
    from cqrs_core.relay import OutboxRelay, RelayOptions
    from cqrs_core.resilience import RetryPolicy
    from cqrs_core.saga.administration import SagaAdministration
    from cqrs_core.saga.definition import Saga
    from cqrs_core.saga.options import SagaOptions
    from cqrs_core.saga.saga_map import SagaMap
    from cqrs_core.saga.steps import Ctx, SagaContext, SagaStepResult
    from cqrs_core.saga.storage import SagaStorage
    from cqrs_core.saga.worker import SagaRecoveryWorker
    from cqrs_core.storage import Storage

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
        self._parts = AppParts(
            name,
            broker=broker,
            storage=storage,
            observer=observer,
            sagas=sagas,
            container=container,
            middlewares=middlewares,
            event_middlewares=event_middlewares,
            max_concurrent_event_handlers=max_concurrent_event_handlers,
            max_event_depth=max_event_depth,
            event_errors=event_errors,
            polymorphic=polymorphic,
            max_concurrent_messages=max_concurrent_messages,
            stop_deadline_s=stop_deadline_s,
            clock=clock or SystemClock(),
        )
        self._parts.source.offer_as_all(self, App)
        self.name = name
        self.requests = self._parts.request_map
        self.events = self._parts.event_map
        self._relay_options = relay
        self._loops = AppLoops()

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
        self._parts.check_not_started()
        self._parts.publishes(topic, names, key)

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
        self._parts.check_not_started()
        self._parts.needed_traffic().consume(
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
        return self._loops.consumers

    @property
    def relay(self) -> OutboxRelay | None:
        """The relay of the last, or the running, ``running()``, with its ``counts``; ``None`` if there was none."""
        return self._loops.relay

    @property
    def sagas(self) -> SagaMap:
        """Which context means which saga."""
        return self._parts.needed_sagas().saga_map

    @property
    def saga_storage(self) -> SagaStorage:
        """
        Where the sagas are, inside the block: for one of them, and its history.

        Not every storage lets people find and count sagas: the ``storage`` of :meth:`saga_administration` does.
        """
        return self._parts.started_sagas().storage

    @property
    def saga_worker(self) -> SagaRecoveryWorker | None:
        """What drives sagas in the last, or the running, ``running()``, with its ``counts``; ``None``: nothing did."""
        return self._loops.saga_worker

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
        await self._parts.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """
        Stop: nothing can be sent any more, the broker is stopped, and what the App's own container made is ended.

        Messages that other tasks have under way are not waited for: end those tasks before leaving the block. Stopping
        is not interrupted by a cancellation.
        """
        await self._parts.stop()

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
        chosen_loops(only)  # refused before anything is started
        async with self:
            self._loops = await loops_of(self._parts, only, self._relay_options)
            async with run_loops(*self._loops):
                yield self

    def send(self, request: Request[R]) -> Coroutine[Any, Any, R]:
        """Send *request* to its handler, as :meth:`RequestMediator.send` does; outside the block, ``AppNotStarted``."""
        if not self._parts.is_started:
            self._parts.check_started()
        return self._parts.requests.send(request)

    def stream(self, request: Request[R]) -> AsyncGenerator[R, None]:
        """Iterate over the answers to *request*; as :meth:`StreamingRequestMediator.stream`, and as :meth:`send`."""
        self._parts.check_started()
        return self._parts.streams.stream(request)

    def stream_saga(
        self, context: Ctx, *, saga_id: uuid.UUID | None = None, saga: type[Saga[Any]] | None = None
    ) -> AsyncGenerator[SagaStepResult[Ctx, Any], None]:
        """Run a saga, and iterate over what its steps bring; as :meth:`SagaMediator.stream`, and as :meth:`send`."""
        return self._parts.started_sagas().stream(context, saga_id, saga=saga)

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
        return await self._parts.started_sagas().start(context, saga_id, saga=saga)

    @asynccontextmanager
    async def saga_administration(self) -> AsyncIterator[SagaAdministration]:
        """
        Look after the sagas of this App, inside its block or outside; outside, only its storage is started.

        Outside, one may at a time, and meanwhile the App cannot be started: a storage is started once.

        Raises:
            WiringError: With everything that is wrong with handlers, sagas and storage.
            InvalidOption: The storage keeps sagas, and does not let anybody look after them.
            StorageUnavailable: It cannot be reached.
            StorageUnusable: Something is missing in the storage, such as a table.
            AppStarted: The App is starting just now, or somebody looks after its sagas outside of its block.
        """
        from cqrs_core.saga.administration import SagaAdministration  # noqa: PLC0415 - only who does pays for it

        async with self._parts.opened_sagas() as sagas:
            keeper: Any = sagas.storage  # looked at by the administration
            yield SagaAdministration(keeper, [each.saga for each in sagas.saga_map.definitions()])

    def publish(self, event: Event) -> Coroutine[Any, Any, None]:
        """
        Publish *event* as if a handler had emitted it: to its handlers here, or, a notification, to other processes.

        Raises:
            EventHandlersFailed: Some handlers failed. All others ran; in a unit of work, everything was rolled back.
            AppNotStarted: Outside the block.
        """
        self._parts.check_started()
        return self._parts.emitter.emit((event,))
