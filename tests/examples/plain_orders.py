"""What has to become of the large purchases of a log, worked out from its lines alone; and what is in the books."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from cqrs_sqla import make_engine

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

#: What the warehouses have at first.
STOCK = {"warehouse": 100, "depot": 1500}


class Line(NamedTuple):
    """One order: its line, how many CDs it is of, and what they cost."""

    number: int
    cds: int
    dollars: Decimal


class PlainOrders(NamedTuple):
    """
    The orders of a log.

    Attributes:
        shipped: Those that were.
        declined: Those that the bank has not paid for: the number of the line is a multiple of seven.
        returned: Those that were paid for, and were too large for the carrier: more than twenty CDs.
    """

    shipped: list[Line]
    declined: list[Line]
    returned: list[Line]

    @property
    def answer(self) -> str:
        """What the shop has to tell of them."""
        shipped, returned = self.shipped, self.returned
        orders, cds = len(shipped + self.declined + returned), sum(line.cds for line in shipped)
        charged = sum(line.dollars for line in shipped + returned)
        return (
            "\nOrders of ten CDs and more:\n\n"
            f"  {orders:10,} orders: {len(shipped):,} shipped, {orders - len(shipped):,} cancelled\n"
            f"  {cds:10,} CDs shipped, {sum(STOCK.values()) - cds:,} in stock\n"
            f"  {charged:10,.2f} dollars charged, {sum(line.dollars for line in returned):,.2f} of them given back\n"
        )


def plain_orders(log: Path) -> PlainOrders:
    """Go through the lines of *log*, one after the other."""
    orders = PlainOrders([], [], [])
    for number, line in enumerate(log.read_text(encoding="ascii").splitlines(), start=1):
        _, _, _, cds, dollars = line.split() or "---00"
        if int(cds) < 10:
            continue
        if number % 7 == 0:
            fate = orders.declined
        elif int(cds) > 20:
            fate = orders.returned
        else:
            fate = orders.shipped
        fate.append(Line(number, int(cds), Decimal(dollars)))
    return orders


def check_books(storage: str, orders: PlainOrders) -> None:
    """Look into the books themselves: nothing is there twice, nothing is left of what was cancelled."""
    asyncio.run(_check_books(storage, orders))


async def _check_books(storage: str, orders: PlainOrders) -> None:
    engine = make_engine(storage)
    try:
        async with engine.connect() as connection:

            async def rows(query: str) -> Sequence[Any]:
                return (await connection.execute(sa.text(query))).all()

            kept = await rows("SELECT line, cds, state, warehouse FROM shop_orders ORDER BY line")
            stock = await rows("SELECT warehouse, cds FROM shop_stock")
            paid = await rows("SELECT line, dollars, is_returned FROM shop_payments WHERE dollars > 0 ORDER BY line")
            barred = await rows("SELECT line, is_returned FROM shop_payments WHERE dollars = 0")
            sagas = await rows("SELECT status, count(*) FROM shop_saga GROUP BY status")
            repeated = await rows(
                "SELECT saga_id, step_id, action FROM shop_saga_step WHERE status = 'completed'"
                " GROUP BY saga_id, step_id, branch, action HAVING count(*) > 1"
            )
    finally:
        await engine.dispose()
    cancelled = orders.declined + orders.returned
    states = {line: (line.number, line.cds, "shipped") for line in orders.shipped}
    states |= {line: (line.number, line.cds, "cancelled") for line in cancelled}
    assert [states[line] for line in sorted(states)] == [tuple(row)[:3] for row in kept]
    assert {row.line for row in kept if row.warehouse is None} == {line.number for line in cancelled}
    for warehouse, left in stock:
        assert left == STOCK[warehouse] - sum(row.cds for row in kept if row.warehouse == warehouse)
        assert left >= 0
    # What the warehouse has not is taken from the depot.
    assert {row.warehouse for row in kept} >= {"warehouse", "depot"}
    money = {line: (line.number, int(line.dollars * 100), False) for line in orders.shipped}
    money |= {line: (line.number, int(line.dollars * 100), True) for line in orders.returned}
    assert [money[line] for line in sorted(money)] == [(line, cents, bool(back)) for line, cents, back in paid]
    # A worker that came later did not know what had become of the payment, and had it barred.
    assert {line.number for line in orders.declined} >= {line for line, _ in barred}
    assert all(back for _, back in barred)
    assert {"completed": len(orders.shipped), "failed": len(cancelled)} == dict(map(tuple, sagas))
    assert [] == repeated
