"""What the shop does with purchases, without any log."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from shop.accounts import Accounts, Tier, tier_for
from shop.app import make_app
from shop.messages import Customer, GetTotals, ListBestCustomers, PurchaseReceipt, RecordPurchase, Totals


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
    """Not twice in the accounts, and not twice in what the events build."""
    async with make_app() as app:
        receipts = [await app.send(purchase(1, dollars="100.00")) for _ in range(2)]
        totals = await app.send(GetTotals())

    new, repeated = PurchaseReceipt(is_new=True, tier=Tier.SILVER), PurchaseReceipt(is_new=False, tier=Tier.SILVER)
    assert [new, repeated] == receipts
    assert (1, 2, Decimal("100.00")) == (totals.purchases, totals.cds, totals.dollars)


async def test_two_lines_that_say_the_same_are_two_purchases() -> None:
    """The log repeats lines exactly; the number is what identifies a purchase."""
    async with make_app() as app:
        for line in (1, 2):
            await app.send(purchase(line))
        totals = await app.send(GetTotals())

    assert (2, 1, 4, Decimal("60.00")) == (totals.purchases, totals.customers, totals.cds, totals.dollars)


async def test_the_totals_are_those_of_all_customers() -> None:
    """Tiers are counted too, those that nobody is in as 0; days may come in any order."""
    async with make_app() as app:
        await app.send(purchase(1, customer_id="1", day=9, dollars="60.10"))
        await app.send(purchase(2, customer_id="2", day=3, dollars="0.20"))
        await app.send(purchase(3, customer_id="1", day=5, dollars="40.00"))
        totals = await app.send(GetTotals())

    expected = Totals(
        purchases=3,
        customers=2,
        cds=6,  # 3 * 2
        dollars=Decimal("100.30"),  # 60.10 + 0.20 + 40.00
        first_day=date(1997, 1, 3),
        last_day=date(1997, 1, 9),
        customers_by_tier={Tier.BRONZE: 1, Tier.SILVER: 1, Tier.GOLD: 0, Tier.PLATINUM: 0},
    )
    assert expected == totals


async def test_a_shop_without_customers_has_totals_too() -> None:
    """Zeros, and no days."""
    async with make_app() as app:
        totals = await app.send(GetTotals())

    assert (0, 0, Decimal(0), None, None) == (
        totals.purchases,
        totals.customers,
        totals.dollars,
        totals.first_day,
        totals.last_day,
    )


async def test_the_best_customers_come_first() -> None:
    """By dollars; among equals by id; no more than were asked for; each with the tier that the events told."""
    async with make_app() as app:
        for line, (customer_id, dollars) in enumerate([("3", "50"), ("2", "50"), ("1", "20"), ("4", "450")], start=1):
            await app.send(purchase(line, customer_id=customer_id, dollars=dollars))
        best = [customer async for customer in app.stream(ListBestCustomers(limit=3))]

    assert [
        Customer(customer_id="4", purchases=1, cds=2, dollars=Decimal(450), tier=Tier.GOLD),
        Customer(customer_id="2", purchases=1, cds=2, dollars=Decimal(50), tier=Tier.BRONZE),
        Customer(customer_id="3", purchases=1, cds=2, dollars=Decimal(50), tier=Tier.BRONZE),
    ] == best


async def test_two_shops_share_nothing() -> None:
    """Each ``make_app`` is a shop of its own."""
    async with make_app() as first, make_app() as second:
        await first.send(purchase(1))
        totals = await second.send(GetTotals())

    assert 0 == totals.purchases
