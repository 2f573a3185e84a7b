"""The loop that takes messages from the outbox to the broker."""

from __future__ import annotations

import logging
import math
from functools import partial
from typing import TYPE_CHECKING

from cqrs_core.bell import Bell
from cqrs_core.broker import SendOutcome, SendStatus
from cqrs_core.clock import SystemClock
from cqrs_core.concurrency import Gate, as_failure, open_task_group, run_all, run_shielded, run_within
from cqrs_core.errors import StorageUnavailable
from cqrs_core.relay.figures import Figures
from cqrs_core.relay.options import RelayOptions
from cqrs_core.relay.parking import Parking
from cqrs_core.relay.reading import Reader
from cqrs_core.relay.refusals import judge
from cqrs_core.relay.sending import send_in_order, send_one_by_one
from cqrs_core.relay.share import Share
from cqrs_core.resilience import OUTAGE

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Sequence

    from cqrs_core.broker import Broker
    from cqrs_core.clock import Clock
    from cqrs_core.observer import Observer
    from cqrs_core.outbox import OutboxLease, OutboxRecord
    from cqrs_core.outbox_keeper import OutboxKeeper
    from cqrs_core.outbox_signal import OutboxSignal

logger = logging.getLogger(__name__)

_REFUSALS = (SendStatus.REFUSED, SendStatus.PERMANENT)


