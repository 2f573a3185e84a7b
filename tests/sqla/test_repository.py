"""Events can be put into the outbox by hand, as in python-cqrs, whoever has the transaction."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import get_type_hints

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import Session

from cqrs_core import DomainEvent, NotificationEvent
from cqrs_core.envelope import Envelope
from cqrs_core.errors import InvalidOption, UnitOfWorkRolledBack, UnpublishableEnvelope, UnpublishableEvent
from cqrs_core.open_unit import OpenUnit
from cqrs_core.outbox import OutboxedEventRepository
from cqrs_core.units import Units
from cqrs_core.wiring import HandlerSource
from cqrs_sqla import (
    OutboxedEventMap,
    SqlAlchemyOutboxedEventRepository,
    SqlAlchemyStorage,
    ZlibCompressor,
    define_tables,
)
from cqrs_sqla.errors import ForeignSession, TransactionNotBegun
from cqrs_sqla.tables import Tables

Read = Callable[[], Awaitable[list[str]]]
ReadBoth = Callable[[], Awaitable[tuple[list[str], list[str]]]]


class OrderPlaced(NotificationEvent[str]):
    event_name: str = "OrderPlaced"
    topic: str = "orders"


class OrderSeen(DomainEvent):
    order_id: str


@pytest.fixture
async def session(engine: AsyncEngine) -> AsyncIterator[AsyncSession]:
    async with AsyncSession(engine) as session:
        yield session


@pytest.fixture
def repository(session: AsyncSession) -> SqlAlchemyOutboxedEventRepository:
    return SqlAlchemyOutboxedEventRepository(session)


async def test_it_commits_the_session_with_the_events(
    session: AsyncSession, repository: OutboxedEventRepository, books: type, kept: ReadBoth
) -> None:
    session.add(books("Emma"))
    repository.add(OrderPlaced(payload="Emma"))
    await repository.commit()

    assert (["Emma"], ['"Emma"']) == await kept()


async def test_who_commits_the_session_itself_writes_the_events_too(
    session: AsyncSession, repository: OutboxedEventRepository, bodies: Read
) -> None:
    repository.add(OrderPlaced(payload="Emma"))
    await session.commit()

    assert ['"Emma"'] == await bodies()


@pytest.mark.parametrize("by", ["repository", "session", "close"])
async def test_what_was_rolled_back_is_forgotten(
    by: str, session: AsyncSession, repository: OutboxedEventRepository, bodies: Read
) -> None:
    """Also if nothing but the events had begun."""
    repository.add(OrderPlaced(payload="lost"))
    await {"repository": repository.rollback, "session": session.rollback, "close": session.close}[by]()
    repository.add(OrderPlaced(payload="kept"))
    await repository.commit()

    assert ['"kept"'] == await bodies()


async def test_two_repositories_of_a_session_write_in_order(
    session: AsyncSession, repository: OutboxedEventRepository, bodies: Read
) -> None:
    repository.add(OrderPlaced(payload="1"))
    SqlAlchemyOutboxedEventRepository(session).add(OrderPlaced(payload="2"))
    repository.add(OrderPlaced(payload="3"))
    await repository.commit()

    assert ['"1"', '"2"', '"3"'] == await bodies()


async def test_a_message_says_what_happened_and_who_says_so(session: AsyncSession, storage: SqlAlchemyStorage) -> None:
    event = OrderPlaced(payload="Emma", key="order-7", headers={"tenant": "north"})
    repository = SqlAlchemyOutboxedEventRepository(session, source="shop")
    repository.add(event)
    await repository.commit()
    (record,) = await storage.outbox.pending()

    assert ("orders", "order-7", b'"Emma"') == (record.envelope.topic, record.envelope.key, record.envelope.body)
    facts = {"ce_id": str(event.event_id), "ce_type": "OrderPlaced", "ce_source": "shop", "tenant": "north"}
    assert facts.items() <= dict(record.envelope.headers).items()


@pytest.mark.parametrize("driver", ["asyncpg", "aiosqlite"])
async def test_a_session_of_an_ordinary_program_needs_no_async(
    database_url: str, tables: Tables, books: type, kept: ReadBoth
) -> None:
    """``add`` is all it calls: its own commit writes the events."""
    url = database_url.replace("+aiosqlite", "").replace("+asyncpg", "+psycopg")
    engine = sa.create_engine(url)

    def work() -> None:
        with Session(engine) as session, session.begin():
            session.add(books("Emma"))
            SqlAlchemyOutboxedEventRepository(session, tables=tables).add(OrderPlaced(payload="Emma"))
        with engine.begin() as connection:
            SqlAlchemyOutboxedEventRepository(connection, tables=tables).add(OrderPlaced(payload="Sanditon"))
        with Session(engine) as session:
            repository = SqlAlchemyOutboxedEventRepository(session, tables=tables)
            repository.add(OrderPlaced(payload="lost"))
            asyncio.run(repository.rollback())
            repository.add(OrderPlaced(payload="Persuasion"))
            asyncio.run(repository.commit())

    await asyncio.to_thread(work)
    engine.dispose()

    assert (["Emma"], ['"Emma"', '"Sanditon"', '"Persuasion"']) == await kept()


async def test_a_connection_writes_when_it_commits(engine: AsyncEngine, tables: Tables, bodies: Read) -> None:
    async with engine.begin() as connection:
        repository = SqlAlchemyOutboxedEventRepository(connection, tables=tables)
        repository.add(OrderPlaced(payload="first"))
    async with engine.connect() as connection:
        await connection.begin()
        repository = SqlAlchemyOutboxedEventRepository(connection, tables=tables)
        repository.add(OrderPlaced(payload="lost"))
        await repository.rollback()
        await connection.begin()
        repository.add(OrderPlaced(payload="second"))
        await repository.commit()

    assert ['"first"', '"second"'] == await bodies()


@pytest.mark.parametrize("driver", ["aiosqlite"])
async def test_a_connection_in_no_transaction_is_told_to_begin_one(engine: AsyncEngine, tables: Tables) -> None:
    with pytest.raises(TransactionNotBegun):
        SqlAlchemyOutboxedEventRepository(engine.connect(), tables=tables).add(OrderPlaced(payload="lost"))
    async with engine.connect() as connection:
        with pytest.raises(TransactionNotBegun):
            SqlAlchemyOutboxedEventRepository(connection, tables=tables).add(OrderPlaced(payload="lost"))


@pytest.mark.parametrize("driver", ["aiosqlite"])
@pytest.mark.parametrize(
    ("event", "error"),
    [
        (OrderSeen(order_id="7"), UnpublishableEvent),
        (OrderPlaced(payload="Emma", topic="t" * 256), UnpublishableEnvelope),
        (OrderPlaced(payload="Emma", headers={"ce_id": "mine"}), UnpublishableEvent),
    ],
)
async def test_what_cannot_be_sent_is_refused_at_once(
    repository: OutboxedEventRepository, event: OrderSeen | OrderPlaced, error: type[Exception]
) -> None:
    with pytest.raises(error):
        repository.add(event)


@pytest.mark.parametrize("driver", ["aiosqlite"])
async def test_a_body_is_compressed_if_that_pays(
    engine: AsyncEngine, session: AsyncSession, tables: Tables, bodies: Read
) -> None:
    repository = SqlAlchemyOutboxedEventRepository(session, ZlibCompressor())
    repository.add(OrderPlaced(payload="long " * 100))
    repository.add(OrderPlaced(payload="short"))
    await repository.commit()
    async with engine.connect() as connection:
        long, short = (await connection.scalars(sa.select(tables.outbox.c.payload))).all()

    assert "long " * 100 == json.loads(zlib.decompress(long))
    assert b'"short"' == short
    assert [f'"{"long " * 100}"', '"short"'] == await bodies()


@pytest.mark.parametrize("driver", ["aiosqlite"])
async def test_a_session_writes_into_one_outbox(session: AsyncSession, repository: OutboxedEventRepository) -> None:
    repository.add(OrderPlaced(payload="here"))
    other = SqlAlchemyOutboxedEventRepository(session, tables=define_tables(sa.MetaData(), prefix="other_"))
    with pytest.raises(InvalidOption, match="other_outbox"):
        other.add(OrderPlaced(payload="there"))


@pytest.mark.parametrize("driver", ["aiosqlite"])
async def test_a_map_of_events_as_python_cqrs_wants_it_is_taken(session: AsyncSession, bodies: Read) -> None:
    """It is not needed: an event of a name that was never noted is sent as well."""
    OutboxedEventMap.register("OrderSent", OrderPlaced)
    repository = SqlAlchemyOutboxedEventRepository(session, ZlibCompressor(), event_map=OutboxedEventMap)
    repository.add(OrderPlaced(payload="Emma"))
    await repository.commit()

    assert OrderPlaced is OutboxedEventMap.get("OrderSent")
    assert ['"Emma"'] == await bodies()


def test_a_container_can_make_one() -> None:
    """Of its annotations, which name what containers have."""
    hints = get_type_hints(SqlAlchemyOutboxedEventRepository.__init__)

    assert AsyncSession is hints["session"]


class TestInsideUnit:
    """Made by hand, over the session of a unit of work or over another one."""

    async def test_the_commit_is_for_the_unit(
        self,
        storage: SqlAlchemyStorage,
        envelope: Callable[..., Envelope],
        bodies: Read,
    ) -> None:
        """Until then, what was added is written, and stands where it was added."""
        unit = storage.unit_of_work()
        repository = SqlAlchemyOutboxedEventRepository(unit.get(AsyncSession))
        unit.enqueue([envelope('"1"')])
        repository.add(OrderPlaced(payload="2"))
        await repository.commit()
        unit.enqueue([envelope('"3"')])

        assert [] == await bodies()

        await unit.commit()
        await unit.close()

        assert ['"1"', '"2"', '"3"'] == await bodies()

    async def test_a_rollback_dooms_the_unit(self, storage: SqlAlchemyStorage, bodies: Read) -> None:
        unit = storage.unit_of_work()
        repository = SqlAlchemyOutboxedEventRepository(unit.get(AsyncSession))
        repository.add(OrderPlaced(payload="lost"))
        await repository.rollback()
        with pytest.raises(UnitOfWorkRolledBack, match="by hand"):
            await unit.commit()
        await unit.close()

        assert [] == await bodies()

    @pytest.mark.parametrize("driver", ["aiosqlite"])
    async def test_another_session_is_refused(
        self, storage: SqlAlchemyStorage, engine: AsyncEngine, session: AsyncSession, bodies: Read
    ) -> None:
        """Its events would be sent though the unit is rolled back, or the other way round."""
        repository = SqlAlchemyOutboxedEventRepository(session)
        units = Units(HandlerSource(), storage=storage)
        units.wire()

        async def use_another_session(_: OpenUnit) -> None:
            async with engine.connect() as connection:
                for use in (
                    lambda: repository.add(OrderPlaced(payload="lost")),
                    lambda: SqlAlchemyOutboxedEventRepository(connection).add(OrderPlaced(payload="lost")),
                ):
                    with pytest.raises(ForeignSession):
                        use()
            for end in (repository.commit, repository.rollback):
                with pytest.raises(ForeignSession):
                    await end()

        await units.run(use_another_session)
        repository.add(OrderPlaced(payload="kept"))
        await repository.commit()

        assert ['"kept"'] == await bodies()
