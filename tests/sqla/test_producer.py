"""A program that sends by itself: what it takes is its own until it commits, and nothing is sent twice or overtaken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import Session

import cqrs_core as cqrs
from cqrs_core.envelope import Envelope
from cqrs_core.errors import BrokerUnavailable, MessageRefused
from cqrs_core.outbox_keeper import Selection
from cqrs_core.testing import VirtualClock
from cqrs_sqla import SqlAlchemyOutboxedEventRepository, SqlAlchemyStorage, ZlibCompressor, make_engine
from cqrs_sqla.tables import Tables

SERVERS = ["asyncpg", "psycopg", "asyncmy"]
Enqueue = Callable[..., Awaitable[None]]
Read = Callable[[], Awaitable[list[str]]]


class Orders(cqrs.NotificationEvent[str]):
    event_name: str = "OrderPlaced"
    topic: str = "orders"


class Broker:
    """Takes what it is given, unless it is told not to: an error for each body."""

    is_durable = True
    keeps_order_after_failure = False

    def __init__(self, **failures: Exception) -> None:
        self.failures = failures
        self.bodies: list[str] = []

    async def send(self, envelope: Envelope) -> None:
        body = envelope.body.decode()
        if body in self.failures:
            raise self.failures[body]
        self.bodies.append(body)


@pytest.fixture
def enqueue(storage: SqlAlchemyStorage, envelope: Callable[..., Envelope]) -> Enqueue:
    """Commit messages of these bodies: ``a1`` is of the key ``a``; what is in capitals has none."""

    async def commit(*bodies: str, topic: str = "shop") -> None:
        unit = storage.unit_of_work()
        unit.enqueue([envelope(body, None if body.isupper() else body[0], topic=topic) for body in bodies])
        await unit.commit()
        await unit.close()

    return commit


@asynccontextmanager
async def repository_of(engine: AsyncEngine, **options: Any) -> AsyncIterator[SqlAlchemyOutboxedEventRepository]:
    async with AsyncSession(engine) as session:
        yield SqlAlchemyOutboxedEventRepository(session, **options)


async def taken(repository: SqlAlchemyOutboxedEventRepository, **options: Any) -> list[str]:
    return [record.envelope.body.decode() for record in await repository.get_many(**options)]


async def test_the_loop_of_python_cqrs_empties_the_outbox(engine: AsyncEngine, enqueue: Enqueue, bodies: Read) -> None:
    """As its documentation has it, by any clock: batch after batch, in order."""
    sent = [f"{key}{number}" for number in range(10) for key in "ab"]
    await enqueue(*sent)
    broker: Any = Broker()
    async with repository_of(engine) as repository:
        producer = cqrs.EventProducer(broker, repository, clock=VirtualClock(jumps=True))
        async with aclosing(producer.event_batch_generator(batch_size=7)) as batches:
            async for messages in batches:
                for message in messages:
                    await producer.send_message(message)
                await producer.repository.commit()
                if not messages:
                    break

    assert sent == broker.bodies
    assert [] == await bodies()


async def test_what_was_not_committed_comes_again(engine: AsyncEngine, enqueue: Enqueue, bodies: Read) -> None:
    """As after a crash: the broker may have had it, and consumers know it by its id."""
    await enqueue("a1", "b1")
    async with repository_of(engine) as repository:
        first, _ = await repository.get_many()
        await repository.remove([first.position])
    async with repository_of(engine) as repository:
        assert ["a1", "b1"] == await taken(repository)

    assert ["a1", "b1"] == await bodies()


@pytest.mark.parametrize("driver", ["asyncpg", "asyncmy", "aiosqlite"])
async def test_what_was_removed_is_removed_once(engine: AsyncEngine, enqueue: Enqueue) -> None:
    """And forgotten: a producer runs for months."""
    await enqueue("a1", "b1")
    removals: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        removals.extend([statement] if statement.startswith("DELETE") else [])

    sa.event.listen(engine.sync_engine, "before_cursor_execute", note)
    async with repository_of(engine) as repository:
        for record in await repository.get_many():
            await repository.remove([record.position])
        await repository.commit()
        await repository.commit()

        assert [] == await taken(repository)

    assert 1 == len(removals)


@pytest.mark.parametrize("by", ["session", "rollback"])
async def test_what_was_sent_is_removed_with_the_next_batch_at_the_latest(
    by: str, engine: AsyncEngine, enqueue: Enqueue, bodies: Read
) -> None:
    """Whoever has ended the transaction in another way: the broker has it."""
    await enqueue("a1", "b1")
    async with AsyncSession(engine) as session:
        repository = SqlAlchemyOutboxedEventRepository(session)
        first, _ = await repository.get_many()
        await repository.remove([first.position])
        await (session.commit() if by == "session" else repository.rollback())

        assert ["b1"] == await taken(repository)

        await repository.commit()

    assert ["b1"] == await bodies()


async def test_within_a_transaction_nothing_that_was_sent_is_given_again(engine: AsyncEngine, enqueue: Enqueue) -> None:
    """A program may commit after several batches; what it has not sent is given again."""
    await enqueue("a1", "b1", "c1")
    async with repository_of(engine) as repository:
        first, _ = await repository.get_many(batch_size=2)
        await repository.remove([first.position])

        assert ["b1", "c1"] == await taken(repository)


@pytest.mark.parametrize("driver", ["asyncpg", "asyncmy", "aiosqlite"])
async def test_an_event_and_what_was_sent_are_committed_together(
    engine: AsyncEngine, enqueue: Enqueue, bodies: Read
) -> None:
    await enqueue("a1")
    async with repository_of(engine) as repository:
        (record,) = await repository.get_many()
        await repository.remove([record.position])
        repository.add(Orders(payload="new"))
        await repository.commit()

    assert ['"new"'] == await bodies()


async def test_an_empty_poll_leaves_no_transaction_open(engine: AsyncEngine, enqueue: Enqueue, bodies: Read) -> None:
    """It would hold back PostgreSQL's clearing away; and on SQLite, all who write."""
    async with AsyncSession(engine) as session:
        repository = SqlAlchemyOutboxedEventRepository(session)

        assert [] == await taken(repository)
        assert not session.in_transaction()

        await enqueue("a1")
        (record,) = await repository.get_many()
        await repository.remove([record.position])
        await session.rollback()

        assert [] == await taken(repository)
        assert not session.in_transaction()

    assert [] == await bodies()


