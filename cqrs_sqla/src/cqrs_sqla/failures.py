"""What drivers say of what failed: whether it may pass, and whether the transaction has ended by itself."""

from __future__ import annotations

import sys
import weakref
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy import event, exc

from cqrs_core.errors import UnitOfWorkRolledBack

if TYPE_CHECKING:
    from sqlalchemy.engine import ExceptionContext

_KEY = "cqrs_sqla_failure"
_BEGUN = "cqrs_sqla_begun"

# SQLSTATE: the connection broke, or somebody ended the session.
_LOST_CLASSES = ("08", "57P")
# MariaDB: the server goes down; the session was killed; the connection was lost, in three ways.
_LOST_NUMBERS = {1053, 1927, 2006, 2013, 2055}
_DEADLOCK = 1213
# Of PostgreSQL: a conflict, or nothing left to work with; a lock that others have, a timeout; a server that only reads,
# as after a failover. Of MariaDB and MySQL: locks that others have, and the server only reads. Of SQLite: others write.
_PASSING_CLASSES = ("40", "53", "55P03", "57014", "25006")
_PASSING_NUMBERS = {1205, 1213, 1290, 1836}
_SQLITE_BUSY = {5, 6, 13}  # the last one: the disk is full


def is_lost(error: BaseException) -> bool:
    """Tell whether *error* says that the connection broke, so that nobody knows what the server has done last."""
    if isinstance(error, exc.DBAPIError):
        return error.connection_invalidated or _says_lost(error.orig)
    return _says_lost(error)  # drivers let some errors through as they are


def _says_lost(error: object) -> bool:
    asyncpg = sys.modules.get("asyncpg")
    if isinstance(error, OSError) or (asyncpg is not None and isinstance(error, asyncpg.InternalClientError)):
        return True
    state = getattr(error, "sqlstate", None)
    return _number_of(error) in _LOST_NUMBERS or (isinstance(state, str) and state.startswith(_LOST_CLASSES))


def _is_outdated(original: object) -> bool:
    """Tell whether asyncpg has prepared a statement for a table that was changed meanwhile; it forgets it by that."""
    # By its name: SQLAlchemy's class is an attribute of the dialect's, and other errors have the same SQLSTATE.
    return type(original).__name__ == "InvalidCachedStatementError"


def is_passing(error: BaseException) -> bool:
    """Tell whether what failed may go well the next time, on another connection."""
    if is_lost(error):
        return True
    original = getattr(error, "orig", None)
    if _is_outdated(original):
        return True
    state = getattr(original, "sqlstate", None)
    if isinstance(state, str):
        return state.startswith(_PASSING_CLASSES)
    if type(original).__module__ == "sqlite3" and type(original).__name__ == "OperationalError":
        # Python 3.10 does not say which.
        return getattr(original, "sqlite_errorcode", 5) & 0xFF in _SQLITE_BUSY
    arguments: tuple[object, ...] = getattr(original, "args", ())
    return bool(arguments) and arguments[0] in _PASSING_NUMBERS


def told_by(error: BaseException) -> str:
    """Say what a driver says, without the statement and what is in it, which SQLAlchemy adds."""
    original = getattr(error, "orig", None) or error
    return f"{type(original).__name__}: {original}."


def watch(connection: sa.Connection) -> None:
    """
    Have statements that fail noted, on the connection's engine from now on, for :func:`check_transaction`.

    A connection that is lost is kept from going back to the pool, though the driver believes it is open.
    """
    engine = connection.engine
    if not event.contains(engine, "handle_error", _note):
        event.listen(engine, "handle_error", _note)
    transaction = connection.get_transaction()
    if connection.dialect.name == "sqlite" and transaction is not None and _driver_is_in_transaction(connection):
        connection.info[_BEGUN] = weakref.ref(transaction)


def check_transaction(connection: sa.Connection) -> None:
    """
    Find out, before a commit, whether there is still something to commit.

    After a statement that failed, PostgreSQL undoes everything, and tells nobody who asks for a commit; after a
    deadlock, MariaDB has begun anew; after ``INSERT OR ROLLBACK``, or with a full disk, SQLite has no transaction. If
    the program has caught the error, what it did before is lost.

    Raises:
        UnitOfWorkRolledBack: So it is.
    """
    if _is_over(connection):
        raise UnitOfWorkRolledBack("SQLite had ended the transaction, after an error that was caught, or when told to.")
    transaction, is_deadlock = connection.info.pop(_KEY, (_nothing, False))
    if transaction() is None or transaction() is not connection.get_transaction():
        return
    if is_deadlock and connection.dialect.name != "postgresql":
        raise UnitOfWorkRolledBack("The database had ended the transaction, to resolve a deadlock, which was caught.")
    if connection.dialect.name == "postgresql":
        try:
            connection.execute(sa.text("SELECT 1"))
        except exc.DBAPIError as error:
            raise UnitOfWorkRolledBack("A statement had failed inside the transaction, and was caught.") from error


def _note(context: ExceptionContext) -> None:
    if not context.is_disconnect and _says_lost(context.original_exception):
        context.is_disconnect = True
        return
    connection = context.connection
    if connection is None or connection.closed or connection.invalidated:
        return
    transaction = connection.get_transaction()
    if transaction is None:
        return
    if context.statement is not None and _is_over(connection):
        # From here on, each statement would take effect at once. Without the connection, none is executed.
        context.is_disconnect = True
        context.invalidate_pool_on_disconnect = False
        return
    noted, was_deadlock = connection.info.get(_KEY, (_nothing, False))
    is_deadlock = _number_of(context.original_exception) == _DEADLOCK
    # By a weak reference: the info outlives the transaction.
    was_deadlock = was_deadlock and noted() is transaction
    connection.info[_KEY] = (weakref.ref(transaction), was_deadlock or is_deadlock)


def _is_over(connection: sa.Connection) -> bool:
    """Tell whether SQLite has ended a transaction that SQLAlchemy believes to be open."""
    begun = connection.info.get(_BEGUN, _nothing)()
    return begun is not None and begun is connection.get_transaction() and not _driver_is_in_transaction(connection)


def _driver_is_in_transaction(connection: sa.Connection) -> bool:
    return bool(getattr(connection.connection.driver_connection, "in_transaction", True))


def _nothing() -> None:
    """Stand for a transaction that is gone."""


def _number_of(error: object) -> int | None:
    arguments: tuple[object, ...] = getattr(error, "args", ())
    return arguments[0] if arguments and isinstance(arguments[0], int) else None
