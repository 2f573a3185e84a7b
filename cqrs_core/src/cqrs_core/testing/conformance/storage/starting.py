"""A storage is started and stopped, more than once, and on more than one event loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cqrs_core.storage import missing_storage_methods
from cqrs_core.testing.conformance.storage.suite import StorageSuite, check, envelopes, new_ids

if TYPE_CHECKING:
    from cqrs_core.storage import Storage


class StartingChecks(StorageSuite):
    """Start and stop."""

    @check
    async def test_it_has_what_a_storage_has(self, storage: Storage) -> None:
        """All that the framework looks at when a program names it."""
        assert [] == missing_storage_methods(storage)

    @check
    async def test_stop_may_be_called_twice(self, storage: Storage) -> None:
        """Who stops a storage that is not started, because it failed to start perhaps, gets no error."""
        await storage.stop()
        await storage.stop()

    @check
    async def test_a_stopped_storage_can_be_started_again(self, storage: Storage) -> None:
        """It does all that it did before."""
        await self.commit(storage, texts=["before"])
        await storage.stop()
        await storage.start()
        await self._use(storage)
        await storage.stop()

    @check
    async def test_a_stopped_storage_can_be_started_on_another_event_loop(self, storage: Storage) -> None:
        """As a program does that calls ``asyncio.run`` more than once: nothing of the first loop is left in it."""
        await self.commit(storage, texts=["before"])
        await storage.stop()

        async def main() -> None:
            await storage.start()
            await self._use(storage)
            await storage.stop()

        self.on_another_loop(main)

    @check
    async def test_a_durable_storage_keeps_what_was_committed(self, storage: Storage) -> None:
        """Changes, outbox and inbox, while it is stopped; those that are not durable promise nothing."""
        if not self.is_durable:
            pytest.skip("the storage is not durable")
        ids = new_ids(2)
        await self.commit(storage, texts=["kept"], envelopes=envelopes(b"kept"))
        await self.accept(storage, ids)
        before = await self.waiting(storage)
        await storage.stop()
        await storage.start()

        assert {"kept"} == await self.written(storage)
        assert before == await self.waiting(storage)
        assert set() == await self.accept(storage, ids)

    async def _use(self, storage: Storage) -> None:
        ids = new_ids(1)
        await self.commit(storage, texts=["text"], envelopes=envelopes(b"body"))

        assert "text" in await self.written(storage)
        assert b"body" in await self.bodies(storage)
        assert set(ids) == await self.accept(storage, ids)
        assert set() == await self.accept(storage, ids)
