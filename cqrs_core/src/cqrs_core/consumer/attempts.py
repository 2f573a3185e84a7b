"""What happens to the first message of a lane: it is read, handled, tried again, given up."""

from __future__ import annotations

import logging
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from cqrs_core.concurrency import as_failure
from cqrs_core.consumer.dead_letters import REPLAYED, dead_letter
from cqrs_core.consumer.retry_topics import retry_letter
from cqrs_core.consumer.returned import Returned, attempts_before
from cqrs_core.context import Handling, being_handled
from cqrs_core.errors import BatchFailed, InvalidOption, UnknownEventName, UnreadableMessage
from cqrs_core.resilience import RetryPolicy

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Awaitable, Mapping

    from cqrs_core.broker import Broker, Delivery
    from cqrs_core.clock import Clock
    from cqrs_core.consumer.consumption import Consumption
    from cqrs_core.consumer.lanes import Lane
    from cqrs_core.consumer.retry_topics import RetryTopic
    from cqrs_core.incoming import Arrival
    from cqrs_core.messages import Event

logger = logging.getLogger(__name__)

#: Of names that nobody consumes, so many are told, each cut to what can be read.
_MOST_NAMES = 1000
_LONGEST_NAME = 80

#: For what has no end but success: a broker that does not answer, a dead letter that does not get through.
PERSISTENT = RetryPolicy(delay_s=0.5, max_delay_s=30.0)


class HandleEvent(Protocol):
    """Handles one event that has arrived."""

    def __call__(self, event: Event, /) -> Awaitable[None]:
        """
        Handle *event*, by all its handlers, when awaited.

        Raises:
            Exception: It is not done, and may be tried again.
        """
        ...


class Done(Protocol):
    """Takes note that messages are done."""

    async def __call__(self, lane: Lane, count: int) -> None:
        """Acknowledge the first *count* messages of *lane*, and forget them."""
        ...


