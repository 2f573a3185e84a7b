"""A loop of one's own that takes events from the outbox to Kafka, as programs for python-cqrs have it."""

import asyncio
import os
from contextlib import aclosing

from sqlalchemy.ext.asyncio import async_sessionmaker

import cqrs_core as cqrs
from cqrs_kafka import KafkaMessageBroker, kafka_producer_factory
from cqrs_sqla import SqlAlchemyOutboxedEventRepository, SqlAlchemyStorage, ZlibCompressor, make_engine

DATABASE = os.environ.get("DATABASE", "sqlite:///outbox.db")  # or mysql://user:password@host/name
SERVER = os.environ.get("KAFKA", "localhost:9092")


class UserJoined(cqrs.NotificationEvent[dict[str, str]]):
    event_name: str = "UserJoined"
    topic: str = "joined_users"


engine = make_engine(DATABASE)
sessions = async_sessionmaker(engine)
broker = KafkaMessageBroker(kafka_producer_factory(dsn=SERVER))


async def join(*users: str) -> None:
    """What handlers do, beside their own changes, which the same commit keeps."""
    async with sessions() as session:
        outbox = SqlAlchemyOutboxedEventRepository(session, ZlibCompressor())
        for user in users:
            outbox.add(UserJoined(payload={"user_id": user}, key=user))
        await outbox.commit()


async def produce() -> None:
    async with sessions() as session:
        producer = cqrs.EventProducer(broker, SqlAlchemyOutboxedEventRepository(session, ZlibCompressor()))
        async with aclosing(producer.event_batch_generator()) as batches:
            async for messages in batches:
                for message in messages:
                    if await producer.send_message(message):
                        print(f"sent: {message.envelope.body.decode()}")
                await producer.repository.commit()
                if not messages:
                    return  # for the sake of the example: a program goes on, and need not sleep meanwhile


async def main() -> None:
    await SqlAlchemyStorage(engine).create()  # where there are migrations, those make the table
    await join("ada", "grace")
    await produce()
    await broker.stop()
    await engine.dispose()


if __name__ == "__main__":
    asyncio.run(main())
