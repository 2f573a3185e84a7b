"""What the events of the shop add up to, kept in the form in which it is asked for."""

import heapq
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from shop.accounts import Tier
from shop.messages import Customer, Totals


@dataclass(slots=True)
class _Row:
    purchases: int = 0
    cds: int = 0
    dollars: Decimal = Decimal(0)
    tier: Tier = Tier.BRONZE


class SalesReport:
    """One row for each customer. Built from events alone: it never looks into the accounts."""

    def __init__(self) -> None:
        self._rows: dict[str, _Row] = {}
        self._first_day: date | None = None
        self._last_day: date | None = None

    def add_purchase(self, customer_id: str, day: date, cds: int, dollars: Decimal) -> None:
        """Count one purchase."""
        row = self._rows.setdefault(customer_id, _Row())
        row.purchases += 1
        row.cds += cds
        row.dollars += dollars
        self._first_day = min(day, self._first_day or day)
        self._last_day = max(day, self._last_day or day)

    def set_tier(self, customer_id: str, tier: Tier) -> None:
        """Show a customer, who has bought something, in *tier* from now on."""
        self._rows[customer_id].tier = tier

    def totals(self, *, lost_events: int) -> Totals:
        """Add up all rows, which are without so many *lost_events*."""
        rows = self._rows.values()
        tiers = Counter(row.tier for row in rows)
        return Totals(
            purchases=sum(row.purchases for row in rows),
            customers=len(rows),
            cds=sum(row.cds for row in rows),
            dollars=sum((row.dollars for row in rows), Decimal(0)),
            first_day=self._first_day,
            last_day=self._last_day,
            customers_by_tier={tier: tiers[tier] for tier in Tier},
            lost_events=lost_events,
        )

    def best(self, limit: int) -> Iterator[Customer]:
        """Iterate over the *limit* customers who spent most, the best first; among equals, by id."""
        best = heapq.nsmallest(limit, self._rows.items(), key=lambda item: (-item[1].dollars, item[0]))
        for customer_id, row in best:
            yield Customer(
                customer_id=customer_id, purchases=row.purchases, cds=row.cds, dollars=row.dollars, tier=row.tier
            )
