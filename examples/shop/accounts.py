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


@dataclass
class Account:
    """
    What one customer has bought so far.

    Attributes:
        last_line: Where the last purchase stands in the log; 0: there was none.
        events: How many have told of all of them.
    """

    customer_id: str
    spent: Decimal = Decimal(0)
    last_line: int = 0
    events: int = 0

    @property
    def key(self) -> str:
        """What it is found by in the books."""
        return self.customer_id

    @property
    def tier(self) -> Tier:
        """The tier that the customer is in now."""
        return tier_for(self.spent)

    def book(self, line: int, dollars: Decimal) -> bool:
        """
        Add a purchase.

        Args:
            line: Its number in the log. It identifies the purchase: two lines may say the same and be two purchases.
                Those of one customer come in their order.

        Returns:
            Whether it was added; ``False`` if this line was booked before, and then nothing changes.
        """
        if line <= self.last_line:
            return False
        self.last_line = line
        self.spent += dollars
        return True
