"""Everything that is said: to the shop, to its reports, and by events from one to the other."""

from datetime import date
from decimal import Decimal

import cqrs_core as cqrs
from shop.accounts import Tier

# To the shop ----------------------------------------------------------------------------------------------------------


class PurchaseReceipt(cqrs.Response):
    events: int  # how many tell of it; 0: this line was recorded before
    tier: Tier


class RecordPurchase(cqrs.Request[PurchaseReceipt], frozen=True, kw_only=True):
    """Put one line of the log on the customer's account, after those before it. Sent twice, it is recorded once."""

    line: int  # what identifies the purchase
    customer_id: str
    day: date
    cds: int
    dollars: Decimal


class RecordPurchases(cqrs.Request):
    """Record several purchases: all of them, or none."""

    purchases: list[RecordPurchase]


class Recorded(cqrs.Response):
    last_lines: dict[str, int]  # of each customer
    events: int  # how many tell of all of them


class GetRecorded(cqrs.Request[Recorded]):
    """Ask how far the shop is: who was stopped goes on from there."""


class Orders(cqrs.Response, frozen=True, kw_only=True):
    orders: int
    shipped: int
    cancelled: int  # the others are under way
    cds_shipped: int
    cds_in_stock: int  # and not reserved
    charged: Decimal
    returned: Decimal  # of what was charged


class GetOrders(cqrs.Request[Orders]):
    """Ask what has become of the large purchases, which are orders."""


# From the shop to whoever consumes the topic --------------------------------------------------------------------------


class PurchaseRecorded(cqrs.DomainEvent, kw_only=True):
    customer_id: str
    day: date
    cds: int
    dollars: Decimal


class TierChanged(cqrs.DomainEvent, kw_only=True):
    customer_id: str
    before: Tier
    after: Tier


# Names, and not classes, are what services agree upon: each may have classes of its own.
EVENT_NAMES: dict[str, type[cqrs.Event]] = {"PurchaseRecorded": PurchaseRecorded, "TierChanged": TierChanged}


# To the reports -------------------------------------------------------------------------------------------------------


class Totals(cqrs.Response, frozen=True, kw_only=True):
    purchases: int
    customers: int
    cds: int
    dollars: Decimal
    first_day: date | None  # None: nothing was bought
    last_day: date | None
    customers_by_tier: dict[Tier, int]
    events: int  # that all of this was built from


class GetTotals(cqrs.Request[Totals]):
    """Ask for what all customers bought together."""


class Customer(cqrs.Response, frozen=True, kw_only=True):
    customer_id: str
    purchases: int
    cds: int
    dollars: Decimal
    tier: Tier


class ListBestCustomers(cqrs.Request[Customer]):
    """Ask for those who spent most, the best first; answered by a stream. Among equals, the lower id comes first."""

    limit: int
