"""The customers' accounts and their loyalty tiers: the shop's own rules, which know nothing of messages."""

from dataclasses import dataclass
from decimal import Decimal
from enum import Enum


class Tier(Enum):
    """A loyalty tier; its value is what people read, and other services."""

    BRONZE = "bronze"
    SILVER = "silver"
    GOLD = "gold"
    PLATINUM = "platinum"


#: What a customer must have spent to be in a tier, in dollars; the highest comes last.
_BEGINS_AT = {
    Tier.BRONZE: Decimal(0),
    Tier.SILVER: Decimal(100),
    Tier.GOLD: Decimal(400),
    Tier.PLATINUM: Decimal(1000),
}


def tier_for(spent: Decimal) -> Tier:
    """Answer the highest tier that *spent* dollars, zero or more, reach."""
    return [tier for tier, begins_at in _BEGINS_AT.items() if spent >= begins_at][-1]


@dataclass(slots=True)
class Account:
    """What one customer has bought so far."""

    customer_id: str
    spent: Decimal = Decimal(0)

    @property
    def tier(self) -> Tier:
        """The tier that the customer is in now."""
        return tier_for(self.spent)


class Accounts:
    """All accounts of the shop, in memory. A purchase, known by its line number, is booked once and no more."""

    def __init__(self) -> None:
        self._by_customer: dict[str, Account] = {}
        self._booked_lines: set[int] = set()

    def of(self, customer_id: str) -> Account:
        """Answer the account of *customer_id*; one that has bought nothing yet if this is a new customer."""
        return self._by_customer.get(customer_id) or Account(customer_id)

    def book(self, line: int, customer_id: str, dollars: Decimal) -> bool:
        """
        Add a purchase to a customer's account.

        Args:
            line: Its number in the log. It identifies the purchase: two lines may say the same and be two purchases.

        Returns:
            Whether it was added; ``False`` if this line was booked before, and then nothing changes.
        """
        if line in self._booked_lines:
            return False
        self._booked_lines.add(line)
        account = self._by_customer.setdefault(customer_id, Account(customer_id))
        account.spent += dollars
        return True
