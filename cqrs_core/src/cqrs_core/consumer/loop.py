"""The loop that takes messages from a broker to their handlers, and acknowledges them when those are done."""

from __future__ import annotations

import logging
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING

from cqrs_core.clock import SystemClock
from cqrs_core.concurrency import Gate, open_cancel_scope, open_task_group, run_shielded, run_within
from cqrs_core.consumer.attempts import Attempts
from cqrs_core.consumer.consumption import PERSISTENT
from cqrs_core.consumer.figures import Figures
from cqrs_core.consumer.lanes import Lanes
from cqrs_core.consumer.letters import Letters
from cqrs_core.consumer.parking import close_all, open_all, parkings_of
from cqrs_core.consumer.returned import Returned, Returns
from cqrs_core.consumer.status import ConsumerStatus
from cqrs_core.context import Handling, being_handled
from cqrs_core.errors import BrokerUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping
    from contextvars import Context

    from cqrs_core.broker import Broker, Delivery, Subscription
    from cqrs_core.clock import Clock
    from cqrs_core.concurrency import TaskGroup
    from cqrs_core.consumer.attempts import HandleEvent
    from cqrs_core.consumer.consumption import Consumption
    from cqrs_core.consumer.lanes import Lane
    from cqrs_core.observer import Observer

    Work = Callable[[], Awaitable[None]]

logger = logging.getLogger(__name__)

_RECEIVE_LIMIT = 100
#: Messages of one partition that are kept before it is paused: enough to keep all lanes busy between two calls.
_MAX_WAITING = 200


