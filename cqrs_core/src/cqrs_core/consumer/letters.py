"""What is sent in place of a message that is not handled here and now: to a retry topic, or to the dead letters."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

from cqrs_core.concurrency import as_failure
from cqrs_core.consumer.consumption import PERSISTENT
from cqrs_core.consumer.dead_letters import ParkedBehind, dead_letter
from cqrs_core.consumer.retry_topics import retry_letter
from cqrs_core.consumer.returned import attempts_before, number_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cqrs_core.broker import Broker, Delivery
    from cqrs_core.clock import Clock
    from cqrs_core.consumer.consumption import Consumption
    from cqrs_core.consumer.figures import Figures
    from cqrs_core.consumer.lanes import Lane
    from cqrs_core.consumer.parking import Parking
    from cqrs_core.consumer.retry_topics import RetryTopic

logger = logging.getLogger(__name__)


class Done(Protocol):
    """Takes note that messages are done."""

    async def __call__(self, lane: Lane, count: int) -> None:
        """Acknowledge the first *count* messages of *lane*, and forget them."""
        ...


class Letters:
    """
    Sends what stands for the first message of a lane, which is done when that has arrived, and not before.

    What cannot be sent stays first in its lane. All methods answer as :meth:`.attempts.Attempts.advance` does.
    """

    def __init__(
        self,
        broker: Broker,
        parkings: Mapping[str, Parking],
        done: Done,
        *,
        group: str,
        clock: Clock,
        figures: Figures,
    ) -> None:
        """
        Get ready.

        Args:
            broker: Takes the letters.
            parkings: By topic, where keys are parked behind their dead letters.
            done: Is told of messages that are done.
            group: Whose letters they are.
            clock: Tells their time.
            figures: Count what was sent: as ``retried``, ``dead_lettered``, ``parked``.
        """
        self._broker = broker
        self._parkings = parkings
        self._done = done
        self._group = group
        self._clock = clock
        self._figures = figures

    async def send_to_retry(self, lane: Lane, error: Exception, to: RetryTopic) -> float | None:
        """Let the message wait in a retry topic."""
        delivery = lane.first
        logger.warning(
            "All attempts at the message at %s of %s failed; it comes again from %s.",
            delivery.position,
            delivery.envelope.topic,
            to.name,
            exc_info=error,
            extra=ids_of(delivery),
        )
        attempts = attempts_before(delivery) + max(lane.failures, 1)
        lane.letter = retry_letter(delivery, error, to=to, group=self._group, attempts=attempts, time=self._clock.now())
        lane.counted_as = "retried"
        return await self._send_anew(lane)

    async def give_up(self, lane: Lane, consumption: Consumption, error: Exception) -> float | None:
        """Let the message be a dead letter, unless its partition was taken away."""
        if lane.is_dropped:
            return None  # it comes again, here or elsewhere: nothing is decided about it
        delivery = lane.first
        logger.error(
            "The message at %s of %s goes to the dead letters, %s.",
            delivery.position,
            delivery.envelope.topic,
            consumption.dead_letter_topic,
            exc_info=error,
            extra=ids_of(delivery),
        )
        attempts = attempts_before(delivery) + max(lane.failures, 1)
        return await self._bury(lane, consumption, error, attempts, counted_as="dead_lettered")

    async def park(self, lane: Lane, consumption: Consumption) -> float | None:
        """Put the message behind a dead letter of its key."""
        delivery = lane.first
        logger.warning(
            "The message at %s of %s is parked in %s, behind a dead letter of its key.",
            delivery.position,
            delivery.envelope.topic,
            consumption.dead_letter_topic,
            extra=ids_of(delivery),
        )
        return await self._bury(lane, consumption, ParkedBehind(delivery.envelope.key or ""), 0, counted_as="parked")

    async def finish(self, lane: Lane) -> float | None:
        """Let the message be done; if it was a dead letter for which others wait, that is noted first."""
        parking = self._parkings.get(lane.first.envelope.topic)
        if parking is None or number_of(lane.first) is None or lane.first.envelope.key is None:
            await self._done(lane, 1)
            return None
        lane.letter, lane.counted_as = parking.settlement(lane.first), ""
        return await self._send_anew(lane)

    async def send(self, lane: Lane) -> float | None:
        """Send what stands for the message."""
        delivery, letter = lane.first, lane.letter
        assert letter is not None, "whoever calls has seen it"  # noqa: S101 - for type checkers
        try:
            await self._broker.send(letter)
        except BaseException as error:
            failure = as_failure(error)  # whatever it is, the message must not be lost
            lane.failures += 1
            delay_s = PERSISTENT.delay_after(lane.failures)
            logger.error(  # noqa: TRY400 - the traceback of a stray cancellation is its cause's
                "What became of the message at %s of %s cannot be sent to %s; its lane waits. Next try in %.1f s.",
                delivery.position,
                delivery.envelope.topic,
                letter.topic,
                delay_s,
                exc_info=failure,
                extra=ids_of(delivery),
            )
            return delay_s
        if lane.counted_as:
            self._figures.count(lane.counted_as, delivery.envelope.topic)
        parking = self._parkings.get(delivery.envelope.topic)
        if parking is not None:
            parking.sent(delivery, letter)
        await self._done(lane, 1)
        return None

    async def _bury(
        self, lane: Lane, consumption: Consumption, error: Exception, attempts: int, *, counted_as: str
    ) -> float | None:
        delivery = lane.first
        parking = self._parkings.get(delivery.envelope.topic)
        lane.letter = dead_letter(
            delivery,
            error,
            topic=consumption.dead_letter_topic,
            group=self._group,
            attempts=attempts,
            time=self._clock.now(),
            number=None if parking is None or delivery.envelope.key is None else parking.number_for(delivery),
        )
        lane.counted_as = counted_as
        return await self._send_anew(lane)

    async def _send_anew(self, lane: Lane) -> float | None:
        lane.failures = 0  # from now on, those of sending
        return await self.send(lane)


def ids_of(delivery: Delivery) -> dict[str, object]:
    """What tells a message apart, for log records; never its content."""
    envelope = delivery.envelope
    return {
        "topic": envelope.topic,
        "partition": delivery.partition,
        "position": delivery.position,
        "message_id": envelope.id,
    }
