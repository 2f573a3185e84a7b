"""Opens a connection so that none is lost if whoever waits for it is cancelled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cqrs_core.concurrency import run_shielded

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine


async def open_connection(engine: AsyncEngine) -> AsyncConnection:
    """
    Connect; a cancellation arrives when that is done, and the connection is closed then.

    Cancelled in the middle, SQLAlchemy's pool would count it as taken for ever, or a driver leave a session at the
    server that nobody knows.

    Raises:
        Exception: Whatever the driver says; each has errors of its own.
    """
    opened: list[AsyncConnection] = []

    async def connect() -> None:
        opened.append(await engine.connect())

    try:
        await run_shielded(connect)
    except BaseException:
        for connection in opened:
            await run_shielded(connection.close)
        raise
    return opened[0]
