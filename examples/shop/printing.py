"""What a run tells at its end."""

import cqrs_core as cqrs
from shop.messages import ListBestCustomers, Orders, Totals


async def print_best_customers(reports: cqrs.App) -> None:
    """Print the ten customers who spent most, as they arrive."""
    print("\nThe ten best customers:\n")
    print("      customer  purchases    CDs     dollars  tier")
    rank = 0
    async for customer in reports.stream(ListBestCustomers(limit=10)):
        rank += 1
        bought = f"{customer.purchases:10,} {customer.cds:6,} {customer.dollars:11,.2f}"
        print(f"  {rank:2}. {customer.customer_id:>8} {bought}  {customer.tier.value}")


def print_totals(totals: Totals) -> None:
    """Print what all customers bought together."""
    tiers = ", ".join(f"{count:,} {tier.value}" for tier, count in totals.customers_by_tier.items())
    print("\nAll together:\n")
    days = f", {totals.first_day} to {totals.last_day}" if totals.purchases else ""
    print(f"  {totals.purchases:10,} purchases{days}")
    print(f"  {totals.customers:10,} customers: {tiers}")
    print(f"  {totals.cds:10,} CDs")
    print(f"  {totals.dollars:10,.2f} dollars")


def print_orders(orders: Orders) -> None:
    """Print what has become of the large purchases, if there were any."""
    if orders.orders:
        print("\nOrders of ten CDs and more:\n")
        print(f"  {orders.orders:10,} orders: {orders.shipped:,} shipped, {orders.cancelled:,} cancelled")
        print(f"  {orders.cds_shipped:10,} CDs shipped, {orders.cds_in_stock:,} in stock")
        print(f"  {orders.charged:10,.2f} dollars charged, {orders.returned:,.2f} of them given back")
