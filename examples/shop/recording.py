"""The App that keeps the accounts: commands come in, and events tell others what has happened."""

import cqrs_core as cqrs
from shop.accounts import Account
from shop.books import Books
from shop.messages import (
    EVENT_NAMES,
    GetOrders,
    GetRecorded,
    PurchaseReceipt,
    PurchaseRecorded,
    Recorded,
    RecordPurchase,
    RecordPurchases,
    TierChanged,
)
from shop.ordering import GetOrdersHandler, OrderContext, OrderSaga
from shop.orders import LARGE
from shop.storing import Storing

#: Of a process that was killed, the next one takes over what that had begun after so many seconds.
TAKEN_OVER_AFTER_S = 2.0


def make_shop(storing: Storing, broker: cqrs.Broker | str) -> cqrs.App:
    """
    Make a shop; inside ``async with shop.running()`` it publishes through *broker*.

    A command is a unit of work: the accounts that it changes, the events that tell of them, and the sagas that it
    starts, are written in one transaction. The events wait in the outbox, from where ``running()`` sends them, and it
    drives the sagas.
    """
    # A step at which process after process dies is at fault, as a rule, and its saga waits for a person. This demo is
    # there to be killed, as often as anybody likes, and no step is to blame for that.
    sagas = cqrs.SagaOptions(lease_s=TAKEN_OVER_AFTER_S, max_claims=1000)
    shop = cqrs.App(
        "shop",
        storage=storing.storage,
        broker=broker,
        relay=cqrs.RelayOptions(lease_ttl_s=TAKEN_OVER_AFTER_S),
        sagas=sagas,
        container=storing.make_container(),
    )
    shop.requests.bind(RecordPurchase, RecordPurchaseHandler)
    # A database may ask for another attempt. It does no harm: a line is recorded once, however often it is sent.
    again = cqrs.RetryPolicy(max_attempts=5, delay_s=0.01)
    shop.requests.bind(RecordPurchases, RecordPurchasesHandler, retry=again)
    shop.requests.bind(GetRecorded, GetRecordedHandler)
    shop.requests.bind(GetOrders, GetOrdersHandler)
    shop.sagas.bind(OrderContext, OrderSaga)
    # Events of one key stay in order: a customer's later tier never arrives before an earlier one.
    shop.publishes(storing.topic, EVENT_NAMES, key="customer_id")
    return shop


class RecordPurchaseHandler(cqrs.RequestHandler[RecordPurchase, PurchaseReceipt]):
    """Keeps the accounts, and says what happened to them. It does not commit: that is done when it is done."""

    def __init__(self, books: Books, shop: cqrs.App) -> None:
        self._books = books
        self._shop = shop

    async def handle(self, request: RecordPurchase) -> PurchaseReceipt:
        customer_id = request.customer_id
        account = await self._books.get(Account, customer_id) or Account(customer_id)
        before = account.tier
        if not account.book(request.line, request.dollars):
            return PurchaseReceipt(events=0, tier=before)
        recorded = PurchaseRecorded(customer_id=customer_id, day=request.day, cds=request.cds, dollars=request.dollars)
        self.events.append(recorded)
        if account.tier is not before:
            self.events.append(TierChanged(customer_id=customer_id, before=before, after=account.tier))
        account.events += len(self.events)
        if request.cds >= LARGE:
            order = OrderContext(request.line, request.cds, request.dollars)
            await self._shop.start_saga(order, saga_id=order.saga_id)
        self._books.keep(account)
        return PurchaseReceipt(events=len(self.events), tier=account.tier)


class RecordPurchasesHandler(cqrs.RequestHandler[RecordPurchases, None]):
    """What a handler sends joins its unit of work: one transaction for many commands, which takes far less time."""

    def __init__(self, shop: cqrs.App) -> None:
        self._shop = shop

    async def handle(self, request: RecordPurchases) -> None:
        for purchase in request.purchases:
            await self._shop.send(purchase)


class GetRecordedHandler(cqrs.RequestHandler[GetRecorded, Recorded]):
    def __init__(self, books: Books) -> None:
        self._books = books

    async def handle(self, request: GetRecorded) -> Recorded:  # noqa: ARG002 - it asks for everything
        accounts = await self._books.all(Account)
        return Recorded(
            last_lines={account.customer_id: account.last_line for account in accounts},
            events=sum(account.events for account in accounts),
        )
