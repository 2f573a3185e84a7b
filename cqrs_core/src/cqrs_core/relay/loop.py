"""The loop that takes messages from the outbox to the broker."""

from __future__ import annotations

import logging
import math
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

from cqrs_core.bell import Bell
from cqrs_core.broker import SendOutcome, SendStatus
from cqrs_core.clock import SystemClock
from cqrs_core.concurrency import Gate, as_failure, open_task_group, run_all, run_shielded, run_within
from cqrs_core.errors import StorageUnavailable
from cqrs_core.relay.gaps import Gaps
from cqrs_core.relay.options import OUTAGE, RelayOptions
from cqrs_core.relay.parking import Parking
from cqrs_core.relay.refusals import judge
from cqrs_core.relay.sending import send_in_order, send_one_by_one

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cqrs_core.broker import Broker
    from cqrs_core.clock import Clock
    from cqrs_core.outbox import OutboxLease, OutboxRecord

logger = logging.getLogger(__name__)

#: A share is not used for this part of its time before it ends: the clock here and that of the storage differ.
_MARGIN = 0.2
#: How often to look from the beginning for what was committed late: once a second, unless that would take more than a
#: twentieth of the time, as it does while a long transaction keeps the database from clearing away what was removed.
_LOOK_AGAIN_EVERY_S = 1.0
_LOOK_AGAIN_COST = 20
#: More often than the share needs it: what a relay that has come waits for, another has to give up.
_RENEW_EVERY_S = 2.0
_REFUSALS = (SendStatus.REFUSED, SendStatus.PERMANENT)


