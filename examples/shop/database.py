"""Books in a database: the same entries as rows, in the transactions of those who ask for them."""

import uuid
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

import cqrs_core as cqrs
from cqrs_sqla import SqlAlchemyStorage, make_engine
from shop.bank import Bank
from shop.books import Books, E, Entry, K, Key
from shop.orders import FIRST_STOCK
from shop.storing import TOPIC, BooksUnusable, Storing
from shop.tables import LOG, STOCK, TABLES, mapped


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


@asynccontextmanager
async def open_books_of_bank(engine: AsyncEngine) -> AsyncIterator[Books]:
    """
    Open the bank's books, as :class:`shop.bank.Bank` has it: in a transaction of their own.

    They are not for whoever has looked into the shop's books, so that his own transaction is open: SQLite lets in one
    at a time, who would wait for himself.
    """
    try:
        async with AsyncSession(engine, expire_on_commit=False) as session, session.begin():
            yield DatabaseBooks(session)
    except DBAPIError as error:
        raise ConnectionError("the bank does not answer") from error


def make_container(engine: AsyncEngine) -> cqrs.SimpleContainer:
    """Make what gives these books to handlers: new ones for each message, with the session of its unit of work."""
    container = cqrs.SimpleContainer()
    container.scoped(Books, DatabaseBooks)
    container.instance(Bank, Bank(partial(open_books_of_bank, engine)))
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
        yield Storing(name, topic, storage, partial(make_container, engine))
    finally:
        await engine.dispose()


async def _begin(connection: AsyncConnection, log_id: str, *, fresh: bool) -> str:
    """Fill the warehouses, note which log is put into the books, and give the topic of their events."""
    if fresh:
        for table in reversed(mapped.metadata.sorted_tables):
            await connection.execute(table.delete())
    if not (await connection.execute(sa.select(STOCK))).all():
        filled = [{"warehouse": warehouse, "cds": cds} for warehouse, cds in FIRST_STOCK.items()]
        await connection.execute(STOCK.insert(), filled)
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
