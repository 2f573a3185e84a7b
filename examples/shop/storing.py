"""Where the books are kept, as the command line says: all that depends on it comes from here."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass

import cqrs_core as cqrs
from shop.bank import Bank
from shop.books import Books, MemoryBooks
from shop.orders import FIRST_STOCK, Stock

IN_MEMORY = "memory"
TOPIC = "shop.events"


class BooksUnusable(Exception):
    """The books cannot be used; the text says why, and what to do."""


@dataclass(frozen=True)
class Storing:
    """
    What both Apps are made with.

    Attributes:
        name: Where the books are, for people; without a password.
        topic: Where the events of these books go. A broker may still have those of others, which were begun before.
        storage: Gives each message its transaction, and keeps the outbox, the inbox and the sagas.
        make_container: Makes what gives :class:`Books` and the :class:`Bank` to the handlers of one App.
    """

    name: str
    topic: str
    storage: cqrs.Storage
    make_container: Callable[[], cqrs.SimpleContainer]


def open_books(address: str, *, log_id: str, fresh: bool) -> AbstractAsyncContextManager[Storing]:
    """
    Open the books, for a block.

    Args:
        address: ``memory``, or the URL of a database.
        log_id: Tells which log is put into them: a line is known by its number, so they can hold but one.
        fresh: Whether to forget what an earlier run has left there.

    Raises:
        BooksUnusable: They cannot be opened, or are those of another log.
    """
    if address == IN_MEMORY:
        return _open_memory()
    try:
        from shop.database import open_database  # noqa: PLC0415 - a bare core has no SQLAlchemy
    except ModuleNotFoundError as error:
        cure = f"Install it, python -m pip install './cqrs_sqla[sqlite]', or try --storage {IN_MEMORY}."
        raise BooksUnusable(f"books in a database need {error.name}, which is not installed. {cure}") from error
    return open_database(address, log_id=log_id, fresh=fresh)


@asynccontextmanager
async def _open_memory() -> AsyncIterator[Storing]:
    books, books_of_bank = MemoryBooks(), MemoryBooks()
    bank = Bank(lambda: nullcontext(books_of_bank))
    books.keep(*(Stock(warehouse, cds) for warehouse, cds in FIRST_STOCK.items()))

    def make_container() -> cqrs.SimpleContainer:
        container = cqrs.SimpleContainer()
        container.instance(Books, books)
        container.instance(Bank, bank)
        return container

    yield Storing(IN_MEMORY, TOPIC, cqrs.MemoryStorage(), make_container)
