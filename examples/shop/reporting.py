"""The App that knows what was bought: events build its read model, and queries are answered from that."""

from collections.abc import AsyncIterator, Sequence

import cqrs_core as cqrs
from shop.books import Books
from shop.messages import (
    EVENT_NAMES,
    Customer,
    GetTotals,
    ListBestCustomers,
    PurchaseRecorded,
    TierChanged,
    Totals,
)
from shop.read_model import Sales, best, total
from shop.storing import Storing


def make_reports(storing: Storing, broker: cqrs.Broker | str) -> cqrs.App:
    """
    Make reports; inside ``async with reports.running(only=["consumers"])`` they consume from *broker*.

    A broker promises each event at least once. The storage remembers which have arrived, in the transaction of what
    they have changed, and so a repeated one is not counted again.
    """
    reports = cqrs.App("reports", storage=storing.storage, broker=broker, container=storing.make_container())
    reports.requests.bind(GetTotals, GetTotalsHandler)
    reports.requests.bind(ListBestCustomers, ListBestCustomersHandler)
    # A transaction for each batch, not for each event. A partition holds the events of many customers, each whole.
    reports.consume(storing.topic, EVENT_NAMES, batch_handler=AddToReport, order="partition", retry=THREE_TIMES)
    return reports


# A database may ask for another attempt; an event that is at fault itself stays so.
THREE_TIMES = cqrs.RetryPolicy(max_attempts=3, delay_s=0.1)


class AddToReport(cqrs.EventBatchHandler[PurchaseRecorded | TierChanged]):
    def __init__(self, books: Books) -> None:
        self._books = books

    async def handle(self, events: Sequence[PurchaseRecorded | TierChanged]) -> None:
        customers = {event.customer_id for event in events}
        sales = {who: Sales(who) for who in customers} | await self._books.find(Sales, customers)
        for event in events:
            sales[event.customer_id].add(event)
        self._books.keep(*sales.values())


class GetTotalsHandler(cqrs.RequestHandler[GetTotals, Totals]):
    def __init__(self, books: Books) -> None:
        self._books = books

    async def handle(self, request: GetTotals) -> Totals:  # noqa: ARG002 - it asks for everything
        return total(await self._books.all(Sales))


class ListBestCustomersHandler(cqrs.StreamingRequestHandler[ListBestCustomers, Customer]):
    def __init__(self, books: Books) -> None:
        self._books = books

    async def handle(self, request: ListBestCustomers) -> AsyncIterator[Customer]:
        for customer in best(await self._books.all(Sales), request.limit):
            yield customer
