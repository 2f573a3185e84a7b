"""The shop put together: which handler serves which message, and what all handlers share."""

import cqrs_core as cqrs
from shop.accounts import Accounts
from shop.handlers import (
    AddToReport,
    GetTotalsHandler,
    ListBestCustomersHandler,
    RecordPurchaseHandler,
    ShowTierInReport,
)
from shop.messages import GetTotals, ListBestCustomers, PurchaseRecorded, RecordPurchase, TierChanged
from shop.read_model import SalesReport


def make_app() -> cqrs.App:
    """Make a shop without customers; ``async with`` starts it."""
    container = cqrs.SimpleContainer()
    # Singletons: what is not registered is made anew for each handler, and nothing would be remembered.
    container.singleton(Accounts)
    container.singleton(SalesReport)

    app = cqrs.App("shop", container=container)
    app.requests.bind(RecordPurchase, RecordPurchaseHandler)
    app.requests.bind(GetTotals, GetTotalsHandler)
    app.requests.bind(ListBestCustomers, ListBestCustomersHandler)
    app.events.bind(PurchaseRecorded, AddToReport)
    app.events.bind(TierChanged, ShowTierInReport)
    return app
