"""Makes one statement of many for MariaDB and MySQL, where a driver would send each by itself."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from cqrs_sqla.moments import now_text
from cqrs_sqla.sagas.transactions import TransactionStatements

if TYPE_CHECKING:
    import sqlalchemy as sa

    from cqrs_sqla.rows import Row
    from cqrs_sqla.tables import Tables

#: What a new saga brings; what a checkpoint brings, by the names of TransactionStatements; and what was done.
_NEW = ("id", "name", "fingerprint", "status", "attempt", "step_id", "context", "input_hash", "owner")
_GIVEN = (
    "which",
    "known_fence",
    "known_version",
    "to_status",
    "to_cursor_pos",
    "to_branch",
    "to_attempt",
    "to_suspended_from",
    "to_step_id",
    "to_claims",
    "to_context",
    "to_fingerprint",
    "to_error",
    "wake_in",
    "is_live",
    "is_kept",
)
#: Of these, what is given as nothing stays as it is.
_OPTIONAL = {"context", "fingerprint", "error"}
_TEXTS = {"which", "to_status", "to_suspended_from", "to_step_id", "to_context", "to_fingerprint", "to_error"}
_STEP = ("saga_id", "version", "place", "step_id", "step_name", "branch", "action", "status", "attempt", "error")


class MySqlStatements(TransactionStatements):
    """Writes sagas into MariaDB and MySQL; see :class:`cqrs_sqla.sagas.storage.Statements`."""

    def insert(self, connection: sa.Connection, rows: list[Row]) -> int:
        """Insert as many sagas as are not there, in one statement."""
        if len(rows) == 1:
            return super().insert(connection, rows)
        values = tuple(_plain(row[name]) for row in rows for name in (*_NEW, "lease"))
        return connection.exec_driver_sql(_start(self._tables, connection.dialect, len(rows)), values).rowcount

    def update(self, connection: sa.Connection, facts: list[dict[str, Any]]) -> int:
        """Change as many sagas as are as they are known, in one statement."""
        if len(facts) == 1:
            return super().update(connection, facts)
        values = tuple(_plain(of_one[name]) for of_one in facts for name in _GIVEN)
        return connection.exec_driver_sql(_update(self._tables, connection.dialect, len(facts)), values).rowcount

    def note(self, connection: sa.Connection, steps: list[Row]) -> None:
        """Add to histories, in one statement."""
        values = tuple(_plain(row[name]) for row in steps for name in _STEP)
        connection.exec_driver_sql(_insert(self._tables, connection.dialect, len(steps)), values)


def _plain(value: object) -> object:
    """Write an id as the tables keep it."""
    return getattr(value, "hex", value) if not isinstance(value, (int, str)) else value


@lru_cache(maxsize=512)
def _start(tables: Tables, dialect: sa.Dialect, count: int) -> str:
    saga, now = dialect.identifier_preparer.format_table(tables.saga), now_text(dialect)
    row = f"({', '.join(['%s'] * len(_NEW))}, {_later('%s', now)}, {now}, {now}, 0, 0, 1, 1, 0)"
    # What IGNORE would hide beside a repeated key was looked for before.
    return (
        f"INSERT IGNORE INTO {saga} ({', '.join(_NEW)}, wake_at, created_at, updated_at, "  # noqa: S608 - as in inserting.py
        f"cursor_pos, branch, version, fence, claims) VALUES {', '.join([row] * count)}"
    )


@lru_cache(maxsize=512)
def _insert(tables: Tables, dialect: sa.Dialect, count: int) -> str:
    table = dialect.identifier_preparer.format_table(tables.saga_step)
    row = f"({', '.join(['%s'] * len(_STEP))}, {now_text(dialect)})"
    return f"INSERT INTO {table} ({', '.join(_STEP)}, recorded_at) VALUES {', '.join([row] * count)}"  # noqa: S608 - as in inserting.py


@lru_cache(maxsize=512)
def _update(tables: Tables, dialect: sa.Dialect, count: int) -> str:
    saga, now = dialect.identifier_preparer.format_table(tables.saga), now_text(dialect)
    # Text is compared as the tables keep it; else the key of the saga would not be found by it.
    typed = "CONVERT(%s USING utf8mb4) COLLATE utf8mb4_bin"
    first = ", ".join(f"{typed if name in _TEXTS else '%s'} AS {name}" for name in _GIVEN)
    others = f"SELECT {', '.join(['%s'] * len(_GIVEN))}"
    given = " UNION ALL ".join([f"SELECT {first}", *[others] * (count - 1)])
    names = [name.removeprefix("to_") for name in _GIVEN if name.startswith("to_")]
    changes = [
        f"saga.{name} = {f'coalesce(given.to_{name}, saga.{name})' if name in _OPTIONAL else f'given.to_{name}'}"
        for name in names
    ]
    changes += [
        "saga.version = saga.version + 1",
        f"saga.updated_at = {now}",
        "saga.owner = CASE WHEN given.is_kept = 1 THEN saga.owner END",
        f"saga.wake_at = CASE WHEN given.is_live = 1 THEN coalesce({_later('given.wake_in', now)}, saga.wake_at) END",
        f"saga.rested_at = CASE WHEN given.is_live = 0 THEN {now} END",
    ]
    # In this order: so each saga is found, and locked, by its key.
    return (
        f"UPDATE ({given}) AS given STRAIGHT_JOIN {saga} AS saga ON saga.id = given.which "  # noqa: S608 - as above
        f"AND saga.fence = given.known_fence AND saga.version = given.known_version SET {', '.join(changes)}"
    )


def _later(microseconds: str, now: str) -> str:
    return f"TIMESTAMPADD(MICROSECOND, {microseconds}, {now})"
