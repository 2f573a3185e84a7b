"""The contract of a database as the framework needs one: units of work, outbox and inbox over the same transactions."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from cqrs_core.inbox import Inbox
    from cqrs_core.outbox import Outbox
    from cqrs_core.outbox_keeper import OutboxKeeper
    from cqrs_core.unit_of_work import UnitOfWork


class Storage(Protocol):
    """
    Makes units of work, and looks after what they have written. What an author writes.

    ``cqrs_core.testing.conformance`` checks it. One may also have an ``outbox_keeper``, a
    :class:`cqrs_core.outbox_keeper.OutboxKeeper`, for ``cqrs outbox``; and an ``outbox_signal``, a
    :class:`cqrs_core.outbox_signal.OutboxSignal`, which wakes relays of other processes. Each may be ``None``. If its
    outbox is emptied by somebody else, such as a reader of the database's log, it has a text ``sent_by``, who that is:
    then an App runs no relay.
    """

    @property
    def provides(self) -> Collection[type]:
        """
        The types that handlers may ask for in their constructors: a session, say.

        Each is given by :meth:`UnitOfWork.get` of the unit at hand.
        """
        ...

    @property
    def takes(self) -> type | None:
        """
        What the units work with, if the program's container makes that itself, once for each scope.

        It is then resolved there, given to :meth:`unit_of_work`, and closed by the container. ``None``: the storage
        makes what its units need.
        """
        ...

    @property
    def outbox(self) -> Outbox:
        """Events that wait to be sent."""
        ...

    @property
    def inbox(self) -> Inbox:
        """Messages that were handled."""
        ...

    @property
    def sagas(self) -> object:
        """
        Sagas over the same database; ``None``: it keeps none.

        They are a :class:`cqrs_core.saga.storage.SagaStorage`, which is made of what is here and not the other way
        round: ask for them by :func:`cqrs_core.saga.storage.sagas_of`.
        """
        ...

    async def start(self) -> None:
        """
        Connect, and check that the storage can be worked with; called before the first unit, and again after a stop.

        Raises:
            StorageUnavailable: It cannot be reached.
            StorageUnusable: Something is missing in it; the text says what, and how to mend it.
        """
        ...

    async def stop(self) -> None:
        """Disconnect. All units were closed before. It always returns, and may be called when not started."""
        ...

    def unit_of_work(self, taken: object = None) -> UnitOfWork:
        """
        Make the unit of one attempt; nothing is begun.

        Args:
            taken: The object of the type :attr:`takes`, if the container made one.
        """
        ...


def outbox_keeper_of(storage: Storage) -> OutboxKeeper | None:
    """Give what looks after the outbox of *storage*, if there is anything that does."""
    return getattr(storage, "outbox_keeper", None)


def missing_storage_methods(thing: object) -> list[str]:
    """List what *thing* lacks of a :class:`Storage`; whether it does what those promise, only the suite can tell."""
    known = dir(thing)  # to ask for what is made when it is first asked for would make it
    wanted = ("provides", "takes", "outbox", "inbox", "sagas")
    facts = [name for name in wanted if name not in known and not hasattr(thing, name)]
    methods = ("start", "stop", "unit_of_work")
    lacking = [name for name in methods if isinstance(thing, type) or not callable(getattr(thing, name, None))]
    return [*facts, *lacking]


class SchemaKeeper(Protocol):
    """What a storage also does if it has tables: for ``cqrs db``. It need not have been started."""

    def ddl(self) -> str:
        """Write the statements that make the tables; it needs no connection."""
        ...

    async def create(self) -> None:
        """
        Make the tables that are missing. Migrations are the better way, once there is something to lose.

        Raises:
            StorageUnavailable: The storage cannot be reached.
        """
        ...

    async def check(self) -> Sequence[str]:
        """
        Tell what is wrong with the tables, one sentence each, with what mends it.

        Raises:
            StorageUnavailable: The storage cannot be reached.
        """
        ...


class OutboxImporter(Protocol):
    """What a storage also does if it can take over python-cqrs's outbox: for ``cqrs outbox import``."""

    async def import_outbox(self, table: str) -> ImportReport:
        """
        Move what python-cqrs has not delivered into our outbox, in its order.

        It may be stopped at any time and called again: each message is in one of the two, never in both or neither.

        Args:
            table: What python-cqrs calls its outbox.

        Raises:
            StorageUnavailable: The storage cannot be reached.
            CqrsError: There is no such table, it is not python-cqrs's, or ours is not there.
        """
        ...


class ImportReport(NamedTuple):
    """How many messages were moved, and which were left because they could not be, one sentence each."""

    moved: int
    left: Sequence[str]


class DebeziumSource(Protocol):
    """What a storage also does if Debezium can send its outbox: for ``cqrs outbox debezium-config``."""

    def debezium_config(self, name: str | None = None) -> ConnectorConfig:
        """
        Say how; it needs no connection.

        Args:
            name: What to call the connector; the storage knows one unless given.

        Raises:
            CqrsError: It cannot be called so, or Debezium cannot send the outbox of this database.
        """
        ...


class ConnectorConfig(NamedTuple):
    """
    How Kafka Connect is told to send an outbox.

    Attributes:
        settings: Of the connector, by their names, that of itself among them; without any password.
        preparation: Statements that are run in the database, once, before, in this order.
        plugin: A file without which the messages would not be what a relay sends; it belongs where the worker looks for
            its plug-ins.
    """

    settings: Mapping[str, str]
    preparation: Sequence[str]
    plugin: Path
