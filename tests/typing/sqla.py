"""What cqrs-sqla brings fits the contracts, as type checkers see them: those that are optional, too."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cqrs_core.outbox_keeper import OutboxKeeper
    from cqrs_core.outbox_signal import OutboxSignal
    from cqrs_core.storage import DebeziumSource, OutboxImporter, SchemaKeeper, Storage
    from cqrs_core.unit_of_work import UnitOfWork
    from cqrs_sqla import SqlAlchemyStorage
    from cqrs_sqla.keeper import SqlAlchemyOutboxKeeper
    from cqrs_sqla.signals import PostgresSignal
    from cqrs_sqla.unit import SqlAlchemyUnitOfWork


def storage(made: SqlAlchemyStorage) -> tuple[Storage, SchemaKeeper, OutboxImporter, DebeziumSource, OutboxKeeper]:
    """Take one for all that the commands look for."""
    return made, made, made, made, made.outbox_keeper


def keeper(made: SqlAlchemyOutboxKeeper) -> OutboxKeeper:
    """Take it by itself."""
    return made


def unit(made: SqlAlchemyUnitOfWork) -> UnitOfWork:
    """Take one for what mediators know of it."""
    return made


def signal(made: PostgresSignal) -> OutboxSignal:
    """Take what rings."""
    return made
