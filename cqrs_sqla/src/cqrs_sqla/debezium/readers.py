"""Who reads the log of a database in which the outbox is emptied at once, and what there is to say against it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from cqrs_core.errors import InvalidOption, RelayRefused
from cqrs_core.outbox_keeper import LogReader
from cqrs_sqla.compressor import ZlibCompressor
from cqrs_sqla.debezium.settings import check_readable

if TYPE_CHECKING:
    from cqrs_sqla.compressor import Compressor
    from cqrs_sqla.tables import Tables

_READERS = """
SELECT slot_name, active, CASE WHEN wal_status IS DISTINCT FROM 'lost'
    THEN pg_wal_lsn_diff(pg_current_wal_lsn(), coalesce(confirmed_flush_lsn, restart_lsn)) END
FROM pg_replication_slots WHERE slot_type = 'logical' AND database = current_database() ORDER BY slot_name
"""
_PUBLISHES = """
SELECT EXISTS (
    SELECT FROM pg_publication_tables JOIN pg_publication USING (pubname)
    JOIN pg_namespace ON nspname = schemaname JOIN pg_class ON relname = tablename AND relnamespace = pg_namespace.oid
    WHERE pubinsert AND pg_class.oid = to_regclass(:name)
)
"""


def is_sent_by_debezium(tables: Tables) -> bool:
    """Tell whether Debezium sends the outbox in *tables*: then what is inserted there is read in the log."""
    return tables.sent_by == "debezium"


def sender_of(tables: Tables) -> str | None:
    """Name who sends the outbox in *tables*, if no relay does."""
    return "Debezium" if is_sent_by_debezium(tables) else None


def refuse_relay(tables: Tables) -> None:
    """
    See to it that nobody else is to send the outbox in *tables*.

    Raises:
        RelayRefused: Somebody does.
    """
    sender = sender_of(tables)
    if sender is not None:
        raise RelayRefused(sender)


def check_can_be_read(tables: Tables, dialect: sa.Dialect, compressor: Compressor | None) -> None:
    """
    Look whether Debezium can send what will be written, if it is to.

    Raises:
        DebeziumRefused: Not from this database.
        InvalidOption: Not what this compressor makes.
    """
    if not is_sent_by_debezium(tables):
        return
    check_readable(dialect)
    if compressor is not None and compressor.encoding != ZlibCompressor.encoding:
        expected = "ZlibCompressor(), or left out: where Debezium sends, nobody would undo another"
        raise InvalidOption("compressor", compressor, expected)


def readers_of(connection: sa.Connection) -> list[LogReader]:
    """List who reads the log of this database of PostgreSQL, connected or not."""
    rows = map(tuple, connection.execute(sa.text(_READERS)))
    return [LogReader(name, active, None if behind is None else int(behind)) for name, active, behind in rows]


def reading_problems(connection: sa.Connection, tables: Tables) -> list[str]:
    """Tell why what is written into the outbox would be lost, if that is so: nothing is left in the table itself."""
    if not is_sent_by_debezium(tables):
        return []
    problems: list[str] = []
    if all(reader.behind_bytes is None for reader in readers_of(connection)):
        problems.append(
            "Debezium is to send the outbox, and no replication slot keeps the log of this database for it: events "
            "would be lost. `cqrs outbox debezium-config` writes the statement that makes one."
        )
    name = connection.dialect.identifier_preparer.format_table(tables.outbox)
    if not connection.scalar(sa.text(_PUBLISHES), {"name": name}):
        problems.append(
            f"Debezium is to send the outbox, and no publication has the table {tables.outbox.fullname}: events would "
            "be lost. `cqrs outbox debezium-config` writes the statement that makes it."
        )
    return problems
