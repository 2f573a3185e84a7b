"""The App that keeps the accounts: commands come in, and events tell others what has happened."""

import cqrs_core as cqrs
from shop.accounts import Accounts
from shop.messages import EVENT_NAMES, EVENTS_TOPIC, PurchaseReceipt, PurchaseRecorded, RecordPurchase, TierChanged


def make_shop(broker: cqrs.Broker) -> cqrs.App:
    """Make a shop without customers, which publishes through *broker*; ``async with`` starts it."""
    container = cqrs.SimpleContainer()
    # A singleton: what is not registered is made anew for each handler, and nothing would be remembered.
    container.singleton(Accounts)

    shop = cqrs.App("shop", broker=broker, container=container)
    shop.requests.bind(RecordPurchase, RecordPurchaseHandler)
    # Events of one key stay in order: a customer's later tier never arrives before an earlier one.
    shop.publishes(EVENTS_TOPIC, EVENT_NAMES, key="customer_id")
    return shop


class RecordPurchaseHandler(cqrs.RequestHandler[RecordPurchase, PurchaseReceipt]):
    """Keeps the accounts, and says what happened to them."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    async def handle(self, request: RecordPurchase) -> PurchaseReceipt:
        customer_id = request.customer_id
        before = self._accounts.of(customer_id).tier
        if not self._accounts.book(request.line, customer_id, request.dollars):
            return PurchaseReceipt(events=0, tier=before)
        recorded = PurchaseRecorded(customer_id=customer_id, day=request.day, cds=request.cds, dollars=request.dollars)
        self.events.append(recorded)
        after = self._accounts.of(customer_id).tier
        if after is not before:
            self.events.append(TierChanged(customer_id=customer_id, before=before, after=after))
        return PurchaseReceipt(events=len(self.events), tier=after)
