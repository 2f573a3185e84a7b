"""What becomes of large orders: the rules, the bank, and the saga between them, whatever goes wrong at any point."""

from __future__ import annotations

import uuid
from contextlib import nullcontext
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING

import pytest
from shop.bank import Bank, Declined, is_declined
from shop.books import Books, MemoryBooks
from shop.ordering import Charge, OrderContext, OrderSaga, PlaceOrder, ReserveStock, ReserveStockInDepot, Ship
from shop.orders import DEPOT, PARCEL, WAREHOUSE, Order, OrderState, OutOfStock, Refused, Stock

import cqrs_core as cqrs
from cqrs_core.saga.definition import definition_of
from cqrs_core.testing import Played, explore

if TYPE_CHECKING:
    from collections.abc import Callable

    from cqrs_core.testing.exploring.schedule import Fault


DOLLARS = Decimal("150.00")
KEY = uuid.UUID(int=3)


@pytest.fixture
def anyio_backend() -> str:
    """The demo is a program for asyncio."""
    return "asyncio"


@pytest.fixture
def bank() -> Bank:
    """A bank without payments."""
    books = MemoryBooks()
    return Bank(lambda: nullcontext(books))


def test_what_is_reserved_is_missing_in_the_stock_once() -> None:
    """Though it is asked for twice, as it may be after a crash; so it is when it is given back."""
    order, stock = Order(1, 12), Stock(WAREHOUSE, 20)
    for _ in range(2):
        order.reserve(stock)
    left, of = stock.cds, order.warehouse
    for _ in range(2):
        order.release(stock)

    assert (8, WAREHOUSE) == (left, of)  # 20 - 12
    assert (20, None) == (stock.cds, order.warehouse)


def test_a_warehouse_that_has_not_enough_keeps_what_it_has() -> None:
    """To the piece; nothing is taken from it for a part of the order."""
    order, stock = Order(1, 12), Stock(WAREHOUSE, 11)

    with pytest.raises(OutOfStock, match="12 CDs are ordered, and the warehouse has 11"):
        order.reserve(stock)

    assert (11, None) == (stock.cds, order.warehouse)


def test_what_one_warehouse_has_reserved_another_does_not_get_back() -> None:
    """Undoing the first side of the step leaves alone what the second has done."""
    order, warehouse, depot = Order(1, 12), Stock(WAREHOUSE, 0), Stock(DEPOT, 20)
    order.reserve(depot)
    order.release(warehouse)

    assert (0, 8, DEPOT) == (warehouse.cds, depot.cds, order.warehouse)


@pytest.mark.parametrize("act", [lambda order: order.reserve(Stock(WAREHOUSE, 20)), Order.ship])
def test_a_cancelled_order_goes_no_further(act: Callable[[Order], None]) -> None:
    """Such as when a worker asks for it that stood still until others had undone everything."""
    order = Order(1, 12)
    order.cancel()

    with pytest.raises(Refused, match="order 1 is cancelled"):
        act(order)

    assert (OrderState.CANCELLED, None) == (order.state, order.warehouse)


def test_the_carrier_takes_what_fits_into_a_parcel() -> None:
    """And not one more."""
    fits, does_not = Order(1, PARCEL), Order(2, PARCEL + 1)
    fits.ship()
    with pytest.raises(Refused, match="parcels of at most 20 CDs, not of 21"):
        does_not.ship()

    assert (OrderState.SHIPPED, OrderState.OPEN) == (fits.state, does_not.state)


async def test_the_bank_books_what_has_the_same_key_once(bank: Bank) -> None:
    """And what has another, again."""
    for key in (KEY, KEY, uuid.UUID(int=4)):
        await bank.charge(key, 1, DOLLARS)

    assert (2 * DOLLARS, Decimal(0)) == await bank.statement()


async def test_what_the_bank_gave_back_cannot_be_charged_any_more(bank: Bank) -> None:
    """Whether it was charged before or not: so a late worker takes nothing."""
    await bank.charge(KEY, 1, DOLLARS)
    other = uuid.UUID(int=4)
    for key in (KEY, KEY, other):
        await bank.give_back(key, 1)

    for key in (KEY, other):
        with pytest.raises(Declined, match="order 1 was given back"):
            await bank.charge(key, 1, DOLLARS)

    assert (DOLLARS, DOLLARS) == await bank.statement()