async def test_a_transaction_of_the_program_is_left_open(engine: AsyncEngine) -> None:
    """What else it has done in it is not committed because there is nothing to send."""
    async with AsyncSession(engine) as session:
        await session.begin()

        assert [] == await taken(SqlAlchemyOutboxedEventRepository(session))
        assert session.in_transaction()


async def test_a_batch_is_of_one_topic_if_one_asks_for_it(engine: AsyncEngine, enqueue: Enqueue) -> None:
    await enqueue("a1")
    await enqueue("b1", topic="mails")
    async with repository_of(engine) as repository:
        assert ["b1"] == await taken(repository, topic="mails")


@pytest.mark.parametrize("driver", ["asyncpg", "asyncmy", "aiosqlite"])
@pytest.mark.usefixtures("storage")
async def test_bodies_are_read_as_they_were(engine: AsyncEngine) -> None:
    """With the headers of the event, and not with those that say how its row is kept."""
    async with repository_of(engine, compressor=ZlibCompressor()) as repository:
        repository.add(Orders(payload="x" * 1000, key="a"))
        await repository.commit()
        (record,) = await repository.get_many()

    assert f'"{"x" * 1000}"'.encode() == record.envelope.body
    assert ("a", "orders") == (record.envelope.key, record.envelope.topic)
    assert "content-encoding" not in record.envelope.headers


# Two at once ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("driver", SERVERS)
async def test_two_never_have_the_same_message(engine: AsyncEngine, enqueue: Enqueue, bodies: Read) -> None:
    """The second goes on behind what the first has, and has the rest; when both have committed, all is gone."""
    await enqueue(*[f"{letter}1" for letter in "abcdef"])
    async with repository_of(engine) as first, repository_of(engine) as second, repository_of(engine) as third:
        mine, others, rest = await first.get_many(2), await second.get_many(2), await third.get_many()

        assert ["a1", "b1", "c1", "d1", "e1", "f1"] == [one.envelope.body.decode() for one in [*mine, *others, *rest]]

        for repository, records in ((second, others), (first, mine), (third, rest)):
            await repository.remove([record.position for record in records])
            await repository.commit()

    assert [] == await bodies()


