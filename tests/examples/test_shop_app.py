"""What the shop and its reports do with purchases, without any log."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import date
from decimal import Decimal
from typing import NamedTuple

import pytest
from shop import reporting
from shop.accounts import Account, Tier, tier_for
from shop.books import Books, MemoryBooks
from shop.messages import (
    Customer,
    GetOrders,
    GetRecorded,
    GetTotals,
    ListBestCustomers,
    PurchaseReceipt,
    PurchaseRecorded,
    Recorded,
    RecordPurchase,
    RecordPurchases,
    TierChanged,
    Totals,
)
from shop.read_model import Sales
from shop.recording import make_shop
from shop.reporting import make_reports
from shop.storing import Storing, open_books
from shop.waiting import until_all_is_sent, until_all_orders_are_done

import cqrs_core as cqrs
from cqrs_core.broker import SendOutcome


@pytest.fixture
def anyio_backend() -> str:
    """The demo is a program for asyncio, as SQLAlchemy is."""
    return "asyncio"


@pytest.fixture
async def storing(storage: str) -> AsyncIterator[Storing]:
    """Books that nothing is in yet."""
    async with open_books(storage, log_id="a log", fresh=False) as storing:
        yield storing


class Running(NamedTuple):
    """Both Apps, at work."""

    shop: cqrs.App
    reports: cqrs.App


@asynccontextmanager
async def both(storing: Storing, broker: cqrs.Broker | None = None) -> AsyncIterator[Running]:
    """Let a shop and its reports run."""
    broker = broker or cqrs.MemoryBroker()
    async with (
        make_reports(storing, broker).running(only=["consumers"]) as reports,
        make_shop(storing, broker).running(only=["relay", "sagas"]) as shop,
    ):
        yield Running(shop, reports)


@asynccontextmanager
async def reports_on(
    storing: Storing, *purchases: RecordPurchase, broker: cqrs.Broker | None = None
) -> AsyncIterator[cqrs.App]:
    """Record *purchases*, and give the reports when all events have arrived there."""
    async with both(storing, broker) as (shop, reports):
        for one in purchases:
            await shop.send(one)
        await until_all_is_sent(storing)
        yield reports


class EverythingTwice(cqrs.MemoryBroker):
    """Delivers each message again, as a broker does when the acknowledgement was lost."""

    async def send_many(self, envelopes: Sequence[cqrs.Envelope]) -> Sequence[SendOutcome]:
        return (await super().send_many([envelope for envelope in envelopes for _ in range(2)]))[::2]


def purchase(
    line: int, *, customer_id: str = "1", day: int = 1, dollars: str = "30.00", cds: int = 2
) -> RecordPurchase:
    return RecordPurchase(line=line, customer_id=customer_id, day=date(1997, 1, day), cds=cds, dollars=Decimal(dollars))


@pytest.mark.parametrize(
    ("spent", "tier"),
    [
        ("0", Tier.BRONZE),
        ("99.99", Tier.BRONZE),
        ("100", Tier.SILVER),
        ("399.99", Tier.SILVER),
        ("400", Tier.GOLD),
        ("999.99", Tier.GOLD),
        ("1000", Tier.PLATINUM),
        ("1000000", Tier.PLATINUM),
    ],
)
def test_a_tier_begins_at_its_value(spent: str, tier: Tier) -> None:
    """To the cent: who has spent exactly the value is in it."""
    assert tier is tier_for(Decimal(spent))


def test_a_line_is_booked_once() -> None:
    """The account tells whether the purchase was new; one that was not changes nothing."""
    account = Account("1")

    booked = [account.book(line, Decimal(5)) for line in (1, 2, 1)]

    assert [True, True, False] == booked
    assert Decimal(10) == account.spent  # 5 + 5


async def test_what_was_found_and_not_kept_changes_nothing() -> None:
    """In memory too, where no transaction is rolled back: what fails before it is kept leaves the books alone."""
    books: Books = MemoryBooks()
    books.keep(Account("1"))
    found = await books.get(Account, "1")
    assert found is not None
    found.book(1, Decimal(7))

    assert [Account("1")] == list(await books.all(Account))


async def test_the_same_line_sent_twice_is_recorded_once(storing: Storing) -> None:
    """The second receipt tells of no events, and there are none."""
    async with both(storing) as (shop, reports):
        receipts = [await shop.send(purchase(1, dollars="100.00")) for _ in range(2)]
        await until_all_is_sent(storing)
        totals = await reports.send(GetTotals())

    new, repeated = PurchaseReceipt(events=2, tier=Tier.SILVER), PurchaseReceipt(events=0, tier=Tier.SILVER)
    assert [new, repeated] == receipts
    assert (1, 2, Decimal("100.00"), 2) == (totals.purchases, totals.cds, totals.dollars, totals.events)


async def test_the_shop_knows_how_far_it_is(storing: Storing) -> None:
    """The last line of each customer, and how many events have told of all of them."""
    async with both(storing) as (shop, _):
        await shop.send(purchase(1, customer_id="1", dollars="100.00"))
        await shop.send(purchase(2, customer_id="2"))
        await shop.send(purchase(3, customer_id="1"))

        assert Recorded(last_lines={"1": 3, "2": 2}, events=4) == await shop.send(GetRecorded())  # 2 + 1 + 1


@pytest.fixture
def unlucky(monkeypatch: pytest.MonkeyPatch) -> int:
    """A line that cannot be booked."""
    book = Account.book

    def refuse_one(account: Account, line: int, dollars: Decimal) -> bool:
        if line == 13:
            raise ValueError("an unlucky number")
        return book(account, line, dollars)

    monkeypatch.setattr(Account, "book", refuse_one)
    return 13


async def test_several_purchases_are_recorded_as_a_whole(storing: Storing, unlucky: int) -> None:
    """If one fails, no event tells of those before it, and in a database they are on no account."""
    async with both(storing) as (shop, reports):
        with pytest.raises(ValueError, match="unlucky"):
            await shop.send(RecordPurchases([purchase(12), purchase(unlucky)]))
        await until_all_is_sent(storing)

        assert 0 == (await reports.send(GetTotals())).events
        if storing.name != "memory":
            assert Recorded(last_lines={}, events=0) == await shop.send(GetRecorded())


async def test_a_large_purchase_is_an_order(storing: Storing) -> None:
    """From ten CDs on, and once, though its line comes twice; it stays a purchase like any other."""
    purchases = [purchase(1, cds=9), purchase(2, cds=10, dollars="150.00"), purchase(3, cds=10), purchase(2, cds=10)]
    async with both(storing) as (shop, reports):
        for one in purchases:
            await shop.send(one)
        stuck = await until_all_orders_are_done(shop)
        await until_all_is_sent(storing)
        totals, orders = await reports.send(GetTotals()), await shop.send(GetOrders())

    assert (0, 3, 29) == (stuck, totals.purchases, totals.cds)  # 9 + 10 + 10
    assert (2, 2, 20, Decimal("180.00")) == (orders.orders, orders.shipped, orders.cds_shipped, orders.charged)


async def test_a_purchase_that_is_not_recorded_is_no_order(storing: Storing, unlucky: int) -> None:
    """Its saga is started when the command is committed, or never."""
    async with both(storing) as (shop, _):
        with pytest.raises(ValueError, match="unlucky"):
            await shop.send(RecordPurchases([purchase(12, cds=10), purchase(unlucky, cds=10)]))

        assert 0 == await until_all_orders_are_done(shop)
        assert 0 == (await shop.send(GetOrders())).orders


async def test_two_lines_that_say_the_same_are_two_purchases(storing: Storing) -> None:
    """The log repeats lines exactly; the number is what identifies a purchase."""
    async with reports_on(storing, purchase(1), purchase(2)) as reports:
        totals = await reports.send(GetTotals())

    assert (2, 1, 4, Decimal("60.00")) == (totals.purchases, totals.customers, totals.cds, totals.dollars)


async def test_the_totals_are_those_of_all_customers(storing: Storing) -> None:
    """Tiers are counted too, those that nobody is in as 0; days may come in any order."""
    purchases = [
        purchase(1, customer_id="1", day=9, dollars="60.10"),
        purchase(2, customer_id="2", day=3, dollars="0.20"),
        purchase(3, customer_id="1", day=5, dollars="40.00"),
    ]
    async with reports_on(storing, *purchases) as reports:
        totals = await reports.send(GetTotals())

    expected = Totals(
        purchases=3,
        customers=2,
        cds=6,  # 3 * 2
        dollars=Decimal("100.30"),  # 60.10 + 0.20 + 40.00
        first_day=date(1997, 1, 3),
        last_day=date(1997, 1, 9),
        customers_by_tier={Tier.BRONZE: 1, Tier.SILVER: 1, Tier.GOLD: 0, Tier.PLATINUM: 0},
        events=4,  # 3 purchases, and one customer in another tier
    )
    assert expected == totals


async def test_a_shop_without_customers_has_totals_too(storing: Storing) -> None:
    """Zeros, and no days."""
    async with reports_on(storing) as reports:
        totals = await reports.send(GetTotals())

    assert (0, 0, Decimal(0), None, None) == (
        totals.purchases,
        totals.customers,
        totals.dollars,
        totals.first_day,
        totals.last_day,
    )


async def test_the_best_customers_come_first(storing: Storing) -> None:
    """By dollars; among equals by id; no more than were asked for; each with the tier that the events told."""
    spent = [("3", "50"), ("2", "50"), ("1", "20"), ("4", "450")]
    purchases = [purchase(line, customer_id=who, dollars=dollars) for line, (who, dollars) in enumerate(spent, start=1)]
    async with reports_on(storing, *purchases) as reports:
        best = [customer async for customer in reports.stream(ListBestCustomers(limit=3))]

    assert [
        Customer(customer_id="4", purchases=1, cds=2, dollars=Decimal(450), tier=Tier.GOLD),
        Customer(customer_id="2", purchases=1, cds=2, dollars=Decimal(50), tier=Tier.BRONZE),
        Customer(customer_id="3", purchases=1, cds=2, dollars=Decimal(50), tier=Tier.BRONZE),
    ] == best


async def test_a_customers_tiers_arrive_in_order(storing: Storing) -> None:
    """With many customers at once, each ends in the tier that was reached last."""
    customers = [str(number) for number in range(20)]
    steps = [(customer_id, dollars) for dollars in ("100", "300", "600") for customer_id in customers]
    purchases = [purchase(line, customer_id=who, dollars=dollars) for line, (who, dollars) in enumerate(steps, start=1)]
    async with reports_on(storing, *purchases) as reports:
        totals = await reports.send(GetTotals())

    assert {Tier.BRONZE: 0, Tier.SILVER: 0, Tier.GOLD: 0, Tier.PLATINUM: 20} == totals.customers_by_tier


async def test_an_event_that_is_delivered_twice_counts_once(storing: Storing) -> None:
    """The storage knows the second delivery."""
    async with reports_on(storing, purchase(1), purchase(2, dollars="70.00"), broker=EverythingTwice()) as reports:
        totals = await reports.send(GetTotals())

    assert (2, Decimal("100.00")) == (totals.purchases, totals.dollars)
    assert {Tier.BRONZE: 0, Tier.SILVER: 1, Tier.GOLD: 0, Tier.PLATINUM: 0} == totals.customers_by_tier


async def test_an_event_that_cannot_be_handled_is_missing_in_the_totals(
    storing: Storing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It alone, though it came in a batch with others, and nobody waits for it."""
    add = Sales.add

    def refuse_one(sales: Sales, event: PurchaseRecorded | TierChanged) -> None:
        if event.customer_id == "13":
            raise ValueError("an unlucky number")
        add(sales, event)

    monkeypatch.setattr(Sales, "add", refuse_one)
    monkeypatch.setattr(reporting, "THREE_TIMES", cqrs.RetryPolicy(max_attempts=1))
    purchases = [purchase(line, customer_id=str(line)) for line in range(10, 20)]
    async with both(storing) as (shop, reports):
        await shop.send(RecordPurchases(purchases))
        await until_all_is_sent(storing)
        totals, recorded = await reports.send(GetTotals()), await shop.send(GetRecorded())

    assert (9, 9, 10) == (totals.purchases, totals.events, recorded.events)


async def test_an_event_that_cannot_be_read_is_passed_over(storing: Storing) -> None:
    """Such as one of a version of the shop that these reports do not know."""
    broker = cqrs.MemoryBroker()
    async with both(storing, broker) as (shop, reports):
        await broker.send_many(
            [cqrs.Envelope(storing.topic, b'{"buyer": "1"}', headers={"ce_type": "PurchaseRecorded"})]
        )
        await shop.send(purchase(1))
        await until_all_is_sent(storing)

        assert 1 == (await reports.send(GetTotals())).purchases


async def test_books_in_memory_share_nothing() -> None:
    """Each has its own accounts, and its own reports."""
    async with (
        open_books("memory", log_id="a log", fresh=False) as one,
        open_books("memory", log_id="a log", fresh=False) as other,
        reports_on(one, purchase(1)),
        reports_on(other) as others,
    ):
        totals = await others.send(GetTotals())

    assert 0 == totals.purchases
