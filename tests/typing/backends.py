"""
What the core brings fits the contracts, as type checkers see them.

Those that are optional, too: the conformance suites look for their methods, and leave out what has them not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cqrs_core.memory import MemoryBroker, MemorySagaStorage, MemoryStorage

if TYPE_CHECKING:
    from cqrs_core.broker import Broker, LaggingSubscription, ReadableBroker
    from cqrs_core.memory.subscriptions import MemorySubscription
    from cqrs_core.outbox_keeper import OutboxKeeper
    from cqrs_core.saga.storage import SagaKeeper, SagaStorage
    from cqrs_core.storage import Storage
    from cqrs_core.unit_of_work import UnitOfWork

broker: Broker = MemoryBroker()
readable: ReadableBroker = MemoryBroker()
storage: Storage = MemoryStorage()
unit: UnitOfWork = MemoryStorage().unit_of_work()
keeper: OutboxKeeper = MemoryStorage().outbox_keeper
sagas: SagaStorage = MemorySagaStorage()
sagas_of_a_storage: SagaStorage = MemoryStorage().sagas
saga_keeper: SagaKeeper = MemorySagaStorage()


def lagging(subscription: MemorySubscription) -> LaggingSubscription:
    """Take one for what tells how much is not done."""
    return subscription
