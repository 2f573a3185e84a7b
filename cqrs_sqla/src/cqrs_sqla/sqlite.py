"""Makes connections to SQLite behave as those to a server: real transactions, writers that wait for each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import event

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.ext.asyncio import AsyncEngine
    from sqlalchemy.pool import ConnectionPoolEntry

#: How long a transaction waits for the one that writes, in seconds; ``?timeout=`` in the URL says otherwise.
BUSY_TIMEOUT_S = 30.0


def prepare_sqlite(engine: AsyncEngine) -> None:
    """
    Have the engine's connections keep a log of what is written, check foreign keys, and begin transactions themselves.

    Python's sqlite3 would begin one only before a statement that changes rows: reading would be outside of it, and a
    savepoint too.

    Args:
        engine: One that has not connected yet.

    Source:
        SQLAlchemy's documentation of the dialect, "SAVEPOINT support", and of ``pysqlite``, "transactional DDL".
    """
    event.listen(engine.sync_engine, "connect", _on_connect)
    event.listen(engine.sync_engine, "begin", _on_begin)


def _on_connect(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # sqlite3 begins nothing by itself
    cursor = connection.cursor()
    try:
        # Readers and the one writer do not wait for each other. It is a property of the file.
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA foreign_keys = ON")
    finally:
        cursor.close()


def _on_begin(connection: Connection) -> None:
    if connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT":
        return
    raw = connection.connection.dbapi_connection
    if raw is not None and raw.isolation_level is not None:
        raw.isolation_level = None  # SQLAlchemy sets it anew after AUTOCOMMIT
    # IMMEDIATE: a transaction that reads first and then writes fails at once if another has written meanwhile, however
    # long it would wait. Taking the right to write at the beginning, it waits its turn.
    connection.exec_driver_sql("BEGIN IMMEDIATE")