class Attempts:
    """
    Makes one attempt after the other at what is first in a lane.

    A message is done when its handlers are, or when a retry topic or the dead letters have it. Nothing else makes it
    done: what can neither be handled nor sent there stays first in its lane.
    """

    def __init__(
        self,
        broker: Broker,
        consumptions: Mapping[str, Consumption],
        handle: HandleEvent,
        done: Done,
        *,
        group: str,
        clock: Clock,
        counts: Counter[str],
    ) -> None:
        self._broker = broker
        self._consumptions = consumptions
        self._handle = handle
        self._done = done
        self._group = group
        self._clock = clock
        self._counts = counts
        self._unknown: set[tuple[str, str]] = set()

    async def advance(self, lane: Lane) -> float | None:
        """
        Make one attempt.

        Returns:
            Seconds to wait before the next attempt at the same message; ``None`` if it, or the whole batch, is done.
        """
        consumption = self._consumptions[lane.first.envelope.topic]
        if lane.letter is not None:
            return await self._send_letter(lane, consumption)
        if isinstance(lane.first, Returned):
            if not lane.first.is_ours:
                self._counts["skipped"] += 1
                await self._done(lane, 1)
                return None
            wait_s = lane.first.due_at - self._clock.monotonic()
            if wait_s > 0:
                return wait_s
        if consumption.handle_batch is not None:
            return await self._attempt_batch(lane, consumption)
        return await self._attempt(lane, consumption)

    async def _attempt(self, lane: Lane, consumption: Consumption) -> float | None:
        try:
            arrival = self._read(lane, lane.first, consumption)
        except UnreadableMessage as error:
            return await self._unread(lane, consumption, error)
        token = being_handled.set(Handling((arrival.message,)))
        try:
            await self._handle(arrival.event)
        except BaseException as error:  # noqa: BLE001 - the policy decides what becomes of it
            return await self._failed(lane, consumption, as_failure(error))
        finally:
            being_handled.reset(token)
        self._counts["handled"] += 1
        await self._done(lane, 1)
        return None

    async def _attempt_batch(self, lane: Lane, consumption: Consumption) -> float | None:
        arrivals: list[Arrival] = []
        for delivery in islice(lane.queue, 1 if lane.alone else consumption.max_batch_size):
            if arrivals and not self._is_due(delivery):
                break
            try:
                arrivals.append(self._read(lane, delivery, consumption))
            except UnreadableMessage as error:
                if arrivals:
                    break  # it will be first when those before it are done
                return await self._unread(lane, consumption, error)
        token = being_handled.set(Handling(tuple(arrival.message for arrival in arrivals)))
        try:
            await consumption.handle_batch([arrival.event for arrival in arrivals])  # type: ignore[misc]  # see advance
        except BaseException as error:  # noqa: BLE001 - as above
            return await self._batch_failed(lane, consumption, as_failure(error), len(arrivals))
        finally:
            being_handled.reset(token)
        self._counts["handled"] += len(arrivals)
        await self._done(lane, len(arrivals))
        return None

    async def _batch_failed(self, lane: Lane, consumption: Consumption, error: Exception, size: int) -> float | None:
        if isinstance(error, BatchFailed):
            if isinstance(error.index, int) and 0 <= error.index < size:
                if error.index:
                    self._counts["handled"] += error.index
                    await self._done(lane, error.index)
                cause = error.__cause__
                return await self._failed(lane, consumption, cause if isinstance(cause, Exception) else error)
            error = InvalidOption("BatchFailed.index", error.index, f"from 0 to {size - 1}, the last of the batch")
        if size > 1 and self._is_exhausted(consumption, error, failures=lane.failures + 1):
            # Which of them is at fault is not known. One by one, only that one goes to the dead letters.
            logger.warning("A batch of %d messages failed for good; they are handled one by one.", size, exc_info=error)
            self._counts["failed"] += 1
            lane.alone = size
            lane.failures = 0  # each has all its attempts: those before were the batch's
            return 0
        return await self._failed(lane, consumption, error)

    def _is_due(self, delivery: Delivery) -> bool:
        if not isinstance(delivery, Returned):
            return True
        return delivery.is_ours and delivery.due_at <= self._clock.monotonic()

    def _read(self, lane: Lane, delivery: Delivery, consumption: Consumption) -> Arrival:
        failures = lane.failures if delivery is lane.first else 0
        return consumption.incoming.read(delivery, group=self._group, attempt=delivery.attempt + failures)

    async def _unread(self, lane: Lane, consumption: Consumption, error: UnreadableMessage) -> float | None:
        if REPLAYED not in lane.first.envelope.headers:
            if not isinstance(error, UnknownEventName) or consumption.on_unknown == "dead_letter":
                return await self._give_up(lane, consumption, error)
            self._warn_once(error)
        self._counts["skipped"] += 1
        await self._done(lane, 1)
        return None

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
        self._counts["failed"] += 1
        if self._is_exhausted(consumption, error, failures=lane.failures):
            retry_topic = consumption.next_retry(lane.first)
            if retry_topic is not None and consumption.retry.is_worth_retrying(error):
                return await self._send_to_retry(lane, consumption, error, retry_topic)
            return await self._give_up(lane, consumption, error)
        delay_s = consumption.retry.delay_after(lane.failures)
        logger.warning(
            "Attempt %d at the message at %s of %s failed; trying again in %.1f s.",
            lane.failures,
            lane.first.position,
            lane.first.envelope.topic,
            delay_s,
            exc_info=error,
            extra=_ids(lane.first),
        )
        return delay_s

    @staticmethod
    def _is_exhausted(consumption: Consumption, error: Exception, *, failures: int) -> bool:
        # Deliveries that the broker counts are no attempts: most of them ended before the message was begun.
        if failures >= consumption.retry.max_attempts:
            return True
        return not consumption.retry.is_worth_retrying(error)

    async def _send_to_retry(
        self, lane: Lane, consumption: Consumption, error: Exception, to: RetryTopic
    ) -> float | None:
        delivery = lane.first
        logger.warning(
            "All attempts at the message at %s of %s failed; it comes again from %s.",
            delivery.position,
            delivery.envelope.topic,
            to.name,
            exc_info=error,
            extra=_ids(delivery),
        )
        lane.letter = retry_letter(
            delivery, error, to=to, group=self._group, attempts=_attempts_at(lane), time=self._clock.now()
        )
        lane.failures = 0
        return await self._send_letter(lane, consumption)

    async def _give_up(self, lane: Lane, consumption: Consumption, error: Exception) -> float | None:
        if lane.is_dropped:
            return None  # as in _failed
        delivery = lane.first
        logger.error(
            "The message at %s of %s goes to the dead letters, %s.",
            delivery.position,
            delivery.envelope.topic,
            consumption.dead_letter_topic,
            exc_info=error,
            extra=_ids(delivery),
        )
        lane.letter = dead_letter(
            delivery,
            error,
            topic=consumption.dead_letter_topic,
            group=self._group,
            attempts=_attempts_at(lane),
            time=self._clock.now(),
        )
        lane.failures = 0
        return await self._send_letter(lane, consumption)

    async def _send_letter(self, lane: Lane, consumption: Consumption) -> float | None:
        assert lane.letter is not None, "see advance"  # noqa: S101 - for type checkers
        try:
            await self._broker.send(lane.letter)
        except BaseException as error:
            failure = as_failure(error)  # whatever it is, the message must not be lost
            lane.failures += 1
            delay_s = PERSISTENT.delay_after(lane.failures)
            logger.error(  # noqa: TRY400 - the traceback of a stray cancellation is its cause's
                "The message at %s of %s was given up, and cannot be sent to %s; its lane waits. Next try in %.1f s.",
                lane.first.position,
                lane.first.envelope.topic,
                lane.letter.topic,
                delay_s,
                exc_info=failure,
                extra=_ids(lane.first),
            )
            return delay_s
        self._counts["dead_lettered" if lane.letter.topic == consumption.dead_letter_topic else "retried"] += 1
        await self._done(lane, 1)
        return None


def _attempts_at(lane: Lane) -> int:
    """Count the attempts at the first message of a lane, those of earlier rounds included."""
    return attempts_before(lane.first) + max(lane.failures, 1)


def _ids(delivery: Delivery) -> dict[str, object]:
    """What tells a message apart, for log records; never its content."""
    envelope = delivery.envelope
    return {
        "topic": envelope.topic,
        "partition": delivery.partition,
        "position": delivery.position,
        "message_id": envelope.id,
    }
