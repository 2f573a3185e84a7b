"""What a relay looks at before it begins, and how it sets its connections."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import sqlalchemy as sa

from cqrs_sqla.databases import version_problem

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine


def without(*settings: str) -> str:
    """Write what switches off *settings* of PostgreSQL's planner, and has who waited for others see what they did."""
    off = ", ".join(f"set_config('{name}', 'off', false)" for name in settings)
    return f"SELECT {off}, set_config('default_transaction_isolation', 'read committed', false)"


# The plans that are right for an outbox with nothing in it, and are kept, read all of it and sort it: with 300,000
# messages, 157 times slower. What is left reads it by its positions. Without that, a plan has a price that no plan is
# worth, by which PostgreSQL would compile it first.
_SETTINGS = ("enable_seqscan", "enable_bitmapscan", "enable_sort", "jit")
_PREPARATIONS = {
    "postgresql": without(*_SETTINGS),
    # With what is the default there, who takes slots would lock those of the others too.
    "mysql": "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    "mariadb": "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
}
_ROUNDS = 3
_POOLED = (
    "Between the program and the database is a pooler that gives each transaction another connection (PgBouncer's "
    "pool_mode=transaction). A relay sets its connections, and its settings would become those of others. Give the "
    "relay an address that leads to PostgreSQL itself, or to a pool with pool_mode=session."
)
_MARK = "cqrs_sqla.relay"


def prepare(connection: sa.Connection) -> None:
    """Set a connection that is new."""
    statement = _PREPARATIONS.get(connection.dialect.name)
    if statement is not None:
        connection.exec_driver_sql(statement)


async def problem_of(engine: AsyncEngine, beside: AsyncEngine) -> str | None:
    """
    Tell why no relay can work with a database, if so; it leaves nothing behind.

    Args:
        engine: Connects to it.
        beside: So does this, with a pool of its own: of a pool, one connection may be all there is.
    """
    async with engine.connect() as first:
        problem = version_problem(first.dialect)
        if problem is None and first.dialect.name == "postgresql":
            await first.execution_options(isolation_level="AUTOCOMMIT")
            async with beside.connect() as second:
                for _ in range(_ROUNDS):
                    if await _are_swapped(first, second):
                        return _POOLED
        return problem


async def _are_swapped(first: AsyncConnection, second: AsyncConnection) -> bool:
    """Tell whether what is done on a connection is seen on another one, or is lost while the other is busy."""
    mark = uuid.uuid4().hex
    await first.execute(sa.text(f"SELECT set_config('{_MARK}', :mark, false)"), {"mark": mark})
    # In a transaction, the second keeps what it gets: the one that the first had, if a pooler gives it away.
    seen: object = (await second.execute(_LOOK)).scalar_one()
    kept: object = (await first.execute(_LOOK)).scalar_one()
    await second.rollback()
    return mark == seen or mark != kept


_LOOK = sa.text(f"SELECT current_setting('{_MARK}', true)")
