"""What this distribution offers to cqrs-core. It imports no SQLAlchemy: that is for whoever opens the storage."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlencode

from cqrs_core.plugins import Backend, hookimpl
from cqrs_sqla.errors import UnknownOption

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cqrs_sqla.storage import SqlAlchemyStorage

CQRS_API = 1


@hookimpl
def cqrs_backends() -> list[Backend]:
    """Offer the storage ``sqlalchemy``."""
    return [
        Backend(
            kind="storage",
            name="sqlalchemy",
            factory="cqrs_sqla.plugin:open_storage",
            schemes=("postgresql", "mysql", "mariadb", "sqlite"),
        ),
    ]


def open_storage(
    address: str,
    *,
    session_from: Literal["storage", "container"] = "storage",
    table_prefix: str = "",
    schema: str | None = None,
    sent_by: Literal["relay", "debezium"] = "relay",
    notify: bool = False,
    pool_size: int | None = None,
    max_overflow: int | None = None,
    pool_timeout: float | None = None,
    pool_recycle: int | None = None,
    pool_pre_ping: bool | None = None,
    isolation_level: str | None = None,
    echo: bool | None = None,
    **driver_options: str,
) -> SqlAlchemyStorage:
    """
    Make the storage that a program names.

    It writes ``"postgresql://user:password@host/shop?pool_size=10"``, say.

    Args:
        address: As :func:`cqrs_sqla.engines.make_engine` takes it.
        session_from: Who makes the sessions: the storage, or the program's container.
        table_prefix: What ``define_tables`` was given as ``prefix``, if anything.
        schema: What it was given as ``schema``.
        sent_by: Who sends what is written into the outbox: a relay, or Debezium, which then finds it in the log alone.
        notify: Whether relays of other processes are woken by PostgreSQL.
        pool_size: This and what follows goes to ``create_async_engine``.
        driver_options: All else belongs to the driver.

    Raises:
        InvalidOption: The address is no URL, or names no file; *sent_by* is nobody.
        UnknownOption: An option is misspelt.
        UnknownDatabase: The address is for another database.
        DebeziumRefused: Debezium is to send, and it is for no PostgreSQL.
        DriverRefused: It names a synchronous driver.
        DriverMissing: No driver for it is installed.
    """
    import sqlalchemy as sa  # noqa: PLC0415 - a plug-in imports its library when it is used

    from cqrs_sqla.engines import EngineOptions, make_engine  # noqa: PLC0415 - as above
    from cqrs_sqla.storage import SqlAlchemyStorage  # noqa: PLC0415 - as above
    from cqrs_sqla.tables import define_tables  # noqa: PLC0415 - as above

    given: dict[str, object] = {
        "pool_size": pool_size,
        "max_overflow": max_overflow,
        "pool_timeout": pool_timeout,
        "pool_recycle": pool_recycle,
        "pool_pre_ping": pool_pre_ping,
        "isolation_level": isolation_level,
        "echo": echo,
    }
    _check_spelling(driver_options, [*given, "session_from", "table_prefix", "schema", "sent_by", "notify"])
    options: EngineOptions = {name: value for name, value in given.items() if value is not None}  # type: ignore[assignment]  # the parameters have the types
    query = f"?{urlencode(driver_options)}" if driver_options else ""
    engine = make_engine(f"{address}{query}", **options)
    tables = define_tables(sa.MetaData(), prefix=table_prefix, schema=schema, sent_by=sent_by)
    return SqlAlchemyStorage(engine, tables=tables, session_from=session_from, owns_engine=True, notify=notify)


def _check_spelling(driver_options: Iterable[str], known: Sequence[str]) -> None:
    """Refuse what looks like an option of ours: a driver would say that it does not know it, not what is meant."""
    for name in driver_options:
        for meant in get_close_matches(name, known, n=1, cutoff=0.8):
            raise UnknownOption(name, meant)
