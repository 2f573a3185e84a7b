"""What every storage of sagas must do."""

from __future__ import annotations

from cqrs_core.testing.conformance.sagas.claiming import ClaimingChecks
from cqrs_core.testing.conformance.sagas.keeping import KeepingChecks
from cqrs_core.testing.conformance.sagas.writing import WritingChecks

__all__ = ["SagaStorageConformance"]


class SagaStorageConformance(WritingChecks, ClaimingChecks, KeepingChecks):
    """
    The checks for a :class:`cqrs_core.saga.storage.SagaStorage`: subclass as ``TestMySagas``.

    Implement :meth:`open_storage`; with units of work :meth:`open_unit`, and with an outbox :meth:`sent`.

    Each check opens a storage of its own, on an event loop of its own, and finds it empty. For leases to lapse, some
    checks ask it for a third of a second, unless :meth:`pass_time` lets that pass at once.

    .. code-block:: python

        class TestMySagas(SagaStorageConformance):
            @asynccontextmanager
            async def open_storage(self):
                storage = MyStorage("server:1234")
                await storage.start()
                yield storage.sagas
                await storage.stop()
    """
