"""Books in a database: the tables, and the same entries as rows. With SQLAlchemy, so it does not matter which one."""

import uuid
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import registry

import cqrs_core as cqrs
from cqrs_sqla import SqlAlchemyStorage, define_tables, make_engine
from shop.accounts import Account, Tier
from shop.books import Books, E, Entry, K, Key
from shop.read_model import Sales
from shop.storing import TOPIC, BooksUnusable, Storing


class Dollars(sa.TypeDecorator[Decimal]):
    """Kept as cents: SQLite knows no exact numbers but whole ones."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: sa.Dialect) -> int | None:  # noqa: ARG002
        return None if value is None else int(value.scaleb(2))

    def process_result_value(self, value: int | None, dialect: sa.Dialect) -> Decimal | None:  # noqa: ARG002
        return None if value is None else Decimal(value).scaleb(-2)


TIER = sa.Enum(Tier, native_enum=False, length=20, values_callable=lambda tiers: [tier.value for tier in tiers])

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
    sa.Column("tier", TIER, nullable=False),
    sa.Column("first_day", sa.Date),
    sa.Column("last_day", sa.Date),
    sa.Column("events", sa.Integer, nullable=False),
)
LOG = _table(
    "shop_log", sa.Column("id", sa.String(64), primary_key=True), sa.Column("topic", sa.String(64), nullable=False)
)

mapped.map_imperatively(Account, ACCOUNTS)
mapped.map_imperatively(Sales, SALES)


class DatabaseBooks(Books):
    """The books as they are seen in the transaction that the message at hand is handled in."""

    def __init__(self, session: AsyncSession) -> None:  # of the unit of work, which commits: nobody else does
        self._session = session
        self._known: dict[tuple[type, Key], Any] = {}

    async def find(self, kind: type[E], keys: Collection[K]) -> dict[K, E]:
        """As :meth:`Books.find`; until the transaction ends, others wait for what was found."""
        missing = [key for key in keys if (kind, key) not in self._known]
        if missing:
            (column,) = sa.inspect(kind).primary_key
            query = sa.select(kind).where(column.in_(missing)).with_for_update()
            with self._session.no_autoflush:  # everything is written at once, just before the commit
                self._remember(*await self._session.scalars(query))
        return {key: self._known[kind, key] for key in keys if (kind, key) in self._known}

    async def all(self, kind: type[E]) -> Collection[E]:
        """As :meth:`Books.all`."""
        return (await self._session.scalars(sa.select(kind))).all()

    def keep(self, *entries: Entry) -> None:
        """As :meth:`Books.keep`; of those that were found, every change is kept in any case."""
        self._remember(*entries)
        self._session.add_all(entries)

    def _remember(self, *entries: Entry) -> None:
        self._known.update({(type(entry), entry.key): entry for entry in entries})


def make_container() -> cqrs.SimpleContainer:
    """Make what gives these books to handlers: new ones for each message, with the session of its unit of work."""
    container = cqrs.SimpleContainer()
    container.scoped(Books, DatabaseBooks)
    return container


@asynccontextmanager
async def open_database(address: str, *, log_id: str, fresh: bool) -> AsyncIterator[Storing]:
    """Open the database at *address*, as :func:`shop.storing.open_books` has it; what is missing in it is made."""
    try:
        engine = make_engine(address)
    except cqrs.CqrsError as error:
        raise BooksUnusable(str(error)) from error
    try:
        storage = SqlAlchemyStorage(engine, tables=TABLES)
        try:
            await storage.create()
        except cqrs.CqrsError as error:
            raise BooksUnusable(str(error)) from error
        async with engine.begin() as connection:
            await connection.run_sync(mapped.metadata.create_all)
        async with engine.begin() as connection:
            topic = await _begin(connection, log_id, fresh=fresh)
        name = engine.url.set(drivername=engine.url.get_backend_name(), query={}).render_as_string()
        yield Storing(name, topic, storage, make_container)
    finally:
        await engine.dispose()


async def _begin(connection: AsyncConnection, log_id: str, *, fresh: bool) -> str:
    """Note which log is put into the books, and give the topic of their events."""
    if fresh:
        for table in mapped.metadata.sorted_tables:
            await connection.execute(table.delete())
    known = (await connection.execute(sa.select(LOG.c.id, LOG.c.topic))).one_or_none()
    if known is None:
        topic = f"{TOPIC}.{uuid.uuid4().hex}"
        await connection.execute(LOG.insert().values(id=log_id, topic=topic))
        return topic
    if known.id != log_id:
        raise BooksUnusable(
            "these books are of another log. Begin anew with --fresh, or keep this one elsewhere, such as "
            "--storage sqlite:///another.db"
        )
    return str(known.topic)
