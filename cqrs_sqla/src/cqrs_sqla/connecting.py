"""Opens a connection so that none is lost if whoever waits for it is cancelled, or it turns out to be broken."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cqrs_core.concurrency import run_shielded

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import IsolationLevel
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine


async def open_connection(engine: AsyncEngine, isolation_level: IsolationLevel | None = None) -> AsyncConnection:
    """
    Connect; a cancellation arrives when that is done, and the connection is closed then.

    Cancelled in the middle, SQLAlchemy's pool would count it as taken for ever, or a driver leave a session at the
    server that nobody knows. So it would one of its pool that has broken meanwhile, as when the server was restarted,
    if *engine* itself had the isolation level: that is set while nobody has the connection yet.

    Args:
        engine: To whose database.
        isolation_level: Of the connection; that of the engine unless given.

    Raises:
        Exception: Whatever the driver says; each has errors of its own.
    """
    opened: list[AsyncConnection] = []

    async def connect() -> None:
        connection = await engine.connect()
        opened.append(connection)
        if isolation_level is not None:
            await connection.execution_options(isolation_level=isolation_level)

    try:
        await run_shielded(connect)
    except BaseException:
        for connection in opened:
            await run_shielded(connection.close)
        raise
    return opened[0]
