"""Large orders, and the stock that they are taken from: the shop's own rules, which know nothing of sagas."""

from dataclasses import dataclass
from enum import Enum

#: Who buys so many CDs at once gives an order; smaller purchases go over the counter.
LARGE = 10
#: What one parcel holds. The carrier looks at it when it is handed over, and not before.
PARCEL = 20


class OrderState(Enum):
    """Where an order stands; ``OPEN`` is not for long."""

    OPEN = "open"
    SHIPPED = "shipped"
    CANCELLED = "cancelled"


class Refused(Exception):
    """What was asked for is not done, and has left nothing behind; asked again, the answer would be the same."""


class OutOfStock(Refused):
    """A warehouse has not enough."""


@dataclass
class Stock:
    """How many CDs a warehouse has that are not reserved."""

    warehouse: str
    cds: int = 0

    @property
    def key(self) -> str:
        """What it is found by in the books."""
        return self.warehouse


#: Where an order is packed, and where it is if that has not enough.
WAREHOUSE, DEPOT = "warehouse", "depot"
#: What is there when the shop opens.
FIRST_STOCK = {WAREHOUSE: 100, DEPOT: 1500}


@dataclass
class Order:
    """
    Many CDs for one customer.

    Attributes:
        line: Where the purchase stands in the log, which identifies it.
        warehouse: Which one has them reserved, or has sent them; ``None``: none.
    """

    line: int
    cds: int
    state: OrderState = OrderState.OPEN
    warehouse: str | None = None

    @property
    def key(self) -> int:
        """What it is found by in the books."""
        return self.line

    def reserve(self, stock: Stock) -> None:
        """
        Take the CDs from *stock*, once.

        Raises:
            OutOfStock: There are not enough.
            Refused: The order is cancelled, so this comes too late.
        """
        self._check_wanted()
        if self.warehouse == stock.warehouse:
            return
        if self.cds > stock.cds:
            raise OutOfStock(f"{self.cds:,} CDs are ordered, and the {stock.warehouse} has {stock.cds:,}")
        stock.cds -= self.cds
        self.warehouse = stock.warehouse

    def release(self, stock: Stock) -> None:
        """Give back what was taken from *stock*; if that is nothing, nothing."""
        if self.warehouse == stock.warehouse:
            stock.cds += self.cds
            self.warehouse = None

    def ship(self) -> None:
        """
        Hand it over to the carrier.

        Raises:
            Refused: It is too large; or cancelled, so this comes too late.
        """
        self._check_wanted()
        if self.cds > PARCEL:
            raise Refused(f"the carrier takes parcels of at most {PARCEL} CDs, not of {self.cds:,}")
        self.state = OrderState.SHIPPED

    def cancel(self) -> None:
        """Give it up."""
        self.state = OrderState.CANCELLED

    def _check_wanted(self) -> None:
        if self.state is OrderState.CANCELLED:
            raise Refused(f"order {self.line} is cancelled")
