"""The tables: what is kept, as rows. With SQLAlchemy, so it does not matter in which database."""

from decimal import Decimal
from enum import Enum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import registry

from cqrs_sqla import define_tables
from shop.accounts import Account, Tier
from shop.bank import Payment
from shop.orders import Order, OrderState, Stock
from shop.read_model import Sales


class Dollars(sa.TypeDecorator[Decimal]):
    """Kept as cents: SQLite knows no exact numbers but whole ones."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: sa.Dialect) -> int | None:  # noqa: ARG002
        return None if value is None else int(value.scaleb(2))

    def process_result_value(self, value: int | None, dialect: sa.Dialect) -> Decimal | None:  # noqa: ARG002
        return None if value is None else Decimal(value).scaleb(-2)


def _word(words: type[Enum]) -> sa.Enum:
    return sa.Enum(words, native_enum=False, length=20, values_callable=lambda words: [word.value for word in words])


mapped = registry()
# The framework's own tables stand beside ours, so one migration makes them all, and one transaction writes them.
TABLES = define_tables(mapped.metadata, prefix="shop_")


def _table(name: str, *columns: sa.Column[Any]) -> sa.Table:
    return sa.Table(name, mapped.metadata, *columns)


ACCOUNTS = _table(
    "shop_accounts",
    sa.Column("customer_id", sa.String(18), primary_key=True),
    sa.Column("spent", Dollars, nullable=False),
    sa.Column("last_line", sa.Integer, nullable=False),
    sa.Column("events", sa.Integer, nullable=False),
)
SALES = _table(
    "shop_sales",
    sa.Column("customer_id", sa.String(18), primary_key=True),
    sa.Column("purchases", sa.Integer, nullable=False),
    sa.Column("cds", sa.BigInteger, nullable=False),
    sa.Column("dollars", Dollars, nullable=False),
    sa.Column("tier", _word(Tier), nullable=False),
    sa.Column("first_day", sa.Date),
    sa.Column("last_day", sa.Date),
    sa.Column("events", sa.Integer, nullable=False),
)
ORDERS = _table(
    "shop_orders",
    sa.Column("line", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("cds", sa.Integer, nullable=False),
    sa.Column("state", _word(OrderState), nullable=False),
    sa.Column("warehouse", sa.String(20)),
)
STOCK = _table(
    "shop_stock",
    sa.Column("warehouse", sa.String(20), primary_key=True),
    sa.Column("cds", sa.Integer, nullable=False),
)
# The bank's. It has them elsewhere, of course; here it has at least a transaction of its own for each of them.
PAYMENTS = _table(
    "shop_payments",
    sa.Column("key", sa.String(36), primary_key=True),
    sa.Column("line", sa.Integer, nullable=False),
    sa.Column("dollars", Dollars, nullable=False),
    sa.Column("is_returned", sa.Boolean, nullable=False),
)
LOG = _table(
    "shop_log", sa.Column("id", sa.String(64), primary_key=True), sa.Column("topic", sa.String(64), nullable=False)
)

mapped.map_imperatively(Account, ACCOUNTS)
mapped.map_imperatively(Sales, SALES)
mapped.map_imperatively(Order, ORDERS)
mapped.map_imperatively(Stock, STOCK)
mapped.map_imperatively(Payment, PAYMENTS)
