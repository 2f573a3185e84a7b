"""What the shop and its reports do with purchases, without any log."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from decimal import Decimal

import pytest
from shop.accounts import Accounts, Tier, tier_for
from shop.messages import (
    EVENTS_TOPIC,
    Customer,
    GetTotals,
    ListBestCustomers,
    PurchaseReceipt,
    RecordPurchase,
    Totals,
    WaitForEvents,
)
from shop.read_model import SalesReport
from shop.recording import make_shop
from shop.reporting import make_reports

import cqrs_core as cqrs


@pytest.fixture
def anyio_backend() -> str:
    """The demo is a program for asyncio: what waits in it waits for an ``asyncio.Event``."""
    return "asyncio"


@asynccontextmanager
async def reports_on(*purchases: RecordPurchase, broker: cqrs.Broker | None = None) -> AsyncIterator[cqrs.App]:
    """Record *purchases* in a shop of their own, and give the reports when all events have arrived there."""
    broker = broker or cqrs.MemoryBroker()
    async with make_reports(broker).running() as reports, make_shop(broker) as shop:
        receipts = [await shop.send(purchase) for purchase in purchases]
        await reports.send(WaitForEvents(count=sum(receipt.events for receipt in receipts)))
        yield reports


class EverythingTwice(cqrs.MemoryBroker):
    """Delivers each message again, as a broker does when the acknowledgement was lost."""

    async def send(self, envelope: cqrs.Envelope) -> None:
        await super().send(envelope)
        await super().send(envelope)


def purchase(line: int, *, customer_id: str = "1", day: int = 1, dollars: str = "30.00") -> RecordPurchase:
    return RecordPurchase(line=line, customer_id=customer_id, day=date(1997, 1, day), cds=2, dollars=Decimal(dollars))


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
    accounts = Accounts()

    booked = [accounts.book(line, "1", Decimal(5)) for line in (1, 2, 1)]

    assert [True, True, False] == booked
    assert Decimal(10) == accounts.of("1").spent  # 5 + 5


def test_asking_for_an_account_does_not_open_one() -> None:
    """What is handed out for a stranger is an account without purchases, and nobody else's."""
    accounts = Accounts()
    accounts.of("1").spent += 7

    assert Decimal(0) == accounts.of("1").spent


async def test_the_same_line_sent_twice_is_recorded_once() -> None:
    """The second receipt tells of no events, and there are none."""
    broker = cqrs.MemoryBroker()
    async with make_reports(broker).running() as reports, make_shop(broker) as shop:
        receipts = [await shop.send(purchase(1, dollars="100.00")) for _ in range(2)]
        await reports.send(WaitForEvents(count=2))
        totals = await reports.send(GetTotals())

    new, repeated = PurchaseReceipt(events=2, tier=Tier.SILVER), PurchaseReceipt(events=0, tier=Tier.SILVER)
    assert [new, repeated] == receipts
    assert (1, 2, Decimal("100.00")) == (totals.purchases, totals.cds, totals.dollars)


async def test_two_lines_that_say_the_same_are_two_purchases() -> None:
    """The log repeats lines exactly; the number is what identifies a purchase."""
    async with reports_on(purchase(1), purchase(2)) as reports:
        totals = await reports.send(GetTotals())

    assert (2, 1, 4, Decimal("60.00")) == (totals.purchases, totals.customers, totals.cds, totals.dollars)


async def test_the_totals_are_those_of_all_customers() -> None:
    """Tiers are counted too, those that nobody is in as 0; days may come in any order."""
    purchases = [
        purchase(1, customer_id="1", day=9, dollars="60.10"),
        purchase(2, customer_id="2", day=3, dollars="0.20"),
        purchase(3, customer_id="1", day=5, dollars="40.00"),
    ]
    async with reports_on(*purchases) as reports:
        totals = await reports.send(GetTotals())

    expected = Totals(
        purchases=3,
        customers=2,
        cds=6,  # 3 * 2
        dollars=Decimal("100.30"),  # 60.10 + 0.20 + 40.00
        first_day=date(1997, 1, 3),
        last_day=date(1997, 1, 9),
        customers_by_tier={Tier.BRONZE: 1, Tier.SILVER: 1, Tier.GOLD: 0, Tier.PLATINUM: 0},
        lost_events=0,
    )
    assert expected == totals


