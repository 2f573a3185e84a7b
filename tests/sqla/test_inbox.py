"""A message is handled once by each group, however often it comes."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from datetime import timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from cqrs_core.envelope import Envelope
from cqrs_core.errors import InvalidOption
from cqrs_sqla import SqlAlchemyStorage
from cqrs_sqla.accepting import accept
from cqrs_sqla.tables import Tables


async def accept_in_unit(storage: SqlAlchemyStorage, group: str, ids: list[uuid.UUID]) -> set[uuid.UUID]:
    unit = storage.unit_of_work()
    try:
        new = await unit.accept(group, ids)
        await unit.commit()
    finally:
        await unit.close()
    return set(new)


async def test_many_messages_are_accepted_at_once(storage: SqlAlchemyStorage) -> None:
    """Of more than one statement takes with some drivers; and the answer tells which are new."""
    ids = [uuid.uuid4() for _ in range(2500)]

    assert set(ids[:1700]) == await accept_in_unit(storage, "billing", ids[:1700])
    assert set(ids[1700:]) == await accept_in_unit(storage, "billing", ids)
    assert set() == await accept_in_unit(storage, "billing", ids)


async def test_nothing_to_accept_takes_nothing(storage: SqlAlchemyStorage) -> None:
    assert set() == await accept_in_unit(storage, "billing", [])


async def test_a_message_that_is_named_twice_is_new_once(storage: SqlAlchemyStorage) -> None:
    message_id = uuid.uuid4()

    assert {message_id} == await accept_in_unit(storage, "billing", [message_id, message_id])


async def test_groups_are_told_apart_by_each_character(storage: SqlAlchemyStorage) -> None:
    message_id = uuid.uuid4()
    for group in ("billing", "Billing", "bílling", "billing-2"):
        assert {message_id} == await accept_in_unit(storage, group, [message_id])


async def test_a_hundred_messages_in_four_copies_are_handled_a_hundred_times(
    storage: SqlAlchemyStorage, books: type, envelope: Callable[..., Envelope], engine: AsyncEngine
) -> None:
    """All at once: a copy waits until the one before it has ended, and then knows."""
    ids = [uuid.uuid4() for _ in range(100)]

    async def consume() -> None:
        for message_id in ids:
            unit = storage.unit_of_work()
            try:
                if await unit.accept("billing", [message_id]):
                    unit.get(AsyncSession).add(books(str(message_id)))
                    unit.enqueue([envelope(str(message_id))])
                await unit.commit()
            finally:
                await unit.close()

    await asyncio.gather(*(consume() for _ in range(4)))
    async with engine.connect() as connection:
        handled = (await connection.execute(sa.text("SELECT count(*) FROM books"))).scalar_one()
    sent = [record.envelope.body.decode() for record in await storage.outbox.pending(limit=500)]

    assert 100 == handled
    assert sorted(map(str, ids)) == sorted(sent)


async def test_when_the_first_of_several_copies_fails_another_is_handled(storage: SqlAlchemyStorage) -> None:
    """Those that wait for it are answered; where the database resolves a deadlock of theirs, at the next attempt."""
    for _ in range(5):
        message_id = uuid.uuid4()
        first = storage.unit_of_work()
        await first.accept("billing", [message_id])

        async def consume(message_id: uuid.UUID = message_id) -> int:
            for _ in range(20):
                try:
                    return len(await accept_in_unit(storage, "billing", [message_id]))
                except sa.exc.OperationalError:
                    continue
            raise AssertionError("it failed every time")

        copies = [asyncio.ensure_future(consume()) for _ in range(3)]
        for _ in range(20):
            await storage.outbox.pending(limit=1)
        await first.close()

        assert 1 == sum(await asyncio.gather(*copies))


@pytest.mark.parametrize("group", ["", "g" * 256, "a\0b", "\udc80", "billing "])
@pytest.mark.parametrize("driver", ["aiosqlite"])
async def test_a_group_that_does_not_fit_is_refused(storage: SqlAlchemyStorage, group: str) -> None:
    """MariaDB would cut it, or pass over the space, and take one group for another."""
    with pytest.raises(InvalidOption, match="group"):
        await accept_in_unit(storage, group, [uuid.uuid4()])


@pytest.mark.parametrize("driver", ["asyncmy"])
async def test_a_database_that_cannot_return_rows_answers_one_by_one(
    engine: AsyncEngine, tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As MySQL, unlike MariaDB."""
    ids = [uuid.uuid4() for _ in range(3)]
    async with engine.begin() as connection:
        await connection.run_sync(accept, tables.inbox, "billing", ids[:1])
        monkeypatch.setattr(connection.dialect, "insert_returning", False)

        assert set(ids[1:]) == await connection.run_sync(accept, tables.inbox, "billing", ids)


async def test_old_messages_are_forgotten_in_batches(
    engine: AsyncEngine, storage: SqlAlchemyStorage, tables: Tables
) -> None:
    old, new = [[uuid.uuid4() for _ in range(12)] for _ in range(2)]
    await accept_in_unit(storage, "billing", old)
    inbox = tables.inbox
    async with engine.begin() as connection:
        time = (await connection.execute(sa.select(sa.func.min(inbox.c.received_at)))).scalar_one()
        await connection.execute(sa.update(inbox).values(received_at=time - timedelta(days=8)))
    await accept_in_unit(storage, "billing", new)
    statements: list[str] = []
    sa.event.listen(engine.sync_engine, "before_cursor_execute", lambda *facts: statements.append(facts[2]))

    assert 12 == await storage.inbox.purge(timedelta(days=7), batch_size=5)
    assert 3 == sum(statement.startswith("DELETE") for statement in statements)  # 5 + 5 + 2
    assert set(old) == await accept_in_unit(storage, "billing", [*old, *new])


@pytest.mark.parametrize("driver", ["aiosqlite"])
async def test_a_batch_of_nothing_is_refused(storage: SqlAlchemyStorage) -> None:
    with pytest.raises(InvalidOption, match="batch_size"):
        await storage.inbox.purge(timedelta(days=7), batch_size=0)


async def test_a_message_is_as_old_as_the_database_says(storage: SqlAlchemyStorage) -> None:
    """Neither the time zone of a session nor that of the program plays a part."""
    message_id = uuid.uuid4()
    await accept_in_unit(storage, "billing", [message_id])

    assert 0 == await storage.inbox.purge(timedelta(minutes=1))
    assert 1 == await storage.inbox.purge(timedelta(minutes=-1))
