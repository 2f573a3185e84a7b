"""What is refused about a program's database and tables, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cqrs_core.errors import CqrsError

if TYPE_CHECKING:
    import uuid
    from collections.abc import Sequence


class UnknownDatabase(CqrsError, NotImplementedError):
    """
    SQLAlchemy speaks with this database, and this distribution does not.

    Attributes:
        dialect: What SQLAlchemy calls it.
        known: What would do.
    """

    def __init__(self, dialect: str, known: Sequence[str]) -> None:
        self.dialect = dialect
        self.known = tuple(known)
        super().__init__(
            f"{dialect!r} is no database that cqrs-sqla knows: locks and transactions mean something else in each. "
            f"Use one of {', '.join(self.known)}."
        )


class DriverRefused(CqrsError, ValueError):
    """
    The URL names a driver that is not asynchronous, or with which this distribution does not work.

    Attributes:
        scheme: The scheme of the URL.
        instead: What to write for it.
    """

    def __init__(self, scheme: str, instead: Sequence[str]) -> None:
        self.scheme = scheme
        self.instead = tuple(instead)
        cure = " or ".join(f"{known}://" for known in self.instead)
        super().__init__(f"{scheme}:// leads to no asynchronous driver with which cqrs-sqla works. Write {cure}.")


class DriverMissing(CqrsError, ImportError):
    """
    The package that speaks with the database is not installed, or cannot be imported; the cause tells.

    Attributes:
        scheme: The scheme of the URL.
        extras: The extras of cqrs-sqla that bring it: any of them.
    """

    def __init__(self, scheme: str, extras: Sequence[str]) -> None:
        self.scheme = scheme
        self.extras = tuple(extras)
        commands = " or ".join(f'pip install "cqrs-sqla[{extra}]"' for extra in self.extras)
        super().__init__(f"{scheme}:// needs a driver. Install it: {commands}.")


class UnknownOption(CqrsError, TypeError):
    """
    The URL has an option that neither the storage nor, by the look of it, the driver has.

    Attributes:
        option: What was written.
        meant: What may have been meant.
    """

    def __init__(self, option: str, meant: str) -> None:
        self.option = option
        self.meant = meant
        super().__init__(f"The storage has no option {option!r}. Did you mean {meant!r}?")


class TableNameTaken(CqrsError, ValueError):
    """
    The program has a table of its own where one of ours was to go.

    Attributes:
        table: Its name, with its schema if it has one.
    """

    def __init__(self, table: str) -> None:
        self.table = table
        super().__init__(
            f"The metadata has a table {table!r} already. Give ours other names: define_tables(metadata, "
            "prefix='cqrs_'), or for the outbox alone the environment variable OUTBOX_SQLA_TABLE."
        )


class SagaDoesNotFit(CqrsError, ValueError):
    """
    A saga has more than the tables can keep. Nothing was written.

    Attributes:
        saga_id: Which saga; ``None``: whichever would have been claimed.
    """

    def __init__(self, saga_id: uuid.UUID | None, problem: str) -> None:
        self.saga_id = saga_id
        which = "Sagas cannot be claimed" if saga_id is None else f"The saga {saga_id} cannot be stored"
        super().__init__(f"{which}: {problem}.")


class EffectUndone(CqrsError, RuntimeError):
    """
    A saga asks for an effect that was undone already, perhaps before it came. It must not be had any more.

    Whoever asks is a worker that stood still until others had undone the saga: there is nothing to do.

    Attributes:
        key: By which the requests for it are known.
    """

    def __init__(self, key: uuid.UUID) -> None:
        self.key = key
        super().__init__(
            f"What is asked for by the key {key} was undone: the request comes late, from a worker that has lost its "
            "saga. Nothing was done. If it was to be done anew, give it a key of its own."
        )


class ImportRefused(CqrsError, LookupError):
    """
    A table cannot be taken over as the outbox of python-cqrs. Nothing was changed.

    Attributes:
        table: Its name.
    """

    def __init__(self, table: str, problem: str) -> None:
        self.table = table
        super().__init__(f"{table!r} cannot be imported: {problem}")


class UnknownCompression(CqrsError, LookupError):
    """
    A message in the outbox was compressed by what the reader does not have.

    Attributes:
        encoding: How it was compressed.
    """

    def __init__(self, encoding: str) -> None:
        self.encoding = encoding
        super().__init__(
            f"A message in the outbox is compressed as {encoding!r}. Give the storage what has written it: "
            "SqlAlchemyStorage(engine, compressor=...)."
        )


class DebeziumRefused(CqrsError, NotImplementedError):
    """
    Debezium cannot send the outbox of this database.

    Attributes:
        database: What it is called.
    """

    def __init__(self, database: str) -> None:
        self.database = database
        super().__init__(
            f"Debezium sends the outbox of PostgreSQL alone, not that of {database}. Let a relay send it: "
            "app.running() runs one, and so does 'cqrs run MODULE:APP --only relay'."
        )


class CommitInsideUnit(CqrsError, RuntimeError):
    """A handler has committed the session of its unit of work, or its connection, which is for the unit to do."""

    def __init__(self) -> None:
        super().__init__(
            "The session was committed inside a unit of work, by session.commit(), at the end of session.begin() or "
            "by its connection. "
            "The unit commits when everything in it has succeeded. To have the changes in the database before, write "
            "'await session.flush()'; for a part that may fail, 'async with session.begin_nested():'."
        )


class ForeignSession(CqrsError, ValueError):
    """An outbox was used, inside a unit of work, with another session than the unit's."""

    def __init__(self) -> None:
        super().__init__(
            "The outbox writes through another session than that of the unit of work, so its events would not be "
            "committed with the rest. Ask for the AsyncSession, or for the OutboxedEventRepository itself, in the "
            "handler's constructor."
        )


class UnitClosed(CqrsError, RuntimeError):
    """A unit of work was used after its end: by a task that has outlived the handler, perhaps."""

    def __init__(self) -> None:
        super().__init__(
            "The unit of work is closed: nothing would commit what is done with it now. Wait, in the handler, for the "
            "tasks that it starts; what is to go on later belongs into a message of its own."
        )


class SessionShared(CqrsError, RuntimeError):
    """The container gave one session to two units of work at the same time."""

    def __init__(self) -> None:
        super().__init__(
            "The container gave the session of a unit of work that is still open to another one. Register it once for "
            "each scope, not for the whole program."
        )


class TransactionNotBegun(CqrsError, RuntimeError):
    """Events were added to a connection that is in no transaction, so that nothing would ever commit them."""

    def __init__(self) -> None:
        super().__init__(
            "The connection is in no transaction that events could be committed with. Begin one first: "
            "'async with connection.begin():'."
        )
