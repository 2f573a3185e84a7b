"""
What is done with a large order: steps at several places, which are all done in the end, or all undone.

A process may die between any two of them, or within one. Another one, or the same when it is started again, goes on
where the saga stands.
"""

import uuid
from decimal import Decimal

import cqrs_core as cqrs
from shop.bank import Bank
from shop.books import Books
from shop.messages import GetOrders, Orders
from shop.orders import DEPOT, WAREHOUSE, Order, OrderState, OutOfStock, Refused, Stock


class OrderContext(cqrs.SagaContext):
    """What the steps know; it is kept with the saga."""

    line: int  # what identifies the order, as it does the purchase
    cds: int
    dollars: Decimal

    @property
    def saga_id(self) -> uuid.UUID:
        """The same when the same order comes twice: its saga is started once."""
        return uuid.UUID(int=self.line)


# A database may ask for another attempt, and the bank may not answer. What was refused stays so.
AGAIN = cqrs.RetryPolicy(max_attempts=5, delay_s=0.05, give_up_on=(Refused,))


class BooksStep(cqrs.SagaStepHandler[OrderContext, None]):
    """
    A step in the shop's own books.

    Its transaction also notes that the step is done: both are, or neither, and so it is done exactly once.
    """

    transactional = True
    retry = AGAIN

    def __init__(self, books: Books) -> None:
        self._books = books

    async def order(self, context: OrderContext) -> Order:
        """Find the order; one that is not in the books yet is a new one."""
        return await self._books.get(Order, context.line) or Order(context.line, context.cds)


class PlaceOrder(BooksStep):
    async def act(self, context: OrderContext) -> cqrs.SagaStepResult[OrderContext, None]:
        self._books.keep(await self.order(context))
        return self.result()

    async def compensate(self, context: OrderContext) -> None:
        order = await self.order(context)
        order.cancel()
        self._books.keep(order)


class ReserveStock(BooksStep):
    warehouse = WAREHOUSE

    async def act(self, context: OrderContext) -> cqrs.SagaStepResult[OrderContext, None]:
        order, stock = await self.order(context), await self.stock()
        order.reserve(stock)
        self._books.keep(order, stock)
        return self.result()

    async def compensate(self, context: OrderContext) -> None:
        order, stock = await self.order(context), await self.stock()
        order.release(stock)
        self._books.keep(order, stock)

    async def stock(self) -> Stock:
        """Find what the warehouse has."""
        return await self._books.get(Stock, self.warehouse) or Stock(self.warehouse)


class ReserveStockInDepot(ReserveStock):
    warehouse = DEPOT


class Charge(cqrs.SagaStepHandler[OrderContext, None]):
    """
    A step at somebody else's, which no transaction of ours holds together with the note that it is done.

    If the process dies between the two, the step is done again; the key tells the bank that it is the same one.
    """

    retry = AGAIN

    def __init__(self, bank: Bank) -> None:
        self._bank = bank

    async def act(self, context: OrderContext) -> cqrs.SagaStepResult[OrderContext, None]:
        await self._bank.charge(cqrs.current_step().idempotency_key, context.line, context.dollars)
        return self.result()

    async def compensate(self, context: OrderContext) -> None:
        await self._bank.give_back(cqrs.current_step().act_key, context.line)


class Ship(BooksStep):
    async def act(self, context: OrderContext) -> cqrs.SagaStepResult[OrderContext, None]:
        order = await self.order(context)
        order.ship()
        self._books.keep(order)
        return self.result()


class OrderSaga(cqrs.Saga[OrderContext]):
    steps = [
        PlaceOrder,
        cqrs.Fallback(ReserveStock, ReserveStockInDepot, failure_exceptions=(OutOfStock,)),
        Charge,
        Ship,
    ]


class GetOrdersHandler(cqrs.RequestHandler[GetOrders, Orders]):
    def __init__(self, books: Books, bank: Bank) -> None:
        self._books = books
        self._bank = bank

    async def handle(self, request: GetOrders) -> Orders:  # noqa: ARG002 - it asks for everything
        # Before the books: from when they are read, our transaction is open, and in SQLite the bank would wait for it.
        charged, returned = await self._bank.statement()
        orders = await self._books.all(Order)
        shipped = [order for order in orders if order.state is OrderState.SHIPPED]
        return Orders(
            orders=len(orders),
            shipped=len(shipped),
            cancelled=sum(order.state is OrderState.CANCELLED for order in orders),
            cds_shipped=sum(order.cds for order in shipped),
            cds_in_stock=sum(stock.cds for stock in await self._books.all(Stock)),
            charged=charged,
            returned=returned,
        )