class Consumer:
    """
    One member of a group: receives, handles, acknowledges.

    A message is acknowledged when its handlers are done, or when a retry topic or the dead letters have it: each is
    handled at least once. What fails is tried again, and meanwhile only its own lane waits.

    Attributes:
        group: Whose member this is.
        counts: How many messages were ``handled``, ``skipped`` because they are unknown or another group's,
            ``retried`` by way of a retry topic, ``dead_lettered``, ``parked`` behind a dead letter; and how many
            attempts have ``failed``.
    """

    def __init__(
        self,
        broker: Broker,
        consumptions: Mapping[str, Consumption],
        handle: HandleEvent,
        *,
        group: str,
        max_concurrent: int = 10,
        stop_deadline_s: float = 30.0,
        observer: Observer | None = None,
        clock: Clock | None = None,
    ) -> None:
        """
        Get ready; :meth:`subscribe` begins.

        Args:
            broker: Started, and stopped only after :meth:`run` has returned.
            consumptions: By topic, what is done about its messages.
            handle: Takes events to their handlers.
            group: Members of one group share the messages.
            max_concurrent: How many messages, or batches, are being handled at the same time, at most.
            stop_deadline_s: Seconds that handlers have to end in when the loop stops, or a partition is taken away.
            observer: Is told the figures, if there is one.
            clock: Tells the time, for delays and deadlines.
        """
        self.group = group
        self._broker = broker
        self._consumptions = consumptions
        self._max_concurrent = max_concurrent
        self._stop_deadline_s = stop_deadline_s
        self._clock = clock or SystemClock()
        self._figures = Figures(group, observer, self._clock)
        self.counts = self._figures.counts
        self._parkings = parkings_of(broker, consumptions, group=group, clock=self._clock)
        letters = Letters(broker, self._parkings, self._done, group=group, clock=self._clock, figures=self._figures)
        self._attempts = Attempts(
            consumptions,
            handle,
            letters,
            self._parkings,
            self._done,
            group=group,
            clock=self._clock,
            figures=self._figures,
        )
        self._returns = Returns(
            group,
            {
                retry.name: (topic, retry.delay_s)
                for topic, consumption in consumptions.items()
                for retry in consumption.retry_topics
            },
        )
        self._subscription: Subscription
        self._lag: Callable[[], Mapping[str, int]] | None = None
        self._lanes = Lanes(self._lane_of, max_waiting=_MAX_WAITING)
        self._tasks: TaskGroup
        self._context: Context
        self._workers = 0
        self._is_stopping = False
        #: Opened, and replaced, whenever a lane has been put down.
        self._put_down: Gate

    async def subscribe(self) -> None:
        """
        Join the group; messages that are sent from now on will be received.

        Raises:
            BrokerUnavailable: The broker cannot be reached.
            CqrsError: It lacks a topic, or cannot read the dead letters behind which messages are to be parked.
        """
        largest = max(consumption.max_batch_size for consumption in self._consumptions.values())
        self._lanes = Lanes(self._lane_of, max_waiting=max(_MAX_WAITING, 2 * largest))
        self._is_stopping = False
        self._put_down = Gate()
        await open_all(self._parkings)
        try:
            self._subscription = await self._broker.subscribe(
                [*self._consumptions, *self._returns.topics], group=self.group, on_revoked=self._on_revoked
            )
        except BaseException:
            await run_shielded(partial(close_all, self._parkings.values()))
            raise
        self._lag = getattr(self._subscription, "lag", None)

    async def run(self, stopping: Gate) -> None:
        """
        Handle messages until *stopping* is opened; then let handlers end, and leave the group.

        What is not under way then is not begun; what does not end within the deadline is cancelled. Neither is
        acknowledged: it comes again.

        Raises:
            Exception: The broker broke in a way that it does not declare. Errors of handlers are not raised.
        """
        self._context = copy_context()
        try:
            async with open_task_group() as self._tasks:
                if self._figures.are_observed:
                    self._start(partial(self._figures.keep_telling, self.status))
                async with open_task_group() as receiving:
                    receiving.start(self._receive)
                    await stopping.wait()
                    receiving.cancel()
                await self._drain()
                self._tasks.cancel()  # what is left only waits for its next attempt, or did not end in time
        finally:
            await run_shielded(self._leave)

    async def _leave(self) -> None:
        try:
            await self._subscription.close()
        finally:
            await close_all(self._parkings.values())

    def status(self) -> ConsumerStatus:
        """Tell how this does now. It asks nobody, so it may be called as often as one likes."""
        return ConsumerStatus(
            group=self.group,
            in_flight=len(self._lanes.busy()),
            received=self._lanes.kept,
            lag=None if self._lag is None else self._lag(),
            counts=dict(self.counts),
        )

    async def _receive(self) -> None:
        failures = 0
        while True:
            try:
                deliveries = await self._subscription.receive(_RECEIVE_LIMIT)
            except BrokerUnavailable as error:
                failures += 1
                delay_s = PERSISTENT.delay_after(failures)
                logger.warning("The broker is not available; trying again in %.1f s: %s", delay_s, error)
                await self._clock.sleep(delay_s)
                continue
            failures = 0
            now, monotonic = self._clock.now(), self._clock.monotonic()
            for delivery in deliveries:
                if self._lanes.add(self._returns.restored(delivery, now=now, monotonic=monotonic)):
                    self._subscription.pause(delivery.partition)
            self._start_workers()

    def _start_workers(self) -> None:
        while self._lanes.has_ready and self._workers < self._max_concurrent and not self._is_stopping:
            lane = self._lanes.take()
            assert lane is not None, "has_ready says so"  # noqa: S101 - for type checkers
            self._workers += 1
            self._start(partial(self._work, lane))

    def _start(self, work: Work) -> None:
        self._context.copy().run(self._tasks.start, work)

    async def _work(self, lane: Lane | None) -> None:
        """Make one attempt after the other, at the first of whatever lane is ready."""
        being_handled.set(Handling())
        context = copy_context()
        try:
            while lane is not None:
                await self._advance(lane)
                lane = None
                # What a handler sets in its context, such as a tenant, must not be seen by the next: then that one gets
                # a task of its own. To give one to each would cost half as much again as all the rest.
                if not self._is_stopping and _are_same(context, copy_context()):
                    lane = self._lanes.take()
        finally:
            self._workers -= 1
        self._start_workers()

    async def _advance(self, lane: Lane) -> None:
        delay_s: float | None = None
        try:
            with open_cancel_scope() as scope:
                lane.cancel = scope.cancel
                delay_s = await self._attempts.advance(lane)
        finally:
            lane.cancel = None
            if delay_s is None:
                self._lanes.put_back(lane)
            else:
                self._lanes.put_off(lane)
                self._start(partial(self._wake, lane, delay_s))
            gate, self._put_down = self._put_down, Gate()
            gate.open()

    async def _wake(self, lane: Lane, delay_s: float) -> None:
        await self._clock.sleep(delay_s)
        self._lanes.wake(lane)
        self._start_workers()

    async def _done(self, lane: Lane, count: int) -> None:
        done = [delivery.received if isinstance(delivery, Returned) else delivery for delivery in lane.first_few(count)]
        try:
            await self._subscription.acknowledge(done)
        except BrokerUnavailable as error:
            logger.warning(
                "%d messages of %s could not be acknowledged and come again: %s", count, lane.partition, error
            )
        if self._lanes.finish(lane, count):
            self._subscription.resume(lane.partition)

    async def _on_revoked(self, partitions: Collection[str]) -> None:
        """Begin nothing more of *partitions*, and let end what is under way; what does not end in time is cancelled."""
        self._lanes.drop(partitions)
        for parking in self._parkings.values():
            parking.forget(partitions)
        if not await self._until_put_down(partitions):
            # Somebody else begins with these messages now: what this one still does could undo what is newer.
            for lane in self._lanes.busy(partitions):
                if lane.cancel is not None:
                    lane.cancel()

    async def _drain(self) -> None:
        """Begin nothing more, and let end what is under way."""
        self._is_stopping = True
        self._lanes.drop()
        await self._until_put_down()

    async def _until_put_down(self, partitions: Collection[str] | None = None) -> bool:
        """Wait until nothing of *partitions* is under way any more; gives whether that was so in time."""

        async def wait() -> None:
            while self._lanes.busy(partitions):
                await self._put_down.wait()

        if not self._lanes.busy(partitions) or await run_within(self._stop_deadline_s, wait, self._clock.sleep):
            return True
        logger.warning(
            "%d messages of %s are still being handled after %g s. They are cancelled, and come again.",
            len(self._lanes.busy(partitions)),
            self.group,
            self._stop_deadline_s,
        )
        return False

    def _lane_of(self, delivery: Delivery) -> Hashable | None:
        return self._consumptions[delivery.envelope.topic].lane_of(delivery)


def _are_same(one: Context, other: Context) -> bool:
    try:
        return one == other
    except Exception:  # noqa: BLE001 - values are compared that may do anything, such as arrays
        return False