class OutboxRelay:
    """
    Sends what has been committed: each message at least once, those of one key in their order.

    While the broker is not available everything waits, and no attempt is counted. A message that the broker refuses is
    tried again later, and given up when its attempts are used up; meanwhile only its own key waits.
    """

    def __init__(
        self,
        lease: OutboxLease,
        broker: Broker,
        *,
        options: RelayOptions | None = None,
        bell: Bell | None = None,
        observer: Observer | None = None,
        keeper: OutboxKeeper | None = None,
        signal: OutboxSignal | None = None,
        clock: Clock | None = None,
    ) -> None:
        """
        Get ready; nothing is read yet.

        Args:
            lease: Where messages come from; renewed, it holds for the ``lease_ttl_s`` of *options*.
            broker: Where they go: started, and stopped only after :meth:`run` has returned.
            options: How it works.
            bell: Rung by those who have committed something in this process.
            observer: Told the figures of :data:`cqrs_core.relay.METRICS`.
            keeper: Asked for those of the whole outbox, while :meth:`run` is; without it they are not told.
            signal: Tells, while :meth:`run` is, that others have committed something elsewhere.
            clock: Measures the delays.
        """
        self._lease = lease
        self._broker = broker
        self._options = options or RelayOptions()
        self._bell = bell or Bell()
        self._keeper = keeper
        self._signal = signal
        self._clock = clock or SystemClock()
        self._figures = Figures(observer, self._clock)
        self._begin()

    def _begin(self) -> None:
        options, clock = self._options, self._clock
        self._share = Share(self._lease, ttl_s=options.lease_ttl_s, clock=clock)
        self._reader = Reader(self._lease, batch_size=options.batch_size, figures=self._figures, clock=clock)
        self._parking = Parking()
        self._parking_known_until = -math.inf
        #: How many batches in a row the broker was not available for.
        self._outages = 0
        #: Messages that the broker has, and that are not taken out yet.
        self._delivered: list[int] = []

    @property
    def counts(self) -> Counter[str]:
        """How many messages were ``sent``, ``refused`` and ``buried``; and how many ``outages`` of the broker."""
        return self._figures.counts

    async def run(self, stopping: Gate) -> None:
        """
        Send messages until *stopping* is opened; then let end what is on its way, and give the share up.

        Raises:
            Exception: The storage broke in a way that it does not declare.
        """
        self._begin()
        try:
            async with open_task_group() as tasks:
                tasks.start(partial(self._share.keep_renewing, self._bell.ring))
                if self._keeper is not None and self._figures.are_observed:
                    tasks.start(partial(self._figures.keep_telling, self._keeper, self._options.observe_every_s))
                if self._signal is not None:
                    tasks.start(partial(self._signal.listen, self._bell.ring))
                tasks.start(partial(self._stop, stopping, tasks.cancel))
                await self._work(stopping)
                tasks.cancel()
        finally:
            await run_shielded(self._leave)

    async def run_once(self) -> int:
        """
        Send everything that is due, and give the share up: for tests, and for programs that are started now and then.

        Returns:
            How many messages were sent. If the broker is not available, the rest waits for the next time.

        Raises:
            StorageUnavailable: The outbox cannot be read.
        """
        self._begin()
        before = self.counts["sent"]
        try:
            is_any_left = True
            while is_any_left and not self._outages:
                self._reader.look_again()
                is_any_left = False
                while not self._outages and await self._turn():
                    is_any_left = True
        finally:
            await run_shielded(self._leave)
        return self.counts["sent"] - before

    async def _work(self, stopping: Gate) -> None:
        failures = 0
        poll_s = self._options.shortest_poll_s
        while not stopping.is_open:
            try:
                has_sent = await self._turn()
            except StorageUnavailable as error:
                failures += 1
                self._reader.look_again()
                await self._pause(failures, f"The outbox is not available: {error}", stopping)
                continue
            failures = 0
            if self._outages:
                await self._pause(self._outages, "The broker is not available; messages wait.", stopping)
            elif has_sent:
                poll_s = self._options.shortest_poll_s
            else:
                longest = min(poll_s, max(self._parking.seconds_left(self._clock.monotonic()), 0.0))
                has_rung = await self._bell.wait(longest, self._clock)
                poll_s = self._options.shortest_poll_s if has_rung else min(2 * poll_s, self._options.longest_poll_s)

    async def _stop(self, stopping: Gate, cancel: Callable[[], None]) -> None:
        await stopping.wait()
        self._bell.ring()
        await self._clock.sleep(self._options.drain_deadline_s)
        logger.warning("What was on its way to the broker did not arrive in time; it is sent again by the next relay.")
        cancel()

    async def _pause(self, failures: int, why: str, stopping: Gate) -> None:
        delay_s = OUTAGE.delay_after(failures)
        logger.warning("%s Trying again in %.1f s.", why, delay_s)
        await run_within(delay_s, stopping.wait, self._clock.sleep)

    async def _turn(self) -> bool:
        """Send one batch; tells whether there was any."""
        await self._take_out()
        await self._hold()
        records = await self._reader.read(self._parking.keys)
        if not records:
            return False
        # The next batch, if there is likely to be one, is read while this one is on its way; and it is asked for first,
        # so that the storage works while this process does.
        is_full = len(records) >= self._options.batch_size
        ahead = [partial(self._reader.read_ahead, self._parking.keys)] if is_full else []
        await run_all([*ahead, partial(self._send_and_take_out, self._parking.without_waiting(records))], limit=2)
        return True

    async def _hold(self) -> None:
        """See to it that the share is held, and that it is known which of its keys wait, before anything is sent."""
        if self._parking.let_go(self._clock.monotonic()):
            self._reader.look_again()
            # Whether the time has come is for the outbox to say: its clock may be behind, and then it would give the
            # followers of a message that it still holds back.
            self._parking_known_until = -math.inf
        if await self._share.hold():
            self._reader.look_again()
            self._parking_known_until = -math.inf
        if self._clock.monotonic() >= self._parking_known_until:
            # Again from time to time: a person may have let something go.
            if self._parking.replace(await self._lease.parked(), self._clock.monotonic()):
                self._reader.look_again()
            self._parking_known_until = self._clock.monotonic() + self._options.lease_ttl_s / 3

    async def _send_and_take_out(self, records: Sequence[OutboxRecord]) -> None:
        if records:
            await self._send(records)
            await self._take_out()

    async def _send(self, records: Sequence[OutboxRecord]) -> None:
        began = self._clock.monotonic()
        outcomes = await self._outcomes(records)
        self._figures.handed_over(self._clock.monotonic() - began, len(records))
        sent: list[OutboxRecord] = []
        refused: list[tuple[OutboxRecord, SendOutcome]] = []
        is_any_held_back = has_outage = False
        for record, outcome in zip(records, outcomes, strict=True):
            if outcome.is_delivered:
                sent.append(record)
            elif outcome.status in _REFUSALS:
                refused.append((record, outcome))
            elif outcome.status is SendStatus.NOT_SENT:
                is_any_held_back = True
            else:
                has_outage = True
        self._delivered += [record.position for record in sent]
        self._figures.sent(sent)
        self._outages = self._outages + 1 if has_outage else 0
        if has_outage:
            self._figures.outage()
        if has_outage or is_any_held_back:
            self._reader.look_again()
        for record, outcome in refused:
            await self._refused(record, outcome)

    async def _outcomes(self, records: Sequence[OutboxRecord]) -> Sequence[SendOutcome]:
        try:
            return await send_in_order(self._broker, records)
        except BaseException as error:  # noqa: BLE001 - a cancellation that was asked of this task goes on
            failure = as_failure(error)
        logger.error("The broker failed in a way that it does not declare.", exc_info=failure)
        if len(records) == 1:
            return [SendOutcome(SendStatus.UNKNOWN, failure)]
        return await send_one_by_one(self._broker, records)

    async def _refused(self, record: OutboxRecord, outcome: SendOutcome) -> None:
        self._figures.refused(record)
        is_permanent = outcome.status is SendStatus.PERMANENT
        verdict = judge(record, outcome.error, is_permanent=is_permanent, options=self._options)
        is_buried = verdict.reason is not None
        # What this relay does about it goes first: it holds even if the outbox cannot be told.
        if is_buried:
            self._reader.look_again()
        else:
            self._parking.add(record.envelope.key, verdict.delay_s, self._clock.monotonic())
        await verdict.keep_in(self._lease)
        if is_buried:
            self._figures.buried(record)

    async def _take_out(self) -> None:
        """
        Forget what the broker has.

        After sending: a crash between the two repeats messages, which consumers know; the other order would lose them.
        """
        if self._delivered:
            began = self._clock.monotonic()
            await self._lease.remove(self._delivered)
            self._delivered = []
            self._figures.removed(self._clock.monotonic() - began)

    async def _leave(self) -> None:
        try:
            await self._take_out()
            await self._lease.release()
        except StorageUnavailable as error:
            logger.warning("The share of the outbox could not be given up, and lapses by itself: %s", error)
