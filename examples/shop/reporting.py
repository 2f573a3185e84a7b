"""The App that knows what was bought: events build its read model, and queries are answered from that."""

from collections.abc import AsyncIterator

import cqrs_core as cqrs
from shop.arrivals import Arrivals
from shop.messages import (
    EVENT_NAMES,
    EVENTS_TOPIC,
    Customer,
    EventLost,
    GetTotals,
    ListBestCustomers,
    PurchaseRecorded,
    TierChanged,
    Totals,
    WaitForEvents,
)
from shop.read_model import SalesReport

LOST_EVENTS_TOPIC = f"{EVENTS_TOPIC}.lost"


def make_reports(broker: cqrs.Broker) -> cqrs.App:
    """Make reports that nothing has come in for; inside ``async with reports.running()`` they consume from *broker*."""
    container = cqrs.SimpleContainer()
    container.singleton(SalesReport)
    container.singleton(Arrivals)

    reports = cqrs.App("reports", broker=broker, container=container)
    reports.requests.bind(GetTotals, GetTotalsHandler)
    reports.requests.bind(ListBestCustomers, ListBestCustomersHandler)
    reports.requests.bind(WaitForEvents, WaitForEventsHandler)
    reports.events.bind(PurchaseRecorded, AddToReport)
    reports.events.bind(TierChanged, ShowTierInReport)
    reports.events.bind(EventLost, CountAsLost)
    # One attempt: nothing outside is asked, so what fails would fail again.
    once = cqrs.RetryPolicy(max_attempts=1)
    reports.consume(EVENTS_TOPIC, EVENT_NAMES, retry=once, dead_letter_topic=LOST_EVENTS_TOPIC)
    # What could not be handled is consumed too, whatever it was: else who waits for it would wait for ever.
    reports.consume(LOST_EVENTS_TOPIC, dict.fromkeys(EVENT_NAMES, EventLost))
    return reports


class AddToReport(cqrs.EventHandler[PurchaseRecorded]):
    def __init__(self, report: SalesReport, arrivals: Arrivals) -> None:
        self._report = report
        self._arrivals = arrivals

    async def handle(self, event: PurchaseRecorded) -> None:
        if not self._arrivals.is_repeated():
            self._report.add_purchase(event.customer_id, event.day, event.cds, event.dollars)
            self._arrivals.count()


class ShowTierInReport(cqrs.EventHandler[TierChanged]):
    def __init__(self, report: SalesReport, arrivals: Arrivals) -> None:
        self._report = report
        self._arrivals = arrivals

    async def handle(self, event: TierChanged) -> None:
        if not self._arrivals.is_repeated():
            self._report.set_tier(event.customer_id, event.after)
            self._arrivals.count()


class CountAsLost(cqrs.EventHandler[EventLost]):
    def __init__(self, arrivals: Arrivals) -> None:
        self._arrivals = arrivals

    async def handle(self, event: EventLost) -> None:  # noqa: ARG002 - which message it was is all that counts
        if not self._arrivals.is_repeated():
            self._arrivals.count(is_lost=True)


class WaitForEventsHandler(cqrs.RequestHandler[WaitForEvents, None]):
    def __init__(self, arrivals: Arrivals) -> None:
        self._arrivals = arrivals

    async def handle(self, request: WaitForEvents) -> None:
        await self._arrivals.until(request.count)


class GetTotalsHandler(cqrs.RequestHandler[GetTotals, Totals]):
    def __init__(self, report: SalesReport, arrivals: Arrivals) -> None:
        self._report = report
        self._arrivals = arrivals

    async def handle(self, request: GetTotals) -> Totals:  # noqa: ARG002 - it asks for everything
        return self._report.totals(lost_events=self._arrivals.lost)


class ListBestCustomersHandler(cqrs.StreamingRequestHandler[ListBestCustomers, Customer]):
    def __init__(self, report: SalesReport) -> None:
        self._report = report

    async def handle(self, request: ListBestCustomers) -> AsyncIterator[Customer]:
        for customer in self._report.best(request.limit):
            yield customer