async def test_a_shop_without_customers_has_totals_too() -> None:
    """Zeros, and no days."""
    async with reports_on() as reports:
        totals = await reports.send(GetTotals())

    assert (0, 0, Decimal(0), None, None) == (
        totals.purchases,
        totals.customers,
        totals.dollars,
        totals.first_day,
        totals.last_day,
    )


async def test_the_best_customers_come_first() -> None:
    """By dollars; among equals by id; no more than were asked for; each with the tier that the events told."""
    spent = [("3", "50"), ("2", "50"), ("1", "20"), ("4", "450")]
    purchases = [purchase(line, customer_id=who, dollars=dollars) for line, (who, dollars) in enumerate(spent, start=1)]
    async with reports_on(*purchases) as reports:
        best = [customer async for customer in reports.stream(ListBestCustomers(limit=3))]

    assert [
        Customer(customer_id="4", purchases=1, cds=2, dollars=Decimal(450), tier=Tier.GOLD),
        Customer(customer_id="2", purchases=1, cds=2, dollars=Decimal(50), tier=Tier.BRONZE),
        Customer(customer_id="3", purchases=1, cds=2, dollars=Decimal(50), tier=Tier.BRONZE),
    ] == best


async def test_a_customers_tiers_arrive_in_order() -> None:
    """With many customers at once, each ends in the tier that was reached last."""
    customers = [str(number) for number in range(20)]
    steps = [(customer_id, dollars) for dollars in ("100", "300", "600") for customer_id in customers]
    purchases = [purchase(line, customer_id=who, dollars=dollars) for line, (who, dollars) in enumerate(steps, start=1)]
    async with reports_on(*purchases) as reports:
        totals = await reports.send(GetTotals())

    assert {Tier.BRONZE: 0, Tier.SILVER: 0, Tier.GOLD: 0, Tier.PLATINUM: 20} == totals.customers_by_tier


async def test_an_event_that_is_delivered_twice_counts_once() -> None:
    """Neither the totals nor those who wait for events take the second delivery for another event."""
    async with reports_on(purchase(1), purchase(2, dollars="70.00"), broker=EverythingTwice()) as reports:
        totals = await reports.send(GetTotals())

    assert (2, Decimal("100.00")) == (totals.purchases, totals.dollars)
    assert {Tier.BRONZE: 0, Tier.SILVER: 1, Tier.GOLD: 0, Tier.PLATINUM: 0} == totals.customers_by_tier


async def test_an_event_that_cannot_be_handled_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is counted as lost, once, though it too is delivered twice; what it left undone is missing in the totals."""
    add_purchase = SalesReport.add_purchase

    def refuse_one(report: SalesReport, customer_id: str, *others: object) -> None:
        if customer_id == "13":
            raise ValueError("an unlucky number")
        add_purchase(report, customer_id, *others)  # type: ignore[arg-type]  # as they came

    monkeypatch.setattr(SalesReport, "add_purchase", refuse_one)
    async with reports_on(purchase(1, customer_id="13"), purchase(2), broker=EverythingTwice()) as reports:
        totals = await reports.send(GetTotals())

    assert (1, 1) == (totals.purchases, totals.lost_events)


async def test_an_event_that_cannot_be_read_is_counted_as_lost() -> None:
    """Such as one of a version of the shop that these reports do not know."""
    broker = cqrs.MemoryBroker()
    async with make_reports(broker).running() as reports:
        await broker.send(cqrs.Envelope(EVENTS_TOPIC, b'{"buyer": "1"}', headers={"ce_type": "PurchaseRecorded"}))
        await reports.send(WaitForEvents(count=1))
        totals = await reports.send(GetTotals())

    assert (0, 1) == (totals.purchases, totals.lost_events)


async def test_two_shops_share_nothing() -> None:
    """Each has its own accounts, and reports on another broker hear nothing of it."""
    async with reports_on(purchase(1, dollars="100.00")), reports_on() as others:
        totals = await others.send(GetTotals())

    assert 0 == totals.purchases
