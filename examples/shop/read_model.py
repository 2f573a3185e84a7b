"""What the events of the shop add up to, kept in the form in which it is asked for."""

import heapq
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from shop.accounts import Tier
from shop.messages import Customer, PurchaseRecorded, TierChanged, Totals


@dataclass
class Sales:
    """What one customer has bought. Built from events alone: it never looks into the accounts."""

    customer_id: str
    purchases: int = 0
    cds: int = 0
    dollars: Decimal = Decimal(0)
    tier: Tier = Tier.BRONZE
    first_day: date | None = None
    last_day: date | None = None
    events: int = 0  # that this was built from

    @property
    def key(self) -> str:
        """Its name in the books."""
        return self.customer_id

    def add(self, event: PurchaseRecorded | TierChanged) -> None:
        """Add what *event* tells of this customer."""
        self.events += 1
        if isinstance(event, TierChanged):
            self.tier = event.after
            return
        self.purchases += 1
        self.cds += event.cds
        self.dollars += event.dollars
        self.first_day = min(event.day, self.first_day or event.day)
        self.last_day = max(event.day, self.last_day or event.day)


def total(sales: Collection[Sales]) -> Totals:
    """Add up the *sales* to all customers."""
    tiers = Counter(row.tier for row in sales)
    return Totals(
        purchases=sum(row.purchases for row in sales),
        customers=len(sales),
        cds=sum(row.cds for row in sales),
        dollars=sum((row.dollars for row in sales), Decimal(0)),
        first_day=min((row.first_day for row in sales if row.first_day), default=None),
        last_day=max((row.last_day for row in sales if row.last_day), default=None),
        customers_by_tier={tier: tiers[tier] for tier in Tier},
        events=sum(row.events for row in sales),
    )


def best(sales: Collection[Sales], limit: int) -> Iterator[Customer]:
    """Iterate over the *limit* customers who spent most, the best first; among equals, by id."""
    for row in heapq.nsmallest(limit, sales, key=lambda row: (-row.dollars, row.customer_id)):
        yield Customer(
            customer_id=row.customer_id, purchases=row.purchases, cds=row.cds, dollars=row.dollars, tier=row.tier
        )
