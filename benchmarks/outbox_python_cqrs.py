"""The outbox of python-cqrs, in the environment where that is installed; a :class:`peer.Peer` runs it."""

# Types are checked where python-cqrs is not installed.
# mypy: disable-error-code="import-not-found,misc"

from __future__ import annotations

import logging
import os
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import cqrs
import sqlalchemy as sa
from cqrs.message_brokers import Message, MessageBroker
from cqrs.outbox.sqlalchemy import OutboxModel
from database import DATABASE, Database, Piece, let_ids_count
from draining import Drain, draining, drains
from environment import KAFKA_SERVER
from orders import NAME, TOPIC, Base, Placed, placed, writing
from peer import serve

if TYPE_CHECKING:
    from collections.abc import Iterator

OrderPlaced = cqrs.NotificationEvent[Placed]
Repository = cqrs.SqlAlchemyOutboxedEventRepository


def order_placed(number: int) -> cqrs.NotificationEvent:
    return OrderPlaced(event_name=NAME, topic=TOPIC, payload=placed(number))


class Sink(MessageBroker):
    """Takes a message, and forgets it."""

    def __init__(self, drain: Drain) -> None:
        self._drain = drain

    async def send_message(self, message: Message) -> None:  # noqa: ARG002 - it is forgotten
        await self._drain.answer()


#: Clients of a Kafka, to be stopped in the end: what they are wrapped in has no way to do so.
clients: list[Any] = []


def broker_of(drain: Drain) -> MessageBroker:
    if not drain.is_kafka:
        return Sink(drain)
    from cqrs.adapters.kafka import kafka_producer_factory  # noqa: PLC0415 - where there is a Kafka
    from cqrs.message_brokers.kafka import KafkaMessageBroker  # noqa: PLC0415 - as above

    producer = kafka_producer_factory(dsn=os.environ[KAFKA_SERVER])
    clients.append(producer._producer)  # noqa: SLF001 - see above
    return KafkaMessageBroker(producer)


def producing(database: Database, drain: Drain) -> Piece:
    """Send as its documentation has it: message by message, with a commit behind each batch; but without the sleep."""
    broker: MessageBroker | None = None

    async def work(count: int) -> int:
        nonlocal broker
        broker = broker or broker_of(drain)  # a producer of aiokafka belongs to the loop in which it is made
        sent = 0
        async with database.sessions() as session:
            repository = Repository(session)
            producer = cqrs.EventProducer(broker, repository)
            async for batch in producer.event_batch_generator(drain.batch):
                for event in batch:
                    await producer.send_message(event)
                await repository.commit()
                sent += len(batch)
                if sent >= count or not batch:
                    break
        return sent

    return draining(database, Repository, order_placed, work)


def pieces(database: Database) -> Iterator[tuple[str, Piece]]:
    """Make the work: ``write_3`` is a transaction with three events, ``order_3`` one with an order as well."""
    for name, orders, counts in (("write", 0, (1, 3, 100)), ("order", 1, (0, 1, 3, 20))):
        for events in counts:
            yield (
                f"{name}_{events}",
                writing(database.sessions, Repository, order_placed, orders=orders, events=events),
            )
    for drain in drains():
        yield drain.key, producing(database, drain)


def main() -> None:
    """Serve until stdin ends."""
    logging.getLogger("cqrs").setLevel(logging.ERROR)  # its import sets DEBUG
    cqrs.OutboxedEventMap.register(NAME, OrderPlaced)
    let_ids_count(OutboxModel.__table__, Base.metadata.tables["orders"])
    database = Database(os.environ[DATABASE], Base.metadata, OutboxModel.metadata)
    about = {"version": version("python-cqrs"), "python": sys.version.split()[0], "sqlalchemy": sa.__version__}
    serve({name: database.block(piece) for name, piece in pieces(database)}, about)
    for client in clients:
        database.run(client.stop())
    database.close()


if __name__ == "__main__":
    main()
