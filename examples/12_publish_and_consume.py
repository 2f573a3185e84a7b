"""Events go from one App to another through a broker, as they would between two programs."""

import asyncio

import cqrs_core as cqrs

parcels: asyncio.Queue[str] = asyncio.Queue()


class PlaceOrder(cqrs.Request):
    order_id: str
    customer: str


class OrderPlaced(cqrs.DomainEvent):  # as the shop has it
    order_id: str
    customer: str


class OrderToPack(cqrs.DomainEvent):  # as the warehouse has it: the two share a name on the wire, and no class
    order_id: str


class PlaceOrderHandler(cqrs.RequestHandler[PlaceOrder, None]):
    async def handle(self, request: PlaceOrder) -> None:
        self.events.append(OrderPlaced(request.order_id, request.customer))


class Pack(cqrs.EventHandler[OrderToPack]):
    async def handle(self, event: OrderToPack) -> None:
        message = cqrs.current_message()  # what came along with the event; None if it came from no broker
        assert message is not None  # noqa: S101 - for type checkers
        await parcels.put(f"{message.name} in {message.topic}: pack {event.order_id} for {message.key}")


async def main() -> None:
    broker = cqrs.MemoryBroker()  # both hold the same; of a broker outside, both would be given the URL

    shop = cqrs.App("shop", broker=broker)
    shop.requests.bind(PlaceOrder, PlaceOrderHandler)
    shop.publishes("orders", {"OrderPlaced": OrderPlaced}, key="customer")  # those of one customer stay in order

    warehouse = cqrs.App("warehouse", broker=broker)
    warehouse.events.bind(OrderToPack, Pack)
    warehouse.consume("orders", {"OrderPlaced": OrderToPack})

    async with warehouse.running(), shop:  # who consumes comes first: it receives what is sent from then on
        for order_id in ("o-1", "o-2", "o-3"):
            await shop.send(PlaceOrder(order_id, customer="Ada"))
        for _ in range(3):
            print(await parcels.get())


if __name__ == "__main__":
    asyncio.run(main())
