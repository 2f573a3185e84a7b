"""What every storage must do."""

from __future__ import annotations

from cqrs_core.testing.conformance.storage.accepting import AcceptingChecks
from cqrs_core.testing.conformance.storage.committing import CommittingChecks
from cqrs_core.testing.conformance.storage.enqueuing import EnqueuingChecks
from cqrs_core.testing.conformance.storage.fetching import FetchingChecks
from cqrs_core.testing.conformance.storage.keeping import KeepingChecks
from cqrs_core.testing.conformance.storage.looking import LookingChecks
from cqrs_core.testing.conformance.storage.nesting import NestingChecks
from cqrs_core.testing.conformance.storage.postponing import PostponingChecks
from cqrs_core.testing.conformance.storage.racing import RacingChecks
from cqrs_core.testing.conformance.storage.sharing import SharingChecks
from cqrs_core.testing.conformance.storage.starting import StartingChecks

__all__ = ["StorageConformance"]


class StorageConformance(
    CommittingChecks,
    NestingChecks,
    EnqueuingChecks,
    FetchingChecks,
    SharingChecks,
    PostponingChecks,
    LookingChecks,
    KeepingChecks,
    AcceptingChecks,
    RacingChecks,
    StartingChecks,
):
    """
    The checks for a :class:`cqrs_core.storage.Storage`: subclass as ``TestMyStorage``; implement :meth:`open_storage`.

    Each check opens a storage of its own, on an event loop of its own, and finds it empty. So it needs no plug-in of
    pytest. It needs no pause to let things happen, but for leases to lapse: for these, some checks ask the storage for
    a third of a second, unless :meth:`pass_time` lets it pass at once. Units of work, up to four at a time, change the
    outbox and the inbox; and business data too, if :meth:`write` and :meth:`written` say how. Of a storage in which one
    relay at a time has everything, and others stand by, waive ``test_shares_are_fair`` and
    ``test_renew_tells_that_a_relay_has_come``. Without an ``outbox_keeper``, the checks for that are skipped.

    .. code-block:: python

        class TestMyStorage(StorageConformance):
            is_durable = True

            @asynccontextmanager
            async def open_storage(self):
                await make_tables("server:1234")
                storage = MyStorage("server:1234")
                await storage.start()
                yield storage
                await storage.stop()
                await drop_tables("server:1234")

            async def write(self, unit, text):
                await unit.get(MySession).execute("INSERT INTO texts VALUES (?)", text)

            async def written(self, storage):
                async with connect("server:1234") as connection:
                    return set(await connection.fetch("SELECT text FROM texts"))
    """
