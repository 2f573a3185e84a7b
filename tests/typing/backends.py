"""What the core brings fits the contracts, as type checkers see them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cqrs_core.memory import MemoryBroker, MemoryStorage

if TYPE_CHECKING:
    from cqrs_core.broker import Broker, ReadableBroker
    from cqrs_core.outbox_keeper import OutboxKeeper
    from cqrs_core.storage import Storage
    from cqrs_core.unit_of_work import UnitOfWork

broker: Broker = MemoryBroker()
readable: ReadableBroker = MemoryBroker()
storage: Storage = MemoryStorage()
unit: UnitOfWork = MemoryStorage().unit_of_work()
keeper: OutboxKeeper = MemoryStorage().outbox_keeper
