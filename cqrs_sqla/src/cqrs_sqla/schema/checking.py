"""What is wrong with the tables that a database has, and how to mend it."""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.exc import SAWarning

from cqrs_sqla.databases import version_problem
from cqrs_sqla.schema.kinds import holds, kind_of
from cqrs_sqla.schema.mending import Mending

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sqlalchemy.engine.interfaces import ReflectedColumn

    from cqrs_sqla.tables import Tables

#: Columns by which python-cqrs's outbox is known, whatever it is called.
_OF_PYTHON_CQRS = frozenset({"event_id", "event_id_bin", "event_name", "event_status", "flush_counter", "payload"})


class Fault(NamedTuple):
    """What is wrong with a table, and the statements that mend it."""

    problem: str
    cure: str


def problems_of(connection: sa.Connection, tables: Tables) -> list[str]:
    """
    Tell what is wrong with the tables in a database, each with the statements that mend it.

    Raises:
        UnknownDatabase: It is one that is not known here.
    """
    too_old = version_problem(connection.dialect)
    if too_old is not None:
        return [too_old]
    # What is not InnoDB, or without AUTOINCREMENT, looks like a table that works: until the first rollback or restart.
    inspector = sa.inspect(connection)  # one, for it keeps what it has read
    return [problem for table in tables for problem in _table_problems(inspector, table)]


def is_of_python_cqrs(columns: Mapping[str, object]) -> bool:
    """Tell whether a table with these columns is the outbox of python-cqrs."""
    return columns.keys() >= _OF_PYTHON_CQRS


def columns_of(inspector: sa.Inspector, name: str, schema: str | None) -> dict[str, ReflectedColumn]:
    """Read the columns of a table, by their names; none, if there is no such table."""
    if not inspector.has_table(name, schema):
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SAWarning)  # a type that SQLAlchemy does not know is told as a fault
        return {column["name"]: column for column in inspector.get_columns(name, schema)}


def _table_problems(inspector: sa.Inspector, table: sa.Table) -> list[str]:
    mending = Mending(table, inspector.dialect)
    name = table.fullname
    found = columns_of(inspector, table.name, table.schema)
    if not found:
        return [f"There is no table {name}. Migrate, or run: {mending.make()}"]
    if is_of_python_cqrs(found):
        problem = (
            f"The table {name} is python-cqrs's own. Name ours otherwise, by define_tables(prefix=...) and the option "
            "table_prefix of the URL, or by OUTBOX_SQLA_TABLE; `cqrs outbox import` moves what is not yet delivered."
        )
        return [problem]
    faults = list(_faults(inspector, table, found, mending))
    if inspector.dialect.name != "sqlite" or not faults:
        return [f"{fault.problem} Run: {fault.cure}" for fault in faults]
    # There a table is made anew, once, whatever is wrong with it.
    wrong = " ".join(fault.problem for fault in faults)
    others = ", ".join(sorted(found.keys() - table.columns.keys()))
    cure = f"Make it anew by hand, for it has columns of yours: {others}." if others else mending.rebuild(found)
    return [f"{wrong} {cure if others else f'Run: {cure}'}"]


def _faults(
    inspector: sa.Inspector, table: sa.Table, found: Mapping[str, ReflectedColumn], mending: Mending
) -> Iterator[Fault]:
    for column in table.columns:
        yield from _column_faults(column, found.get(column.name), inspector.dialect, mending)
    yield from _key_faults(inspector, table, mending)
    for column in table.columns:
        if column.autoincrement is True and column.name in found and not _is_numbered(inspector, column, found):
            yield Fault(f"{table.fullname}.{column.name} is not numbered by the database.", mending.number(column))
    if inspector.dialect.name in {"mysql", "mariadb"}:
        yield from _mysql_faults(inspector, table, mending)


def _column_faults(
    column: sa.Column[Any], found: ReflectedColumn | None, dialect: sa.Dialect, mending: Mending
) -> Iterator[Fault]:
    name = f"{column.table.fullname}.{column.name}"
    if found is None:
        yield Fault(f"There is no column {name}.", mending.add(column))
        return
    if not holds(found["type"], column.type, dialect):
        kinds = f"{kind_of(found['type'], dialect)}, not {kind_of(column.type, dialect)}"
        yield Fault(f"The column {name} is of the type {kinds}.", mending.change(column))
    elif column.nullable and not found["nullable"]:
        yield Fault(f"The column {name} has to take NULL.", mending.change(column))


def _key_faults(inspector: sa.Inspector, table: sa.Table, mending: Mending) -> Iterator[Fault]:
    key = inspector.get_pk_constraint(table.name, table.schema)
    columns = [column.name for column in table.primary_key]
    if list(key["constrained_columns"]) != columns:
        present = (key["name"] or "PRIMARY") if key["constrained_columns"] else None
        yield Fault(f"The primary key of {table.fullname} is not ({', '.join(columns)}).", mending.key(present))


def _is_numbered(inspector: sa.Inspector, column: sa.Column[Any], found: Mapping[str, ReflectedColumn]) -> bool:
    if inspector.dialect.name != "sqlite":
        return found[column.name].get("autoincrement") is True
    master = f"{column.table.schema}.sqlite_master" if column.table.schema else "sqlite_master"
    query = sa.text(f"SELECT sql FROM {master} WHERE type = 'table' AND name = :name")  # noqa: S608 - the program's own
    made = _connection(inspector).scalar(query, {"name": column.table.name})
    return re.search(r"\bAUTOINCREMENT\b", str(made), re.IGNORECASE) is not None


def _connection(inspector: sa.Inspector) -> sa.Connection:
    assert isinstance(inspector.bind, sa.Connection), "see problems_of"  # noqa: S101 - for type checkers
    return inspector.bind


def _mysql_faults(inspector: sa.Inspector, table: sa.Table, mending: Mending) -> Iterator[Fault]:
    options = inspector.get_table_options(table.name, table.schema)
    engine = str(options.get(f"{inspector.dialect.name}_engine"))
    if engine.lower() != "innodb":
        yield Fault(f"The table {table.fullname} is kept by {engine}, without transactions.", mending.use_innodb())
    query = sa.text(
        "SELECT column_name, collation_name FROM information_schema.columns WHERE collation_name IS NOT NULL "
        "AND table_name = :name AND table_schema = coalesce(:schema, database())"
    )
    collations = _connection(inspector).execute(query, {"name": table.name, "schema": table.schema}).all()
    key = {column.name for column in table.primary_key}
    # In a key, what differs in capitals or accents has to differ; elsewhere, every character has to fit.
    wrong = [f"{name} ({order})" for name, order in collations if not order.startswith("utf8mb4")]
    wrong += [f"{name} ({order})" for name, order in collations if name in key and not order.endswith("_bin")]
    if wrong:
        text = ", ".join(dict.fromkeys(wrong))
        yield Fault(f"Columns of {table.fullname} are not kept in utf8mb4_bin: {text}.", mending.convert())