@pytest.mark.parametrize("driver", SERVERS)
async def test_of_a_key_one_has_messages_at_a_time(engine: AsyncEngine, enqueue: Enqueue) -> None:
    """So that none overtakes what the other has, and may not have sent yet; of those without a key, any has any."""
    await enqueue("a1", "A", "a2", "b1", "B", "a3")
    async with repository_of(engine) as first, repository_of(engine) as second:
        assert ["a1", "A"] == await taken(first, batch_size=2)
        assert ["b1", "B"] == await taken(second)

        await first.rollback()
        await second.rollback()

        assert ["a1", "A", "a2", "b1", "B", "a3"] == await taken(second)
        assert [] == await taken(first)


@pytest.mark.parametrize("driver", SERVERS)
async def test_several_send_each_message_once_and_keys_in_order(
    engine: AsyncEngine, enqueue: Enqueue, bodies: Read
) -> None:
    """All at the same time, in batches that overlap in keys, until nothing is left."""
    sent = [f"{key}{number}" for number in range(40) for key in "abcde"]
    await enqueue(*sent)
    broker: Any = Broker()

    async def work() -> None:
        async with repository_of(engine) as repository:
            producer = cqrs.EventProducer(broker, repository, clock=VirtualClock(jumps=True))
            async with aclosing(producer.event_batch_generator(batch_size=7)) as batches:
                async for messages in batches:
                    for message in messages:
                        await producer.send_message(message)
                        await asyncio.sleep(0)
                    await producer.repository.commit()
                    if not await bodies():
                        break

    await asyncio.gather(*[work() for _ in range(3)])

    for key in "abcde":
        assert [body for body in sent if body[0] == key] == [body for body in broker.bodies if body[0] == key]


@pytest.mark.parametrize("driver", ["asyncmy"])
@pytest.mark.parametrize("isolation_level", ["REPEATABLE READ", "READ COMMITTED"])
async def test_who_takes_does_not_keep_others_from_writing(
    isolation_level: str, database_url: str, enqueue: Enqueue, bodies: Read
) -> None:
    """REPEATABLE READ is what python-cqrs recommends, and what locks more than what it finds."""
    await enqueue("a1", "b1")
    own = make_engine(database_url, isolation_level=isolation_level)
    async with repository_of(own) as repository:
        assert ["a1", "b1"] == await taken(repository)

        await enqueue("c1")

        assert ["a1", "b1", "c1"] == await bodies()

        await repository.rollback()

        assert ["a1", "b1", "c1"] == await taken(repository)
    await own.dispose()


# What fails -----------------------------------------------------------------------------------------------------------


async def test_what_was_refused_waits_with_its_key(
    engine: AsyncEngine, storage: SqlAlchemyStorage, enqueue: Enqueue
) -> None:
    """As with a relay, in the same tables: `cqrs outbox` shows it, and lets it go."""
    refusal = MessageRefused("shop", "Not now.", is_permanent=False)
    await enqueue("a1", "b1", "a2")
    broker: Any = Broker(a1=refusal)
    async with repository_of(engine) as repository:
        producer = cqrs.EventProducer(broker, repository, clock=VirtualClock(jumps=True))
        async with aclosing(producer.event_batch_generator()) as batches:
            for message in await anext(batches):
                await producer.send_message(message)
            await producer.repository.commit()

            assert [] == list(await anext(batches))

        (key,) = (await storage.outbox_keeper.status()).parked
        assert "a" == key.key

        await storage.outbox_keeper.let_go(Selection())

        assert ["a1", "a2"] == await taken(repository)

    assert ["b1"] == broker.bodies


