"""What every broker must do."""

from __future__ import annotations

from cqrs_core.testing.conformance.broker.carrying import CarryingChecks
from cqrs_core.testing.conformance.broker.reading import ReadingChecks
from cqrs_core.testing.conformance.broker.receiving import ReceivingChecks
from cqrs_core.testing.conformance.broker.sending import SendingChecks
from cqrs_core.testing.conformance.broker.sharing import SharingChecks
from cqrs_core.testing.conformance.broker.starting import StartingChecks

__all__ = ["BrokerConformance"]


class BrokerConformance(CarryingChecks, ReceivingChecks, SharingChecks, SendingChecks, StartingChecks, ReadingChecks):
    """
    The checks for a :class:`cqrs_core.broker.Broker`: subclass as ``TestMyBroker``, and implement :meth:`open_broker`.

    Each check opens a broker of its own, on an event loop of its own, and uses topics and groups with new names. So it
    needs no plug-in of pytest, and may run against a server that others use too. It needs no pause to let things
    happen, either: it receives until what must come has come, or ``deadline_s`` is over.

    .. code-block:: python

        class TestMyBroker(BrokerConformance):
            waived = {"test_pause_holds_a_partition_back": "queues of ... cannot be paused"}

            @asynccontextmanager
            async def open_broker(self):
                broker = MyBroker("server:1234")
                await broker.start()
                yield broker
                await broker.stop()
    """