class OutboxRelay:
    """
    Sends what has been committed: each message at least once, those of one key in their order.

    While the broker is not available everything waits, and no attempt is counted. A message that the broker refuses is
    tried again later, and given up when its attempts are used up; meanwhile only its own key waits.

    Attributes:
        counts: How many messages were ``sent``, ``refused`` and ``buried``; and how many ``outages`` of the broker
            there were.
    """

    def __init__(
        self,
        lease: OutboxLease,
        broker: Broker,
        *,
        options: RelayOptions | None = None,
        bell: Bell | None = None,
        clock: Clock | None = None,
    ) -> None:
        """
        Get ready; nothing is read yet.

        Args:
            lease: Where messages come from; renewed, it holds for the ``lease_ttl_s`` of *options*.
            broker: Where they go: started, and stopped only after :meth:`run` has returned.
            options: How it works.
            bell: Rung by those who have committed something in this process.
            clock: Measures the delays.
        """
        self.counts: Counter[str] = Counter()
        self._lease = lease
        self._broker = broker
        self._options = options or RelayOptions()
        self._bell = bell or Bell()
        self._clock = clock or SystemClock()
        self._renewal: Gate | None = None
        self._begin()

    def _begin(self) -> None:
        #: Behind which position to read next, and up to where everything was read once. The first is less while it is
        #: looked from the beginning for what was committed late, or has waited.
        self._after = 0
        self._reached = 0
        self._gaps = Gaps()
        self._must_look_again = False
        self._look_again_at = -math.inf
        self._read_ahead: Sequence[OutboxRecord] = ()
        self._parking = Parking()
        self._parking_known_until = -math.inf
        self._held_until = -math.inf
        self._wants_rebalance = True
        #: How many batches in a row the broker was not available for.
        self._outages = 0
        #: Messages that the broker has, and that are not taken out yet.
        self._delivered: list[int] = []

    async def run(self, stopping: Gate) -> None:
        """
        Send messages until *stopping* is opened; then let end what is on its way, and give the share up.

        Raises:
            Exception: The storage broke in a way that it does not declare.
        """
        self._begin()
        try:
            async with open_task_group() as tasks:
                tasks.start(self._keep_renewing)
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
                self._look_again()
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
                self._look_again()
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
        if self._parking.let_go(self._clock.monotonic()):
            self._look_again()
            # Whether the time has come is for the outbox to say: its clock may be behind, and then it would give the
            # followers of a message that it still holds back.
            self._parking_known_until = -math.inf
        await self._hold()
        if self._must_look_again or self._clock.monotonic() >= self._look_again_at:
            self._start_over()
        records = self._read_ahead or await self._read()
        if not records:
            return False
        self._read_ahead = ()
        # The next batch is read while this one is on its way; only if there is likely to be one.
        is_full = len(records) >= self._options.batch_size
        sendable = self._parking.without_waiting(records)
        await run_all([partial(self._send_and_take_out, sendable), *([self._read_on] if is_full else [])], limit=2)
        return True

    def _look_again(self) -> None:
        """Let the next turn read from the beginning: something may stand before what was read last."""
        self._must_look_again = True

    def _start_over(self) -> None:
        self._must_look_again = False
        self._after = 0
        self._read_ahead = ()  # of a key that has failed meanwhile, it may hold what must not be sent yet

    async def _read(self) -> Sequence[OutboxRecord]:
        after, began = self._after, self._clock.monotonic()
        limit, waiting = self._options.batch_size, list(self._parking.keys)
        passed = self._gaps.positions if after else ()
        records = await self._lease.fetch(after=after, limit=limit, without=waiting, passed=passed)
        if not after:
            took_s = self._clock.monotonic() - began
            self._look_again_at = began + max(_LOOK_AGAIN_EVERY_S, _LOOK_AGAIN_COST * took_s)
        seen = [record.position for record in records]
        last = max(after, seen[-1]) if seen else after
        self._gaps.note(seen, reached=self._reached, now=began)
        self._after = last if sum(position > after for position in seen) >= limit else max(last, self._reached)
        self._reached = max(self._reached, self._after)
        return records

    async def _read_on(self) -> None:
        self._read_ahead = await self._read()

    async def _send_and_take_out(self, records: Sequence[OutboxRecord]) -> None:
        await self._send(records)
        await self._take_out()

    async def _send(self, records: Sequence[OutboxRecord]) -> None:
        if not records:
            return
        outcomes = await self._outcomes(records)
        refused: list[tuple[OutboxRecord, SendOutcome]] = []
        held_back: list[OutboxRecord] = []
        has_outage = False
        for record, outcome in zip(records, outcomes, strict=True):
            if outcome.is_delivered:
                self._delivered.append(record.position)
            elif outcome.status in _REFUSALS:
                refused.append((record, outcome))
            elif outcome.status is SendStatus.NOT_SENT:
                held_back.append(record)
            else:
                has_outage = True
        self.counts["sent"] += len(self._delivered)
        self._outages = self._outages + 1 if has_outage else 0
        self.counts["outages"] += has_outage
        if has_outage or held_back:
            self._look_again()
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
        self.counts["refused"] += 1
        is_permanent = outcome.status is SendStatus.PERMANENT
        verdict = judge(record, outcome.error, is_permanent=is_permanent, options=self._options)
        # What this relay does about it goes first: it holds even if the outbox cannot be told.
        if verdict.reason is not None:
            self._look_again()
        else:
            self._parking.add(record.envelope.key, verdict.delay_s, self._clock.monotonic())
        await verdict.keep_in(self._lease)
        self.counts["buried"] += verdict.reason is not None

    async def _take_out(self) -> None:
        """
        Forget what the broker has.

        After sending: a crash between the two repeats messages, which consumers know; the other order would lose them.
        """
        if self._delivered:
            await self._lease.remove(self._delivered)
            self._delivered = []

    async def _hold(self) -> None:
        """See to it that the share is held, and is a fair one, before anything of it is sent."""
        if self._clock.monotonic() >= self._held_until:
            await self._renew()
        if self._wants_rebalance:
            self._wants_rebalance = False
            if await self._lease.rebalance():
                self._look_again()
                self._parking_known_until = -math.inf
        if self._clock.monotonic() >= self._parking_known_until:
            # Again from time to time: a person may have let something go.
            if self._parking.replace(await self._lease.parked(), self._clock.monotonic()):
                self._look_again()
            self._parking_known_until = self._clock.monotonic() + self._options.lease_ttl_s / 3

    async def _renew(self) -> None:
        while self._renewal is not None:
            await self._renewal.wait()
            if self._clock.monotonic() < self._held_until:
                return
        self._renewal = Gate()
        try:
            began = self._clock.monotonic()
            self._wants_rebalance = await self._lease.renew() or self._wants_rebalance
            self._held_until = began + (1 - _MARGIN) * self._options.lease_ttl_s
        finally:
            renewal, self._renewal = self._renewal, None
            renewal.open()

    async def _keep_renewing(self) -> None:
        while True:
            await self._clock.sleep(min(self._options.lease_ttl_s / 3, _RENEW_EVERY_S))
            try:
                await self._renew()
            except StorageUnavailable as error:
                logger.warning("The share of the outbox could not be renewed: %s", error)
            if self._wants_rebalance:
                self._bell.ring()

    async def _leave(self) -> None:
        try:
            await self._take_out()
            await self._lease.release()
        except StorageUnavailable as error:
            logger.warning("The share of the outbox could not be given up, and lapses by itself: %s", error)
