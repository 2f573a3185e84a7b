"""The settings with which Debezium sends what is written into the outbox, as our relay would."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.dialects import postgresql

from cqrs_core.errors import InvalidOption
from cqrs_core.storage import ConnectorConfig
from cqrs_sqla.databases import database_of
from cqrs_sqla.errors import DebeziumRefused

if TYPE_CHECKING:
    import sqlalchemy as sa

    from cqrs_sqla.tables import Tables

#: Makes messages of what Debezium's router leaves. Its source lies beside it; scripts/build_connect_plugin builds it.
PLUGIN = Path(__file__).with_name("cqrs-outbox.jar")

#: Of these a message is made; the rest of a row is for relays.
_COLUMNS = ("seq", "id", "aggregatetype", "aggregateid", "payload", "headers")
#: Where PostgreSQL looks unless it is told otherwise.
_USUAL_SCHEMA = "public"
#: What may name a slot. Source: PostgreSQL 17, "Replication slots"; a name has at most 63 bytes.
_NAME = re.compile(r"[a-z0-9_]{1,63}")
_CONVERTERS = "org.apache.kafka.connect"


def connector_config(url: sa.URL, dialect: sa.Dialect, tables: Tables, name: str | None = None) -> ConnectorConfig:
    """
    Say how Debezium reads the outbox in *tables*; it connects to nothing.

    Args:
        url: Where the database is.
        dialect: Its.
        tables: Whose outbox it is.
        name: Of the connector, its slot and its publication; after the database and the outbox unless given.

    Raises:
        DebeziumRefused: It is no PostgreSQL.
        InvalidOption: The name cannot be a slot's.
    """
    check_readable(dialect)
    name = _usual_name(url, tables) if name is None else name
    if not _NAME.fullmatch(name):
        raise InvalidOption("name", name, "up to 63 small letters, digits and '_', as slots are called")
    schema = tables.outbox.schema or _USUAL_SCHEMA
    settings = {
        "name": name,
        "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
        "tasks.max": "1",
        **_connection(url),
        **_reading(name, schema, tables.outbox.name),
        **_writing(),
    }
    table = _quoted(schema, tables.outbox.name)
    # In this order: what a slot keeps can be read only through a publication that was there.
    preparation = (
        f"CREATE PUBLICATION {_quoted(name)} FOR TABLE {table} WITH (publish = 'insert');",
        f"SELECT pg_create_logical_replication_slot('{name}', 'pgoutput');",
    )
    return ConnectorConfig(settings, preparation, PLUGIN)


def check_readable(dialect: sa.Dialect) -> None:
    """
    Look whether Debezium can send what is in an outbox there.

    Raises:
        DebeziumRefused: It cannot, or nobody has tried.
    """
    if dialect.name != "postgresql":
        raise DebeziumRefused(database_of(dialect).name)


def _usual_name(url: sa.URL, tables: Tables) -> str:
    words = [word for word in (url.database, tables.outbox.schema, tables.outbox.name) if word]
    return re.sub(r"[^a-z0-9_]", "_", "_".join(words).lower())[:63]


def _connection(url: sa.URL) -> dict[str, str]:
    settings = {
        "database.hostname": url.host or "localhost",
        "database.port": str(url.port or 5432),
        "database.user": url.username or "debezium",
        # Of Kafka Connect, which reads it from its environment: a password has no business in a file of settings.
        "database.password": "${env:DEBEZIUM_PASSWORD}",
        "database.dbname": url.database or url.username or "postgres",
    }
    sslmode = url.query.get("sslmode", url.query.get("ssl"))
    if isinstance(sslmode, str):
        settings["database.sslmode"] = sslmode
    return settings


def _reading(name: str, schema: str, table: str) -> dict[str, str]:
    """Say what is read: rows that are inserted, each once, in the order of their commits."""
    pattern = rf"{_escaped(schema)}\.{_escaped(table)}"
    return {
        "plugin.name": "pgoutput",
        "slot.name": name,
        "publication.name": name,
        "publication.autocreate.mode": "disabled",  # it would tell of deletions too, and have to own the table
        "topic.prefix": name,
        "table.include.list": pattern,
        "column.include.list": rf"{pattern}\.({'|'.join(_COLUMNS)})",
        "skipped.operations": "u,d,t",
        "tombstones.on.delete": "false",
        "binary.handling.mode": "bytes",
        # From where the slot is, whatever the worker remembers. With any other mode, one that has forgotten how far it
        # was would read the table, go on with what is written from then on, and pass over all in between.
        "snapshot.mode": "no_data",
        # While nothing is sent, others write: without this, the database would keep all of their log.
        "heartbeat.interval.ms": "10000",
        "heartbeat.action.query": f"SELECT pg_logical_emit_message(false, '{name}', '')",
        "message.prefix.exclude.list": name,
    }


def _writing() -> dict[str, str]:
    """Say what becomes of a row: our topic, our key, our headers and the bytes of our body."""
    router = {
        "type": "io.debezium.transforms.outbox.EventRouter",
        "route.topic.replacement": "${routedByValue}",
        "table.fields.additional.placement": "headers:header:cqrs_headers",
    }
    return {
        "transforms": "outbox,message",
        **{f"transforms.outbox.{option}": value for option, value in router.items()},
        "transforms.message.type": "cqrs.debezium.OutboxMessage",
        "key.converter": f"{_CONVERTERS}.storage.StringConverter",
        "header.converter": f"{_CONVERTERS}.converters.ByteArrayConverter",
        # Bytes as they are; heartbeats are none.
        "value.converter": "io.debezium.converters.BinaryDataConverter",
        "value.converter.delegate.converter.type": f"{_CONVERTERS}.json.JsonConverter",
        "value.converter.delegate.converter.type.schemas.enable": "false",
    }


def _quoted(*names: str) -> str:
    quote = postgresql.dialect().identifier_preparer.quote  # type: ignore[no-untyped-call]  # so far without types
    return ".".join(quote(name) for name in names)


def _escaped(name: str) -> str:
    """Write a name so that Debezium's regular expressions, and its lists, take it as it is."""
    return re.sub(r"(\W)", r"\\\1", name)
