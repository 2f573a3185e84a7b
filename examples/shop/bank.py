"""
The bank, which is somebody else's: what it is told, it books in transactions of its own, whatever becomes of ours.

So nobody can take back a payment by rolling back, and whoever got no answer does not know whether there was one. Every
payment has a key that the shop chooses: the same key again is the same payment.
"""

import uuid
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from decimal import Decimal

from shop.books import Books
from shop.orders import Refused


class Declined(Refused):
    """The bank pays nothing."""


def is_declined(line: int) -> bool:
    """Tell whether the bank declines to pay for the order of this *line*: for one in seven, always the same ones."""
    return line % 7 == 0


@dataclass
class Payment:
    """
    What was paid for one order.

    Attributes:
        key: What identifies it, as text.
        is_returned: Whether the money was given back.
    """

    key: str
    line: int
    dollars: Decimal
    is_returned: bool = False


class Bank:
    """Books payments, each once."""

    def __init__(self, open_books: Callable[[], AbstractAsyncContextManager[Books]]) -> None:
        """
        Take what opens the bank's own books.

        Args:
            open_books: Opens them for a block, which is a transaction. ``ConnectionError``: nobody knows whether what
                was kept in it is.
        """
        self._open_books = open_books

    async def charge(self, key: uuid.UUID, line: int, dollars: Decimal) -> None:
        """
        Take *dollars* for the order of a *line*, once for each *key*.

        Raises:
            Declined: It does not, now or ever; or the money was given back before: then this comes too late.
            ConnectionError: There was no answer. Ask again, with the same key.
        """
        if is_declined(line):
            raise Declined(f"no money for order {line}")
        async with self._open_books() as books:
            payment = await books.get(Payment, str(key))
            if payment is None:
                books.keep(Payment(str(key), line, dollars))
            elif payment.is_returned:
                raise Declined(f"the money for order {line} was given back")

    async def give_back(self, key: uuid.UUID, line: int) -> None:
        """
        Give back what was charged with this *key*; of what never was, remember that it must not be.

        Raises:
            ConnectionError: There was no answer. Ask again.
        """
        async with self._open_books() as books:
            payment = await books.get(Payment, str(key)) or Payment(str(key), line, Decimal(0))
            payment.is_returned = True
            books.keep(payment)

    async def statement(self) -> tuple[Decimal, Decimal]:
        """Tell how much was charged, and how much of it was given back."""
        async with self._open_books() as books:
            payments = await books.all(Payment)
        charged = sum((payment.dollars for payment in payments), Decimal(0))
        return charged, sum((payment.dollars for payment in payments if payment.is_returned), Decimal(0))
