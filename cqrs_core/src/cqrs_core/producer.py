"""Sends what waits in the outbox for programs that have a loop of their own, as python-cqrs has it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

from cqrs_core.clock import SystemClock
from cqrs_core.errors import BrokerNotStarted, BrokerUnavailable, InvalidOption, MessageRefused, OutcomeUnknown
from cqrs_core.relay import RelayOptions
from cqrs_core.relay.refusals import RefusalKeeper, judge
from cqrs_core.resilience import OUTAGE

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from cqrs_core.broker import Broker
    from cqrs_core.clock import Clock
    from cqrs_core.outbox import OutboxRecord

logger = logging.getLogger(__name__)


class BatchRepository(RefusalKeeper, Protocol):
    """
    An outbox as a producer reads and empties it, all within one transaction at a time.

    What it is told, of messages that were refused too, holds once that is committed.
    ``cqrs_sqla.SqlAlchemyOutboxedEventRepository`` is one.
    """

    async def get_many(self, batch_size: int = 100) -> Sequence[OutboxRecord]:
        """
        Read the next messages that are due, by their positions; others who ask do not get them before :meth:`commit`.

        Of a key, what stands behind a message that waits, or that others have, is left out.
        """
        ...

    async def remove(self, positions: Sequence[int]) -> None:
        """Note that the broker has messages, so that :meth:`commit` forgets them."""
        ...

    async def commit(self) -> None:
        """Commit the transaction."""
        ...


class EventProducer:
    """
    Reads messages of the outbox in batches, and sends those that it is given back, until the program commits.

    Programs without a loop of their own take :class:`cqrs_core.relay.OutboxRelay`, which sends many at a time. Of one
    outbox take either: the relay does not see what a producer has locked, and would send it too.

    Attributes:
        message_broker: Where messages go.
        repository: Where they come from, and who commits.
    """

    def __init__(
        self,
        message_broker: Broker,
        repository: BatchRepository,
        *,
        options: RelayOptions | None = None,
        clock: Clock | None = None,
    ) -> None:
        """
        Get ready; nothing is read yet.

        Args:
            message_broker: Started, and stopped, by the program. One that is not durable may lose what it has taken.
            repository: Of a session of its own.
            options: What becomes of messages that the broker refuses (``retry``, ``on_dead``), and how long to wait
                when there are none (``shortest_poll_s``, ``longest_poll_s``).
            clock: Measures the delays.
        """
        self.message_broker = message_broker
        self.repository = repository
        self._options = options or RelayOptions()
        self._clock = clock or SystemClock()
        #: Keys of which a message of this batch has failed.
        self._held_back: set[str] = set()
        self._is_available = True
        #: How many batches in a row the broker was not available for.
        self._outages = 0

    def event_batch_generator(self, batch_size: int = 100) -> AsyncGenerator[Sequence[OutboxRecord], None]:
        """
        Give batches for ever, each by its positions: send each message of one, and commit, before the next is read.

        A batch may be empty, so that a program can look whether it is to stop. After an empty one, and after one that
        the broker was not available for, the next comes later: more and more so, less the time that the program has
        slept by itself.

        Args:
            batch_size: How many messages a batch has at most.

        Raises:
            InvalidOption: *batch_size* is less than 1.
        """
        if batch_size < 1:
            raise InvalidOption("batch_size", batch_size, "at least 1")
        return self._batches(batch_size)

    async def _batches(self, batch_size: int) -> AsyncGenerator[Sequence[OutboxRecord], None]:
        poll_s = self._options.shortest_poll_s
        while True:
            batch = await self.repository.get_many(batch_size)
            self._held_back.clear()
            self._is_available = True
            given_at = self._clock.monotonic()
            yield batch
            if batch:
                poll_s = self._options.shortest_poll_s
                self._outages = 0 if self._is_available else self._outages + 1
                pause_s = OUTAGE.delay_after(self._outages) if self._outages else 0.0
            else:
                pause_s, poll_s = poll_s, min(2 * poll_s, self._options.longest_poll_s)
            left_s = given_at + pause_s - self._clock.monotonic()
            if left_s > 0:
                await self._clock.sleep(left_s)

    async def send_message(self, message: OutboxRecord) -> bool:
        """
        Send a message of the batch at hand; what does not reach the broker comes again in a later one.

        Behind a message that failed, others of its key are not sent, so that they stay in order; while the broker is
        not available, none is, and no attempt is counted.

        Returns:
            Whether the broker has it; the repository's commit forgets it then.

        Raises:
            BrokerNotStarted: It is one that has to be started first, and was not.
        """
        envelope = message.envelope
        if not self._is_available or envelope.key in self._held_back:
            return False
        facts = {"topic": envelope.topic, "position": message.position, "message_id": envelope.id}
        try:
            await self.message_broker.send(envelope)
        except MessageRefused as error:
            verdict = judge(message, error, is_permanent=error.is_permanent, options=self._options)
            await verdict.keep_in(self.repository)
        except BrokerUnavailable as error:
            self._is_available = False
            logger.warning("The broker is not available, so messages wait: %s", error, extra=facts)
        except OutcomeUnknown as error:
            logger.warning("Whether the broker has a message is not known; it is sent again: %s", error, extra=facts)
        except BrokerNotStarted:
            raise  # it will not be any time later
        except Exception:
            self._is_available = False
            logger.exception("The broker failed in a way that it does not declare; messages wait.", extra=facts)
        else:
            await self.repository.remove([message.position])
            return True
        if envelope.key is not None:
            self._held_back.add(envelope.key)
        return False
