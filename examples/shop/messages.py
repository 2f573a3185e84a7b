"""Everything that is said in the shop: one command, two events, two queries and their answers."""

from datetime import date
from decimal import Decimal

import cqrs_core as cqrs
from shop.accounts import Tier


class PurchaseReceipt(cqrs.Response):
    is_new: bool  # False: this line was recorded before
    tier: Tier


class RecordPurchase(cqrs.Request[PurchaseReceipt], frozen=True, kw_only=True):
    """Put one line of the log on the customer's account. Sent twice, it is recorded once."""

    line: int  # what identifies the purchase
    customer_id: str
    day: date
    cds: int
    dollars: Decimal


class PurchaseRecorded(cqrs.DomainEvent, kw_only=True):
    customer_id: str
    day: date
    cds: int
    dollars: Decimal


class TierChanged(cqrs.DomainEvent, kw_only=True):
    customer_id: str
    before: Tier
    after: Tier


class Totals(cqrs.Response, frozen=True, kw_only=True):
    purchases: int
    customers: int
    cds: int
    dollars: Decimal
    first_day: date | None  # None: nothing was bought
    last_day: date | None
    customers_by_tier: dict[Tier, int]


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