async def test_the_bank_declines_one_order_in_seven(bank: Bank) -> None:
    """Always the same ones, and books nothing for them."""
    with pytest.raises(Declined, match="no money for order 14"):
        await bank.charge(KEY, 14, DOLLARS)

    assert [7, 14, 21] == [line for line in range(1, 25) if is_declined(line)]
    assert (Decimal(0), Decimal(0)) == await bank.statement()


class OrderSagaByHand(cqrs.Saga[OrderContext]):
    """The same steps without transactions, for books in memory take nothing back: each bears to be repeated."""

    steps = [
        cqrs.Step(PlaceOrder, transactional=False),
        cqrs.Fallback(
            cqrs.Step(ReserveStock, transactional=False),
            cqrs.Step(ReserveStockInDepot, transactional=False),
            failure_exceptions=(OutOfStock,),
        ),
        Charge,
        cqrs.Step(Ship, transactional=False),
    ]


def test_the_saga_that_is_explored_is_that_of_the_shop() -> None:
    """In all but the transactions."""
    assert definition_of(OrderSaga).fingerprint == definition_of(OrderSagaByHand).fingerprint


class World:
    """Everything that the steps work with."""

    def __init__(self, *, in_warehouse: int) -> None:
        self.books: Books = MemoryBooks()
        self.books.keep(Stock(WAREHOUSE, in_warehouse), Stock(DEPOT, 100))
        self.first = in_warehouse + 100
        books_of_bank = MemoryBooks()
        self.bank = Bank(lambda: nullcontext(books_of_bank))
        self.container = cqrs.SimpleContainer()
        self.container.instance(Books, self.books)
        self.container.instance(Bank, self.bank)

    async def look(self) -> tuple[OrderState | None, str | None, int, Decimal]:
        """Tell where the order stands, who has it, how many CDs are missing in the stock, and what was paid."""
        order = await self.books.get(Order, 1) or await self.books.get(Order, 7)
        charged, returned = await self.bank.statement()
        missing = self.first - sum(stock.cds for stock in await self.books.all(Stock))
        state, warehouse = (None, None) if order is None else (order.state, order.warehouse)
        return state, warehouse, missing, charged - returned


@pytest.mark.parametrize(
    ("context", "in_warehouse", "warehouse"),
    [
        (OrderContext(1, 12, DOLLARS), 100, WAREHOUSE),
        (OrderContext(1, 12, DOLLARS), 11, DEPOT),
        (OrderContext(7, 12, DOLLARS), 100, None),
        (OrderContext(1, PARCEL + 1, DOLLARS), 11, None),
        (OrderContext(1, 1000, DOLLARS), 11, None),
    ],
    ids=["shipped", "from the depot", "declined", "too large", "out of stock"],
)
def test_an_order_is_shipped_and_paid_or_nothing_is_left_of_it(
    context: OrderContext, in_warehouse: int, warehouse: str | None
) -> None:
    """With a crash, two, a worker that wakes late, or a lost answer at every point, and a bank that answers badly."""
    statuses = set()

    async def check(world: World, played: Played) -> None:
        if played.record is None:  # it died before anything was begun
            return
        statuses.add(played.record.status)
        state, of, missing, paid = await world.look()
        if played.record.status is cqrs.SagaStatus.COMPLETED:
            assert (OrderState.SHIPPED, warehouse, context.cds, context.dollars) == (state, of, missing, paid)
        if played.record.status is cqrs.SagaStatus.FAILED:
            assert state in {None, OrderState.CANCELLED}
            assert (None, 0, Decimal(0)) == (of, missing, paid)

    world = partial(World, in_warehouse=in_warehouse)
    faults: list[dict[str, Fault]] = [{"act Charge": "lost"}, {"undo Charge": "fails_once"}]
    explore(OrderSagaByHand, context=lambda: replace(context), world=world, check=check, faults=faults)

    may_complete = set() if warehouse is None else {cqrs.SagaStatus.COMPLETED}
    assert {cqrs.SagaStatus.FAILED} | may_complete == statuses
