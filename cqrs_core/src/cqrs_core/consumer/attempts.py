"""What happens to the first message of a lane: it is read, handled, tried again, given up."""

from __future__ import annotations

import logging
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from cqrs_core.concurrency import as_failure
from cqrs_core.consumer.dead_letters import is_note
from cqrs_core.consumer.letters import ids_of
from cqrs_core.consumer.returned import Returned, number_of
from cqrs_core.context import Handling, being_handled
from cqrs_core.errors import BatchFailed, BrokerUnavailable, InvalidOption, UnknownEventName, UnreadableMessage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from cqrs_core.broker import Delivery
    from cqrs_core.clock import Clock
    from cqrs_core.consumer.consumption import Consumption
    from cqrs_core.consumer.figures import Figures
    from cqrs_core.consumer.lanes import Lane
    from cqrs_core.consumer.letters import Done, Letters
    from cqrs_core.consumer.parking import Parking
    from cqrs_core.incoming import Arrival
    from cqrs_core.messages import Event

logger = logging.getLogger(__name__)

#: Of names that nobody consumes, so many are told, each cut to what can be read.
_MOST_NAMES = 1000
_LONGEST_NAME = 80


class HandleEvent(Protocol):
    """Handles one event that has arrived."""

    def __call__(self, event: Event, /) -> Awaitable[None]:
        """
        Handle *event*, by all its handlers, when awaited.

        Raises:
            Exception: It is not done, and may be tried again.
        """
        ...


