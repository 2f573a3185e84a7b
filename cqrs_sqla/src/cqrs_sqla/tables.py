"""The tables, on the program's own metadata: its migrations make them, its naming convention names their keys."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import mysql

from cqrs_core.errors import InvalidOption
from cqrs_sqla.errors import TableNameTaken

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterator
    from datetime import datetime

    from sqlalchemy.types import TypeEngine

#: Who may send what is written into an outbox.
Sender = Literal["relay", "debezium"]
SENDERS: tuple[Sender, ...] = get_args(Sender)

#: The environment variable that names the outbox, as python-cqrs reads it.
OUTBOX_NAME = "OUTBOX_SQLA_TABLE"

# The outbox is filled and emptied all the time: by PostgreSQL's own measure, a share of what is in it, it would be
# swept too late. SQLAlchemy 2.0 cannot say this in a table, so that a migration has to: see the documentation.
AUTOVACUUM = (
    "ALTER TABLE %(fullname)s SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, "
    "autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 5000, "
    "autovacuum_vacuum_cost_delay = 0)"
)

# A checkpoint changes nothing that is indexed: with room on its page, the new version of the row needs no new entries
# in the indexes either. Nor can SQLAlchemy 2.0 say this.
FILLFACTOR = "ALTER TABLE %(fullname)s SET (fillfactor = 70)"

# Names and topics: Kafka's topics have at most 249 characters, RabbitMQ's routing keys 255 bytes. With 4 bytes a
# character the key of the inbox stays within the 3072 bytes of InnoDB.
NAME_LENGTH = 255

#: Of the words for what became of something, and of what a saga's definition and input are told by.
_WORD_LENGTH = 20
_HASH_LENGTH = 40

# What is compared has to keep its capitals: by MariaDB's default two groups, A and a, would be one.
_MYSQL = {"engine": "InnoDB", "charset": "utf8mb4", "collate": "utf8mb4_bin"}
_OPTIONS: dict[str, Any] = {
    f"{dialect}_{option}": value for dialect in ("mysql", "mariadb") for option, value in _MYSQL.items()
}


@dataclass(frozen=True, slots=True)
class Tables:
    """
    What :func:`define_tables` has made.

    Attributes:
        outbox: Events that wait to be sent, in Debezium's column names. A happy event is inserted and deleted, never
            updated.
        outbox_dead: Those that were given up, under the ``seq`` that they had.
        outbox_slot: Who sends which share of the keys, and until when.
        outbox_relay: Which relays live, and until when.
        inbox: What each group of consumers has handled.
        saga: Where each saga stands.
        saga_step: What was done in each saga.
        saga_effect: What steps of sagas, of this program or others, have done here or must not do any more.
        sent_by: Who sends what is written into the outbox.
    """

    outbox: sa.Table
    outbox_dead: sa.Table
    outbox_slot: sa.Table
    outbox_relay: sa.Table
    inbox: sa.Table
    saga: sa.Table
    saga_step: sa.Table
    saga_effect: sa.Table
    sent_by: Sender = "relay"

    def __iter__(self) -> Iterator[sa.Table]:
        """Go through all of them."""
        return (table for field in fields(self) if isinstance(table := getattr(self, field.name), sa.Table))

    @property
    def metadata(self) -> sa.MetaData:
        """What they were defined on."""
        return self.outbox.metadata


def define_tables(
    metadata: sa.MetaData, *, prefix: str = "", schema: str | None = None, sent_by: Sender = "relay"
) -> Tables:
    """
    Put the tables on *metadata*, for ``create_all`` or Alembic to make; a second time, find them there.

    Args:
        metadata: The program's own. Its naming convention is kept.
        prefix: Goes before ``outbox``, ``inbox`` and ``saga``. If the environment variable ``OUTBOX_SQLA_TABLE`` is set
            now, it is the outbox's whole name. The other tables of the outbox are called after it.
        schema: Where they stand, if not where the metadata says.
        sent_by: ``"debezium"``: it reads what is written into the outbox from the log of a PostgreSQL, so that each
            transaction takes out again what it has put there, and the outbox stays empty. The tables are the same.

    Raises:
        InvalidOption: *sent_by* is something else.
        TableNameTaken: The metadata has a table of that name that is not ours.
    """
    if sent_by not in SENDERS:
        raise InvalidOption("sent_by", sent_by, f"one of {', '.join(SENDERS)}")
    outbox = os.environ.get(OUTBOX_NAME) or f"{prefix}outbox"
    # Not in the info of the tables, which is the program's.
    defined: dict[tuple[str, str, str | None], Tables] = metadata.info.setdefault(__name__, {})
    names = (outbox, prefix, schema)
    known = defined.get(names)
    if known is None or any(metadata.tables.get(table.key) is not table for table in known):
        defined[names] = known = _define(metadata, outbox, prefix, schema)
    return known if known.sent_by == sent_by else replace(known, sent_by=sent_by)


def _define(metadata: sa.MetaData, outbox: str, prefix: str, schema: str | None) -> Tables:
    inbox, saga = f"{prefix}inbox", f"{prefix}saga"
    outboxes = (outbox, f"{outbox}_dead", f"{outbox}_slot", f"{outbox}_relay")
    for name in (*outboxes, inbox, saga, f"{saga}_step", f"{saga}_effect"):
        full_name = f"{schema or metadata.schema or ''}.{name}".lstrip(".")
        if full_name in metadata.tables:
            raise TableNameTaken(full_name)

    def table(name: str, *columns: sa.Column[Any] | sa.Index, **options: Any) -> sa.Table:  # noqa: ANN401 - as SQLAlchemy has it
        return sa.Table(name, metadata, *columns, schema=schema, **_OPTIONS, **options)

    made = Tables(
        outbox=table(
            outbox,
            # Without AUTOINCREMENT, SQLite begins anew once the table is empty: below what a relay has seen.
            sa.Column("seq", _position(), primary_key=True, autoincrement=True),
            *_message(),
            sqlite_autoincrement=True,
        ),
        outbox_dead=table(
            f"{outbox}_dead",
            sa.Column("seq", _position(), primary_key=True, autoincrement=False),
            *_message(),
            sa.Column("failed_at", _moment(), nullable=False),
            sa.Column("reason", sa.String(40), nullable=False),
        ),
        outbox_slot=table(
            f"{outbox}_slot",
            sa.Column("slot", sa.SmallInteger, primary_key=True, autoincrement=False),
            sa.Column("owner", sa.String(64)),
            sa.Column("until", _moment()),
        ),
        outbox_relay=table(
            f"{outbox}_relay",
            sa.Column("node", sa.String(64), primary_key=True),
            sa.Column("until", _moment(), nullable=False),
        ),
        inbox=table(
            inbox,
            sa.Column("consumer", sa.String(NAME_LENGTH), primary_key=True),
            sa.Column("message_id", _id(), primary_key=True),
            sa.Column("received_at", _moment(), nullable=False, index=True),
        ),
        saga=table(saga, *_saga()),
        saga_step=table(f"{saga}_step", *_saga_step()),
        saga_effect=table(
            f"{saga}_effect",
            sa.Column("key", _id(), primary_key=True),
            sa.Column("state", sa.String(_WORD_LENGTH), nullable=False),
            sa.Column("noted_at", _moment(), nullable=False, index=True),
        ),
    )
    for of, statement in ((made.outbox, AUTOVACUUM), (made.saga, FILLFACTOR)):
        setting: sa.DDL = sa.DDL(statement)  # type: ignore[no-untyped-call]  # so far without types
        event.listen(of, "after_create", setting.execute_if(dialect="postgresql"))
    return made


def _message() -> list[sa.Column[Any]]:
    """Make the columns of a message, but for its position."""
    return [
        sa.Column("id", _id(), nullable=False),
        sa.Column("slot", sa.SmallInteger, nullable=False),
        sa.Column("aggregatetype", sa.String(NAME_LENGTH), nullable=False),  # the topic
        sa.Column("aggregateid", sa.String(NAME_LENGTH)),  # the key
        sa.Column("type", sa.String(NAME_LENGTH), nullable=False),
        sa.Column("payload", _bytes(), nullable=False),
        sa.Column("headers", sa.JSON, nullable=False),
        sa.Column("created_at", _moment(), nullable=False),
        sa.Column("available_at", _moment()),
        sa.Column("attempts", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("last_error", sa.Text),
    ]


def _saga() -> list[sa.Column[Any] | sa.Index]:
    """Make the columns of a saga; what a checkpoint sets each time is in no index."""
    wake_at = sa.Column("wake_at", _moment())  # when anybody may take it; none: nobody may
    status = sa.Column("status", sa.String(_WORD_LENGTH), nullable=False)
    rested_at = sa.Column("rested_at", _moment())  # since when it has ended, or waits for a person
    return [
        sa.Column("id", _id(), primary_key=True),
        sa.Column("name", sa.String(NAME_LENGTH), nullable=False),
        sa.Column("fingerprint", sa.String(_HASH_LENGTH), nullable=False),
        status,
        sa.Column("cursor_pos", sa.Integer, nullable=False),
        sa.Column("branch", sa.SmallInteger, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("suspended_from", sa.String(_WORD_LENGTH)),
        sa.Column("step_id", sa.String(NAME_LENGTH), nullable=False),
        sa.Column("context", _text(), nullable=False),
        sa.Column("input_hash", sa.String(_HASH_LENGTH), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("fence", sa.BigInteger, nullable=False),
        sa.Column("owner", sa.String(NAME_LENGTH)),
        wake_at,
        sa.Column("claims", sa.Integer, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("created_at", _moment(), nullable=False),
        sa.Column("updated_at", _moment(), nullable=False),
        rested_at,
        _sparse_index(wake_at),
        _sparse_index(status, rested_at),
    ]


def _sparse_index(*columns: sa.Column[Any]) -> sa.Index:
    """Make an index of the rows in which the last column is something, where the database can have it so."""
    is_there = sa.text(f"{columns[-1].name} IS NOT NULL")
    return sa.Index(None, *columns, postgresql_where=is_there, sqlite_where=is_there)


def _saga_step() -> list[sa.Column[Any]]:
    """Make the columns of what was done; an entry is known by the write that it came with, and its place in that."""
    return [
        sa.Column("saga_id", _id(), primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("place", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("step_id", sa.String(NAME_LENGTH), nullable=False),
        sa.Column("step_name", sa.String(NAME_LENGTH), nullable=False),
        sa.Column("branch", sa.SmallInteger, nullable=False),
        sa.Column("action", sa.String(_WORD_LENGTH), nullable=False),
        sa.Column("status", sa.String(_WORD_LENGTH), nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("recorded_at", _moment(), nullable=False),
    ]


# Types that SQLAlchemy brings, and no classes of ours: what Alembic writes down is then complete. They mean the same
# columns to SQLAlchemy 2.0 and 2.1.


def _position() -> TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _id() -> TypeEngine[uuid.UUID]:
    # Plain Uuid is a CHAR(32) of MariaDB's under SQLAlchemy 2.0, and a UUID under 2.1: neither finds the other's rows.
    return sa.Uuid(native_uuid=False).with_variant(sa.Uuid(), "postgresql")


def _bytes() -> TypeEngine[bytes]:
    return sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")  # BLOB ends at 64 KiB


def _text() -> TypeEngine[str]:
    return sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")  # TEXT ends at 64 KiB


def _moment() -> TypeEngine[datetime]:
    return sa.DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
