"""One member of a group, as the consumer of the core sees it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from aiokafka import TopicPartition
from aiokafka import errors as kafka

from cqrs_core.errors import BrokerUnavailable, InvalidOption, SubscriptionClosed
from cqrs_kafka.connections import broker_unavailable
from cqrs_kafka.errors import AccessDenied
from cqrs_kafka.intake import NOTHING, Intake
from cqrs_kafka.member import Listener, Member
from cqrs_kafka.patience import STALLED, TooSlow, within
from cqrs_kafka.positions import Positions
from cqrs_kafka.progress import Progress
from cqrs_kafka.records import offset_of
from cqrs_kafka.unreadable import step_over

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence

    from cqrs_core.broker import Delivery, OnRevoked
    from cqrs_kafka.settings import KafkaSettings

    FindPartitions = Callable[[Sequence[str]], Awaitable[list[TopicPartition]]]

logger = logging.getLogger(__name__)

_COMMIT_S = 5.0
_LAST_COMMIT_S = 2.0


class KafkaSubscription:
    """One member of a group: a :class:`cqrs_core.broker.Subscription`."""

    def __init__(
        self,
        settings: KafkaSettings,
        group: str,
        on_revoked: OnRevoked,
        *,
        on_closed: Callable[[KafkaSubscription], None],
    ) -> None:
        self._settings = settings
        self._group = group
        self._on_revoked = on_revoked
        self._on_closed = on_closed
        self._loop = asyncio.get_running_loop()
        self._member = Member(settings, group)
        self._topics: Sequence[str] = ()
        self._owned: dict[str, Progress] = {}
        self._positions = Positions(self._member, self._owned)
        self._intake = Intake(self._member, self._owned, self._positions)
        self._is_open = True
        self._is_dealing = True  # until partitions are assigned
        self._dealing_since = self._loop.time()
        self._settled = asyncio.Event()
        self._commit_now = asyncio.Event()
        self._committer: asyncio.Task[None] | None = None
        self._acknowledged = 0

    async def join(self, topics: Sequence[str], find_partitions: FindPartitions) -> None:
        """
        Join the group, and return when it is settled where it begins.

        Raises:
            BrokerUnavailable: The broker cannot be reached.
            UnknownTopic: Some of the topics do not exist.
        """
        try:
            partitions = await find_partitions(topics)
            await self._member.connect()
            await self._positions.find_starts(partitions)
            self._topics = topics
            self._member.join(topics, Listener(self._revoke, self._assign))
            self._committer = self._loop.create_task(self._keep_committing())
            await self._until_settled()
        except BaseException:
            await self.close()
            raise

    # What users call --------------------------------------------------------------------------------------------------

    async def receive(self, limit: int) -> Sequence[Delivery]:
        """
        As :meth:`cqrs_core.broker.Subscription.receive`.

        Raises:
            BrokerUnavailable: No broker has answered for ``unavailable_after_s``.
            SubscriptionClosed: It is closed, or was while this waited.
            InvalidOption: *limit* is less than 1.
        """
        if limit < 1:
            raise InvalidOption("limit", limit, "at least 1")
        await asyncio.sleep(0)  # others run, and a cancellation arrives, however much there is to do
        while True:
            if not self._is_open:
                raise SubscriptionClosed(self._group)
            deliveries = self._intake.take(limit)
            if deliveries:
                return deliveries
            self._intake.change.clear()
            await self._poll(limit)

    async def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """As :meth:`cqrs_core.broker.Subscription.acknowledge`; it is committed soon, and before anything is lost."""
        for delivery in deliveries:
            progress = self._owned.get(delivery.partition)
            if progress is None:
                continue
            was_wanted = progress.is_wanted
            if progress.acknowledged(offset_of(delivery)):
                self._acknowledged += 1
            if progress.is_wanted and not was_wanted:
                self._intake.change.set()
        if self._acknowledged >= self._settings.commit_every:
            self._acknowledged = 0
            self._commit_now.set()

    def pause(self, partition: str) -> None:
        """As :meth:`cqrs_core.broker.Subscription.pause`."""
        if partition in self._owned:
            self._owned[partition].is_paused = True

    def resume(self, partition: str) -> None:
        """As :meth:`cqrs_core.broker.Subscription.resume`."""
        if partition in self._owned:
            self._owned[partition].is_paused = False
            self._intake.change.set()

    def lag(self) -> dict[str, int]:
        """Tell how many messages of each partition are not done, as of the last answer; it asks nobody."""
        return self._positions.lag()

    async def close(self) -> None:
        """As :meth:`cqrs_core.broker.Subscription.close`, within ten seconds, even if the broker is frozen."""
        if not self._is_open:
            return
        self._is_open = False
        self._intake.change.set()
        if self._committer is not None:
            self._committer.cancel()
            await asyncio.wait({self._committer})
        await self._positions.commit(_LAST_COMMIT_S)
        await self._member.leave()
        await self._intake.close()
        self._owned.clear()
        self._on_closed(self)

    # Receiving --------------------------------------------------------------------------------------------------------

    async def _poll(self, limit: int) -> None:
        """Wait for messages, or for a change that lets others be waited for."""
        wanted = NOTHING if self._is_dealing else self._intake.wanted()
        try:
            # While partitions are dealt out, not even a question that does not wait is answered.
            has_come = not self._is_dealing and await self._intake.poll(wanted, limit)
            if not has_come and not await self._intake.wait(wanted, limit):
                await self._check_answers(wanted)
        except BrokerUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - it is looked at
            await self._recover(error)

    async def _check_answers(self, wanted: Sequence[TopicPartition]) -> None:
        """
        Look whether brokers still answer: aiokafka would wait for ever without a word.

        Raises:
            BrokerUnavailable: They do not.
        """
        patience_s = self._settings.unavailable_after_s
        if self._is_dealing:
            patience_s += self._settings.rebalance_timeout_s
            silent_s = self._loop.time() - self._dealing_since
        else:
            silent_s = self._positions.silent_s(wanted)
        if silent_s <= patience_s:
            return
        error = broker_unavailable(self._settings, f"the group {self._group!r} has had no answer for {silent_s:.0f} s.")
        if silent_s <= STALLED * patience_s:
            raise error
        await self._join_again(error)  # if there are brokers again, it is the client that does not notice

    async def _recover(self, error: Exception) -> None:
        """
        Do what can be done about *error*, so that the next poll goes on.

        Raises:
            BrokerUnavailable: Nothing but to try again later.
        """
        if not self._is_open:
            return  # its client has ended, and says so
        self._positions.rewind()
        if isinstance(error, kafka.OffsetOutOfRangeError):
            await self._positions.begin_anew(error.args[0])
        elif isinstance(error, kafka.NoOffsetForPartitionError):
            await self._settle()
        elif isinstance(error, UnicodeDecodeError):
            with contextlib.suppress(kafka.KafkaError):  # the next poll meets it, too
                await step_over(self._member, list(self._owned.values()), error, self._intake.hold)
        elif self._member.is_broken:
            await self._join_again(error)
        else:
            raise broker_unavailable(self._settings, error) from error

    async def _join_again(self, error: Exception) -> None:
        """
        Join with another consumer of aiokafka: this one has come to an end by itself.

        Raises:
            BrokerUnavailable: No broker answers.
            SubscriptionClosed: It was closed meanwhile.
        """
        member = Member(self._settings, self._group)
        try:
            await member.connect()
            logger.warning("A consumer of the group %r broke, and joins it again.", self._group, exc_info=error)
            await self._intake.close()
            await self._revoke(())
            if not self._is_open:
                raise SubscriptionClosed(self._group)
        except BaseException:
            await member.leave()
            raise
        broken, self._member = self._member, member
        self._positions.member = self._intake.member = member
        await broken.leave()
        if self._is_open:
            member.join(self._topics, Listener(self._revoke, self._assign))

    # Partitions come and go -------------------------------------------------------------------------------------------

    async def _assign(self, partitions: Collection[TopicPartition]) -> None:
        for partition in partitions:
            progress = Progress(partition)
            self._owned[progress.name] = progress
        self._is_dealing = False
        self._intake.change.set()
        await self._settle()

    async def _revoke(self, _partitions: Collection[TopicPartition]) -> None:
        """Let all go: Kafka's older protocol, which aiokafka speaks, deals out everything anew."""
        self._settled.clear()
        self._is_dealing = True
        self._dealing_since = self._loop.time()
        self._intake.change.set()
        for progress in self._owned.values():
            progress.is_leaving = True
            progress.held.clear()
        names = list(self._owned)
        if names and self._is_open:
            await self._tell(names)
        await self._positions.commit(_COMMIT_S)
        self._owned.clear()
        self._positions.forget_answers()

    async def _tell(self, names: Sequence[str]) -> None:
        try:
            await within(self._settings.rebalance_timeout_s, _call(self._on_revoked, names))
        except Exception:
            logger.exception(
                "on_revoked of a member of the group %r failed. Its partitions go all the same: %s.",
                self._group,
                ", ".join(names),
                extra={"group": self._group},
            )

    async def _settle(self) -> None:
        try:
            await self._positions.settle()
        except (BrokerUnavailable, kafka.KafkaError, TooSlow) as error:
            logger.debug("It is not settled yet where the group %s begins: %r", self._group, error)
        else:
            self._settled.set()
            self._intake.change.set()

    async def _until_settled(self) -> None:
        until = self._loop.time() + self._settings.rebalance_timeout_s + self._settings.unavailable_after_s
        while not self._settled.is_set():
            self._intake.change.clear()
            try:
                await self._intake.wait(NOTHING, 1)
            except kafka.GroupAuthorizationFailedError as error:
                raise AccessDenied(f"{self._group!r} is a group that this user may not join.") from error
            except kafka.TopicAuthorizationFailedError as error:
                raise AccessDenied(f"this user may not read {', '.join(self._topics)}.") from error
            except kafka.KafkaError as error:
                raise broker_unavailable(self._settings, error) from error
            if self._loop.time() > until:
                raise broker_unavailable(self._settings, f"the group {self._group!r} did not let a new member in.")

    async def _keep_committing(self) -> None:
        while True:
            with contextlib.suppress(TooSlow):
                await within(self._settings.commit_interval_s, self._commit_now.wait())
            self._commit_now.clear()
            if self._is_dealing:
                continue
            try:
                if not self._settled.is_set():
                    await self._settle()
                await self._positions.commit(_COMMIT_S)
            except Exception:
                logger.exception("The group %r could not commit, in a way that is not foreseen.", self._group)


async def _call(on_revoked: OnRevoked, names: Sequence[str]) -> None:
    await on_revoked(names)
