"""What an App exchanges with other processes: its broker, the events it publishes, the topics it consumes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cqrs_core.broker import missing_methods, readable
from cqrs_core.concurrency import Gate, Once, run_shielded
from cqrs_core.context import current_messages
from cqrs_core.errors import CqrsError, InvalidOption, NotReadable, PublishedAndConsumed, UnhandledEvent
from cqrs_core.given_backends import backend_from
from cqrs_core.incoming import IncomingEvents
from cqrs_core.outgoing import OutgoingEvents
from cqrs_core.resilience import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Collection, Coroutine, Mapping, Sequence

    from cqrs_core.broker import Broker
    from cqrs_core.clock import Clock
    from cqrs_core.consumer import Consumer, Consumption, OnDead, OnUnknown, Order
    from cqrs_core.emitter import EventEmitter
    from cqrs_core.envelope import Envelope
    from cqrs_core.handlers import EventBatchHandler
    from cqrs_core.messages import Event
    from cqrs_core.observer import Observer
    from cqrs_core.outgoing import Key
    from cqrs_core.units import Units
    from cqrs_core.wiring import HandlerSource


class Traffic:
    """
    Takes events to other processes and from them.

    Attributes:
        is_started: Whether the broker is.
    """

    def __init__(
        self,
        app_name: str,
        source: HandlerSource,
        emitter: EventEmitter,
        units: Units,
        *,
        broker: Broker | str | None,
        clock: Clock,
        max_concurrent_messages: int,
        stop_deadline_s: float,
    ) -> None:
        """
        Begin with nothing.

        Args:
            app_name: Told as the source of messages; the group that consumes, unless another is named.
            source: Makes the handlers of batches.
            emitter: Takes what arrives to its handlers.
            units: Says whether there is an inbox, which knows what has arrived before.
            broker: A URL or a name, whose backend is opened when everything is checked; a broker; ``None``: one in this
                process, for itself.
            clock: Tells the time of messages, and measures delays and deadlines.
            max_concurrent_messages: How many messages each group handles at the same time, at most.
            stop_deadline_s: Seconds that handlers have to end in when the loops stop.
        """
        self._app_name = app_name
        self._source = source
        self._emitter = emitter
        self._units = units
        self._broker_given = broker
        self._broker: Broker | None = None
        self._clock = clock
        self._max_concurrent = max_concurrent_messages
        self._stop_deadline_s = stop_deadline_s
        self._outgoing = OutgoingEvents(app_name, clock=clock)
        self._groups: dict[str, dict[str, Consumption]] = {}
        self._problems: list[CqrsError] = []
        self.is_started = False

    def publishes(self, topic: str, names: Mapping[str, type[Event]], key: Key | None) -> Collection[type]:
        """Publish events of the classes in *names* to *topic*; gives all that are published."""
        self._outgoing.add(topic, names, key)
        return tuple(self._outgoing)

    def consume(
        self,
        topic: str,
        names: Mapping[str, Any],
        *,
        group: str | None,
        order: Order,
        retry: RetryPolicy | None,
        retry_topic_delays_s: Sequence[float],
        on_unknown: OnUnknown,
        dead_letter_topic: str | None,
        on_dead: OnDead,
        batch_handler: type[EventBatchHandler[Any]] | None,
        max_batch_size: int,
        max_body_bytes: int,
    ) -> None:
        """Consume the events in *names* from *topic*; :meth:`wire` judges it."""
        # A program that only publishes does not pay for the loop.
        from cqrs_core.consumer.batches import BatchDispatch  # noqa: PLC0415
        from cqrs_core.consumer.consumption import Consumption  # noqa: PLC0415
        from cqrs_core.consumer.retry_topics import retry_topics  # noqa: PLC0415

        group = self._app_name if group is None else group
        for option, value in (("topic", topic), ("group", group)):
            if not isinstance(value, str) or not value:
                self._problems.append(InvalidOption(option, value, "a text that is not empty"))
                return
        topics = self._groups.setdefault(group, {})
        if topic in topics:
            expected = f"a topic that the group {group!r} does not consume yet; put all its names into one dict"
            self._problems.append(InvalidOption("topic", topic, expected))
            return
        try:
            retries = retry_topics(f"{topic}.{group}.retry", retry_topic_delays_s)
        except InvalidOption as problem:
            self._problems.append(problem)
            retries = ()
        incoming = IncomingEvents(topic, names, max_body_bytes=max_body_bytes)
        handle_batch = None
        if batch_handler is not None:
            handle_batch = BatchDispatch(batch_handler, self._source, self._emitter, self._units)
        topics[topic] = Consumption(
            incoming=incoming,
            dead_letter_topic=f"{topic}.{group}.dead" if dead_letter_topic is None else dead_letter_topic,
            order=order,
            retry=RetryPolicy() if retry is None else retry,
            retry_topics=retries,
            on_unknown=on_unknown,
            on_dead=on_dead,
            handle_batch=handle_batch,
            max_batch_size=max_batch_size,
        )

    def wire(self) -> list[CqrsError]:
        """Get ready, and tell everything that is wrong: errors, none of them raised. After the emitter's own."""
        found = [*self._problems, *self._outgoing.problems(), *self._limit_problems()]
        for topics in self._groups.values():
            for topic, consumption in topics.items():
                found.extend(consumption.problems())
                found.extend(self._handling_problems(topic, consumption))
                for name in topics.keys() & {retry.name for retry in consumption.retry_topics}:
                    expected = f"another topic: {name!r} is where messages of {topic!r} wait for their next attempts"
                    found.append(InvalidOption("topic", name, expected))
        if self._broker is None:
            found.extend(self._open_broker())
        if self._broker is not None and any(
            consumption.on_dead == "park" for topics in self._groups.values() for consumption in topics.values()
        ):
            try:
                readable(self._broker)
            except NotReadable as problem:
                found.append(problem)
        return found

    def freeze(self) -> None:
        """Refuse changes from now on: the App does."""

    def _limit_problems(self) -> list[CqrsError]:
        found: list[CqrsError] = []
        if not isinstance(self._max_concurrent, int) or self._max_concurrent < 1:
            found.append(InvalidOption("max_concurrent_messages", self._max_concurrent, "a whole number, at least 1"))
        if not isinstance(self._stop_deadline_s, (int, float)) or self._stop_deadline_s < 0:
            found.append(InvalidOption("stop_deadline_s", self._stop_deadline_s, "a number of seconds, 0 or more"))
        return found

    def _handling_problems(self, topic: str, consumption: Consumption) -> list[CqrsError]:
        from cqrs_core.consumer.batches import BatchDispatch  # noqa: PLC0415 - imported already by consume

        targets = consumption.incoming.targets
        if isinstance(consumption.handle_batch, BatchDispatch):
            return consumption.handle_batch.problems(targets)
        twice = [PublishedAndConsumed(target, topic) for target in targets if self._outgoing.goes_to(topic, target)]
        unhandled = [UnhandledEvent(target, topic) for target in targets if not self._emitter.handles(target)]
        return [*twice, *unhandled]

    def _open_broker(self) -> list[CqrsError]:
        if self._broker_given is None:
            from cqrs_core.memory import MemoryBroker  # noqa: PLC0415 - only who needs a broker pays for one

            self._broker = MemoryBroker()
            return []
        try:
            self._broker = backend_from(
                "broker", self._broker_given, open_backend=_open_broker, missing_methods=missing_methods
            )
        except CqrsError as error:
            return [error]
        return []

    @property
    def broker(self) -> Broker:
        """The broker; to be asked for after :meth:`wire`."""
        assert self._broker is not None, "wire() has opened it"  # noqa: S101 - for type checkers
        return self._broker

    async def start(self) -> None:
        """
        Start the broker; after :meth:`wire`.

        Raises:
            BrokerUnavailable: It cannot be reached.
        """
        try:
            await self.broker.start()
        except BaseException:
            await run_shielded(self.broker.stop)  # what it had begun
            raise
        self.is_started = True

    async def stop(self) -> None:
        """Stop the broker, if it was started."""
        if self.is_started:
            self.is_started = False
            await self.broker.stop()

    async def publish(self, event: Event) -> None:
        """Hand *event* over to the broker, as :class:`cqrs_core.broker.Publisher` has it."""
        for envelope in self.envelopes(event):
            await self.broker.send(envelope)

    def envelopes(self, event: Event) -> Sequence[Envelope]:
        """Write *event*, as :meth:`OutgoingEvents.envelopes` has it."""
        return self._outgoing.envelopes(event)

    def consumers(self, observer: Observer | None) -> Collection[Consumer]:
        """Make the consumers, one for each group, that tell *observer* their figures; nothing is received yet."""
        if not self._groups:
            return ()
        from cqrs_core.consumer import Consumer  # noqa: PLC0415 - as in consume

        return [
            Consumer(
                self.broker,
                consumptions,
                self._deliver,
                group=group,
                max_concurrent=self._max_concurrent,
                stop_deadline_s=self._stop_deadline_s,
                observer=observer,
                clock=self._clock,
            )
            for group, consumptions in self._groups.items()
        ]

    def _deliver(self, event: Event) -> Coroutine[Any, Any, None]:
        """Handle what the consumer has at hand, unless the inbox knows its message."""
        if not self._units.are_used:
            return self._emitter.deliver(event)
        messages = current_messages()  # of the consumer, which has called just now: one
        return self._emitter.deliver(event, (messages[0].group, [message.id for message in messages]))


def _open_broker(spec: str) -> Broker:
    from cqrs_core.plugins import open_backend  # noqa: PLC0415 - only who names one pays for the search

    return open_backend("broker", spec)


class BrokerPublisher:
    """
    Publishes notifications through a broker that it starts at the first of them: for mediators without an App.

    It works on one event loop after the other. The broker is stopped by whoever made it.
    """

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._outgoing = OutgoingEvents("cqrs_core")
        self._start: Once
        self._loop: Gate | None = None

    async def publish(self, event: Event) -> None:
        """As :class:`cqrs_core.broker.Publisher` has it."""
        if self._loop is None or not self._loop.is_of_this_loop():
            # Of a loop that has ended, what was started there is stopped first. Nothing is awaited before both are set.
            steps = [self._broker.start] if self._loop is None else [self._broker.stop, self._broker.start]
            self._loop, self._start = Gate(), Once(steps)
        await self._start.run()
        for envelope in self._outgoing.envelopes(event):
            await self._broker.send(envelope)
