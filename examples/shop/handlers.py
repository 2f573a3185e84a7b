"""What is done about each message. Handlers are made for one message; what they share is injected."""

from collections.abc import AsyncIterator

import cqrs_core as cqrs
from shop.accounts import Accounts
from shop.messages import (
    Customer,
    GetTotals,
    ListBestCustomers,
    PurchaseReceipt,
    PurchaseRecorded,
    RecordPurchase,
    TierChanged,
    Totals,
)
from shop.read_model import SalesReport


class RecordPurchaseHandler(cqrs.RequestHandler[RecordPurchase, PurchaseReceipt]):
    """Keeps the accounts, and says what happened to them."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    async def handle(self, request: RecordPurchase) -> PurchaseReceipt:
        customer_id = request.customer_id
        before = self._accounts.of(customer_id).tier
        if not self._accounts.book(request.line, customer_id, request.dollars):
            return PurchaseReceipt(is_new=False, tier=before)
        recorded = PurchaseRecorded(customer_id=customer_id, day=request.day, cds=request.cds, dollars=request.dollars)
        self.events.append(recorded)
        after = self._accounts.of(customer_id).tier
        if after is not before:
            self.events.append(TierChanged(customer_id=customer_id, before=before, after=after))
        return PurchaseReceipt(is_new=True, tier=after)


class AddToReport(cqrs.EventHandler[PurchaseRecorded]):
    def __init__(self, report: SalesReport) -> None:
        self._report = report

    async def handle(self, event: PurchaseRecorded) -> None:
        self._report.add_purchase(event.customer_id, event.day, event.cds, event.dollars)


class ShowTierInReport(cqrs.EventHandler[TierChanged]):
    def __init__(self, report: SalesReport) -> None:
        self._report = report

    async def handle(self, event: TierChanged) -> None:
        self._report.set_tier(event.customer_id, event.after)


class GetTotalsHandler(cqrs.RequestHandler[GetTotals, Totals]):
    def __init__(self, report: SalesReport) -> None:
        self._report = report

    async def handle(self, request: GetTotals) -> Totals:  # noqa: ARG002 - it asks for everything
        return self._report.totals()


class ListBestCustomersHandler(cqrs.StreamingRequestHandler[ListBestCustomers, Customer]):
    def __init__(self, report: SalesReport) -> None:
        self._report = report

    async def handle(self, request: ListBestCustomers) -> AsyncIterator[Customer]:
        for customer in self._report.best(request.limit):
            yield customer
