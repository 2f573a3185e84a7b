"""A transaction of Kafka: what is sent, and how far a group has come, are seen together, or neither is."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiokafka.errors import InvalidProducerEpoch, KafkaError, ProducerFenced, TransactionalIdAuthorizationFailed

from cqrs_core.errors import BrokerUnavailable
from cqrs_kafka import verdicts
from cqrs_kafka.connections import broker_unavailable
from cqrs_kafka.errors import AccessDenied, TakenOver
from cqrs_kafka.parcels import Call, Parcel, packed
from cqrs_kafka.partitions import choose
from cqrs_kafka.patience import TooSlow, look_at, within
from cqrs_kafka.producers import Producer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from aiokafka import TopicPartition

    from cqrs_core.envelope import Envelope
    from cqrs_kafka.settings import KafkaSettings


class TransactionalProducer(Producer):
    """
    A producer that sends in transactions, one after the other. After an error it is of no use any more.

    Of those that are started with one *transactional_id*, in whichever process, only the last can commit anything.
    """

    def __init__(self, settings: KafkaSettings, transactional_id: str) -> None:
        self.transactional_id = transactional_id
        # Others are told the partition of each batch. Here aiokafka asks for that of each message; its own partitioner
        # would choose the same, but hashes a key anew each time, which takes twenty times as long as to look it up.
        super().__init__(settings, transactional_id=transactional_id, partitioner=choose)

    async def start(self, within_s: float) -> None:
        """
        Connect. When this returns, all transactions of earlier ones with this id are committed, or undone for good.

        Raises:
            BrokerUnavailable: No broker answers.
            AccessDenied: The user may not use the id.
        """
        try:
            await super().start(within_s)
        except BrokerUnavailable as error:
            if isinstance(error.__cause__, TransactionalIdAuthorizationFailed):
                problem = f"this user may not use the transactional id {self.transactional_id!r}."
                raise AccessDenied(problem) from error
            raise

    async def commit(
        self, envelopes: Sequence[Envelope], group: str, offsets: Mapping[TopicPartition, int], within_s: float
    ) -> None:
        """
        Send *envelopes*, and note that *group* has come to *offsets*, in one transaction.

        If this raises, it was undone, or will be when the next producer of this id starts; unless the answer was lost
        to the very last question, whether to commit. Then that start commits it: look how far the group has come.

        Raises:
            MessageRefused: The broker does not want one of them.
            TakenOver: Another producer of this id has started.
            BrokerUnavailable: It took too long, or failed otherwise.
        """
        parcels = self._packed(envelopes)
        try:
            await within(within_s, self._commit(parcels, group, offsets))
        except (ProducerFenced, InvalidProducerEpoch) as error:
            raise TakenOver(self.transactional_id) from error
        except (KafkaError, TooSlow) as error:
            raise broker_unavailable(self._settings, error) from error

    async def _commit(self, parcels: Iterable[Parcel], group: str, offsets: Mapping[TopicPartition, int]) -> None:
        made: Any = self._made
        await made.begin_transaction()
        sent: list[tuple[Parcel, asyncio.Future[object]]] = []
        for parcel in parcels:
            sending = await made.send(parcel.topic, value=parcel.body, key=parcel.key, headers=parcel.headers)
            sending.add_done_callback(look_at)
            sent.append((parcel, sending))
        # All of them, before it is committed: aiokafka would commit without those that failed.
        for parcel, sending in sent:
            try:
                await sending
            except KafkaError as error:
                refusal = verdicts.verdict(parcel.topic, error).error if verdicts.is_refusal(error) else None
                if refusal is not None:
                    raise refusal from error
                raise
        await made.send_offsets_to_transaction(dict(offsets), group)
        await made.commit_transaction()

    def _packed(self, envelopes: Sequence[Envelope]) -> list[Parcel]:
        call = Call(len(envelopes), asyncio.get_running_loop())
        parcels = [packed(call, index, envelope, self._settings) for index, envelope in enumerate(envelopes)]
        if call.first_error is not None:
            raise call.first_error
        return [parcel for parcel in parcels if parcel is not None]

    async def abandon(self) -> None:
        """As for any producer; a transaction that has begun is undone when the next one of this id starts."""
        made: Any = self._made
        ending = made._txn_manager.wait_for_transaction_end()  # noqa: SLF001 - nothing else tells it
        if ending is not None:
            ending.add_done_callback(look_at)
        await super().abandon()
