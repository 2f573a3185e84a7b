"""A relay's connection outlives what happens to it, and says in one way what may be tried again."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from cqrs_core.errors import StorageUnavailable
from cqrs_sqla.relaying.lines import Line
from cqrs_sqla.relaying.preparing import prepare


def one(connection: sa.Connection) -> int:
    number: int = connection.execute(sa.text("SELECT 1")).scalar_one()
    return number


async def test_a_line_that_hangs_up_finishes_what_it_does(empty_engine: AsyncEngine) -> None:
    """As when the program disposes of its engine: the statement under way would fail, and end the relay."""
    line = Line(empty_engine, "database", prepare)

    def work(connection: sa.Connection) -> tuple[int, int]:
        before = one(connection)
        line.hang_up()
        return before, one(connection)

    assert (1, 1) == await line.run(work)
    assert not line.is_open
    assert 1 == await line.run(one)

    await line.close()


async def test_a_line_that_is_idle_hangs_up_at_once(empty_engine: AsyncEngine) -> None:
    line = Line(empty_engine, "database", prepare)
    await line.run(one)
    connection = line._connection  # noqa: SLF001 - what becomes of it
    assert connection is not None
    await connection.run_sync(lambda _: line.hang_up())

    assert connection.closed
    assert not line.is_open


@pytest.mark.parametrize("driver", ["aiosqlite"])
async def test_what_fails_after_hanging_up_may_be_tried_again(empty_engine: AsyncEngine) -> None:
    line = Line(empty_engine, "database", prepare)

    def work(_connection: sa.Connection) -> None:
        line.hang_up()
        raise sa.exc.ResourceClosedError("This Connection is closed")

    with pytest.raises(StorageUnavailable):
        await line.run(work)

    assert not line.is_open


@pytest.mark.parametrize("driver", ["asyncpg"])
async def test_a_statement_for_a_table_that_was_changed_may_be_tried_again(empty_engine: AsyncEngine) -> None:
    """By a migration, while the relay runs: what asyncpg has prepared fails once."""
    line = Line(empty_engine, "database", prepare)
    async with empty_engine.begin() as connection:
        await connection.exec_driver_sql("CREATE TABLE books (id integer)")

    def read(connection: sa.Connection) -> int:
        return len(connection.execute(sa.text("SELECT * FROM books")).all())

    await line.run(read)
    async with empty_engine.begin() as connection:
        await connection.exec_driver_sql("ALTER TABLE books ALTER id TYPE text")
    with pytest.raises(StorageUnavailable):
        await line.run(read)

    assert 0 == await line.run(read)

    await line.close()