async def test_what_is_refused_for_good_is_among_the_dead(
    engine: AsyncEngine, storage: SqlAlchemyStorage, enqueue: Enqueue, bodies: Read
) -> None:
    """And its key goes on with the next batch."""
    await enqueue("a1", "a2")
    broker: Any = Broker(a1=MessageRefused("shop", "Too long.", is_permanent=True))
    async with repository_of(engine) as repository:
        producer = cqrs.EventProducer(broker, repository, clock=VirtualClock(jumps=True))
        async with aclosing(producer.event_batch_generator()) as batches:
            for _ in range(2):
                for message in await anext(batches):
                    await producer.send_message(message)
                await producer.repository.commit()
    (dead,) = await storage.outbox_keeper.look(Selection(), among_dead=True)

    assert ["a2"] == broker.bodies
    assert [] == await bodies()
    assert (b"a1", 1, "permanent") == (dead.record.envelope.body, dead.record.attempts, dead.reason)
    assert "Too long." in str(dead.error)


@pytest.mark.parametrize("driver", ["asyncpg", "asyncmy", "aiosqlite"])
async def test_an_outage_costs_no_attempt(engine: AsyncEngine, enqueue: Enqueue) -> None:
    """However long it is: all is sent afterwards, in order."""
    await enqueue("a1", "a2", "b1")
    gone = BrokerUnavailable("Gone.")
    broker: Any = Broker(a1=gone, a2=gone, b1=gone)
    async with repository_of(engine) as repository:
        producer = cqrs.EventProducer(broker, repository, clock=VirtualClock(jumps=True))
        async with aclosing(producer.event_batch_generator()) as batches:
            for turn in range(20):
                if turn == 19:
                    broker.failures.clear()
                for message in await anext(batches):
                    assert 0 == message.attempts

                    await producer.send_message(message)
                await producer.repository.commit()

    assert ["a1", "a2", "b1"] == broker.bodies


@pytest.mark.parametrize("driver", ["asyncpg", "asyncmy", "aiosqlite"])
async def test_what_cannot_be_decoded_is_buried(
    engine: AsyncEngine, tables: Tables, storage: SqlAlchemyStorage, enqueue: Enqueue, bodies: Read
) -> None:
    """It would be in the way of every batch; also if there is nothing else."""
    await enqueue("a1")
    async with engine.begin() as connection:
        headers = '{"content-encoding": "x", "cqrs_compressed": "x"}'
        broken = sa.text(f"UPDATE {tables.outbox.name} SET headers = '{headers}'")  # noqa: S608 - written above
        await connection.execute(broken)
    async with repository_of(engine) as repository:
        assert [] == await taken(repository)
    (dead,) = await storage.outbox_keeper.look(Selection(), among_dead=True)

    assert [] == await bodies()
    assert ("undecodable", 0) == (dead.reason, dead.record.attempts)


# Whose transaction it is ----------------------------------------------------------------------------------------------


async def test_it_reads_through_a_connection(engine: AsyncEngine, enqueue: Enqueue, bodies: Read) -> None:
    await enqueue("a1")
    async with engine.connect() as connection:
        await connection.begin()
        repository = SqlAlchemyOutboxedEventRepository(connection)
        (record,) = await repository.get_many()
        await repository.remove([record.position])
        await repository.commit()

    assert [] == await bodies()


@pytest.mark.parametrize("driver", ["aiosqlite"])
@pytest.mark.parametrize("make", [Session, sa.Engine.connect])
async def test_it_reads_through_what_is_not_asynchronous(
    make: Callable[[sa.Engine], Any], database_url: str, enqueue: Enqueue, bodies: Read
) -> None:
    """It awaits nothing then."""
    await enqueue("a1")
    engine = sa.create_engine(sa.make_url(database_url).set(drivername="sqlite"))
    with make(engine) as owner:
        repository = SqlAlchemyOutboxedEventRepository(owner)
        (record,) = await repository.get_many()
        await repository.remove([record.position])
        await repository.commit()
    engine.dispose()

    assert [] == await bodies()


@pytest.mark.parametrize("driver", ["asyncpg", "aiosqlite"])
async def test_within_a_unit_the_unit_commits(storage: SqlAlchemyStorage, enqueue: Enqueue, bodies: Read) -> None:
    """What was sent is gone if it does, and there if it does not."""
    await enqueue("a1")
    for end, left in (("rollback", ["a1"]), ("commit", [])):
        unit = storage.unit_of_work()
        repository = SqlAlchemyOutboxedEventRepository(unit.get(AsyncSession))
        (record,) = await repository.get_many()
        await repository.remove([record.position])
        await repository.commit()
        await getattr(unit, end)()
        await unit.close()

        assert left == await bodies()