class Attempts:
    """
    Makes one attempt after the other at what is first in a lane.

    A message is done when its handlers are, or when a retry topic or the dead letters have it. Nothing else makes it
    done: what can neither be handled nor sent there stays first in its lane.
    """

    def __init__(
        self,
        consumptions: Mapping[str, Consumption],
        handle: HandleEvent,
        letters: Letters,
        parkings: Mapping[str, Parking],
        done: Done,
        *,
        group: str,
        clock: Clock,
        figures: Figures,
    ) -> None:
        self._consumptions = consumptions
        self._handle = handle
        self._letters = letters
        self._parkings = parkings
        self._done = done
        self._group = group
        self._clock = clock
        self._figures = figures
        self._unknown: set[tuple[str, str]] = set()

    async def advance(self, lane: Lane) -> float | None:
        """
        Make one attempt.

        Returns:
            Seconds to wait before the next attempt at the same message; ``None`` if it, or the whole batch, is done.
        """
        if lane.is_dropped:
            return None  # its partition was taken away after it was taken up, and before anything was begun
        consumption = self._consumptions[lane.first.envelope.topic]
        if lane.letter is not None:
            return await self._letters.send(lane)
        parking = self._parking_of(lane)
        if parking is not None and not parking.knows(lane.partition):
            return await _learn(lane.partition, parking)
        wait_s = self._left_of(lane.first)
        if wait_s > 0:
            return wait_s
        if parking is not None and parking.is_behind(lane.first):
            return await self._letters.park(lane, consumption)
        return await self._begin(lane, consumption)

    def _parking_of(self, lane: Lane) -> Parking | None:
        """Give what knows whether the first message is parked; ``None`` if it cannot be."""
        if not self._parkings or lane.first.envelope.key is None or not _is_ours(lane.first):
            return None
        return self._parkings.get(lane.first.envelope.topic)

    def _left_of(self, delivery: Delivery) -> float:
        """Tell for how many seconds a message is not due."""
        if not isinstance(delivery, Returned) or not delivery.is_ours:
            return 0.0
        return delivery.due_at - self._clock.monotonic()

    async def _begin(self, lane: Lane, consumption: Consumption) -> float | None:
        if not _is_to_handle(lane.first):
            return await self._skip(lane)
        if consumption.handle_batch is not None:
            return await self._attempt_batch(lane, consumption)
        return await self._attempt(lane, consumption)

    async def _attempt(self, lane: Lane, consumption: Consumption) -> float | None:
        try:
            arrival = self._read(lane, lane.first, consumption)
        except UnreadableMessage as error:
            return await self._unread(lane, consumption, error)
        failure: Exception | None = None
        token, began_at = being_handled.set(Handling((arrival.message,))), self._figures.begin_attempt()
        try:
            await self._handle(arrival.event)
        except BaseException as error:  # noqa: BLE001 - the policy decides what becomes of it
            failure = as_failure(error)
        finally:
            being_handled.reset(token)
            self._figures.attempted(consumption.incoming.topic, began_at)
        if failure is not None:
            return await self._failed(lane, consumption, failure)
        self._figures.count("handled", consumption.incoming.topic)
        return await self._letters.finish(lane)

    async def _skip(self, lane: Lane) -> float | None:
        self._figures.count("skipped", lane.first.envelope.topic)
        return await self._letters.finish(lane)

    async def _attempt_batch(self, lane: Lane, consumption: Consumption) -> float | None:
        arrivals: list[Arrival] = []
        is_alone = lane.alone or number_of(lane.first) is not None
        for delivery in islice(lane.queue, 1 if is_alone else consumption.max_batch_size):
            if arrivals and not self._may_follow(delivery):
                break
            try:
                arrivals.append(self._read(lane, delivery, consumption))
            except UnreadableMessage as error:
                if arrivals:
                    break  # it will be first when those before it are done
                return await self._unread(lane, consumption, error)
        failure: Exception | None = None
        handling = Handling(tuple(arrival.message for arrival in arrivals))
        token, began_at = being_handled.set(handling), self._figures.begin_attempt()
        try:
            await consumption.handle_batch([arrival.event for arrival in arrivals])  # type: ignore[misc]  # see advance
        except BaseException as error:  # noqa: BLE001 - as above
            failure = as_failure(error)
        finally:
            being_handled.reset(token)
            self._figures.attempted(consumption.incoming.topic, began_at)
        if failure is not None:
            return await self._batch_failed(lane, consumption, failure, len(arrivals))
        self._figures.count("handled", consumption.incoming.topic, len(arrivals))
        if is_alone:
            return await self._letters.finish(lane)
        await self._done(lane, len(arrivals))
        return None

    async def _batch_failed(self, lane: Lane, consumption: Consumption, error: Exception, size: int) -> float | None:
        if isinstance(error, BatchFailed):
            if isinstance(error.index, int) and 0 <= error.index < size:
                if error.index:
                    self._figures.count("handled", consumption.incoming.topic, error.index)
                    await self._done(lane, error.index)
                cause = error.__cause__
                return await self._failed(lane, consumption, cause if isinstance(cause, Exception) else error)
            error = InvalidOption("BatchFailed.index", error.index, f"from 0 to {size - 1}, the last of the batch")
        if size > 1 and self._is_exhausted(consumption, error, failures=lane.failures + 1):
            # Which of them is at fault is not known. One by one, only that one goes to the dead letters.
            logger.warning("A batch of %d messages failed for good; they are handled one by one.", size, exc_info=error)
            self._figures.count("failed", consumption.incoming.topic)
            lane.alone = size
            lane.failures = 0  # each has all its attempts: those before were the batch's
            return 0
        return await self._failed(lane, consumption, error)

    def _may_follow(self, delivery: Delivery) -> bool:
        """Tell whether a message may be in a batch behind another."""
        return _is_to_handle(delivery) and self._left_of(delivery) <= 0

    def _read(self, lane: Lane, delivery: Delivery, consumption: Consumption) -> Arrival:
        failures = lane.failures if delivery is lane.first else 0
        return consumption.incoming.read(delivery, group=self._group, attempt=delivery.attempt + failures)

    async def _unread(self, lane: Lane, consumption: Consumption, error: UnreadableMessage) -> float | None:
        if not is_note(lane.first.envelope):
            if not isinstance(error, UnknownEventName) or consumption.on_unknown == "dead_letter":
                return await self._letters.give_up(lane, consumption, error)
            self._warn_once(error)
        return await self._skip(lane)

    def _warn_once(self, error: UnknownEventName) -> None:
        known = (error.topic, error.name[:_LONGEST_NAME])
        if known in self._unknown or len(self._unknown) >= _MOST_NAMES:
            return
        self._unknown.add(known)
        logger.warning("%s Messages of that name are skipped; this is said once.", error)
        if len(self._unknown) == _MOST_NAMES:
            logger.warning("%d names were skipped; of others nothing is said any more.", _MOST_NAMES)

    async def _failed(self, lane: Lane, consumption: Consumption, error: Exception) -> float | None:
        if lane.is_dropped:
            return None  # it comes again, here or elsewhere: nothing is decided about it
        lane.failures += 1
        self._figures.count("failed", consumption.incoming.topic)
        if self._is_exhausted(consumption, error, failures=lane.failures):
            retry_topic = consumption.next_retry(lane.first)
            if retry_topic is not None and consumption.retry.is_worth_retrying(error):
                return await self._letters.send_to_retry(lane, error, retry_topic)
            return await self._letters.give_up(lane, consumption, error)
        delay_s = consumption.retry.delay_after(lane.failures)
        logger.warning(
            "Attempt %d at the message at %s of %s failed; trying again in %.1f s.",
            lane.failures,
            lane.first.position,
            lane.first.envelope.topic,
            delay_s,
            exc_info=error,
            extra=ids_of(lane.first),
        )
        return delay_s

    @staticmethod
    def _is_exhausted(consumption: Consumption, error: Exception, *, failures: int) -> bool:
        # Deliveries that the broker counts are no attempts: most of them ended before the message was begun.
        if failures >= consumption.retry.max_attempts:
            return True
        return not consumption.retry.is_worth_retrying(error)


async def _learn(partition: str, parking: Parking) -> float:
    """Find out what is parked in a partition; tells for how many seconds its messages have to wait then."""
    if not parking.unreadable_for_s:
        with suppress(BrokerUnavailable):
            await parking.learn(partition)
    return parking.unreadable_for_s


def _is_ours(delivery: Delivery) -> bool:
    return not isinstance(delivery, Returned) or delivery.is_ours


def _is_to_handle(delivery: Delivery) -> bool:
    return not isinstance(delivery, Returned) or (delivery.is_ours and not delivery.is_discarded)
