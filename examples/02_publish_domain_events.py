"""A handler says what happened; others react, and what they say is handled in turn."""

import asyncio

import cqrs_core as cqrs


class PlaceOrder(cqrs.Request):
    order_id: str


class OrderPlaced(cqrs.DomainEvent):
    order_id: str


class ParcelPacked(cqrs.DomainEvent):
    order_id: str


class PlaceOrderHandler(cqrs.RequestHandler[PlaceOrder, None]):
    async def handle(self, request: PlaceOrder) -> None:
        print(f"placed {request.order_id}")
        self.events.append(OrderPlaced(order_id=request.order_id))  # handled when this has returned


class SendReceipt(cqrs.EventHandler[OrderPlaced]):
    async def handle(self, event: OrderPlaced) -> None:
        print(f"receipt for {event.order_id}")


class PackParcel(cqrs.EventHandler[OrderPlaced]):
    async def handle(self, event: OrderPlaced) -> None:
        print(f"packed {event.order_id}")
        self.events.append(ParcelPacked(order_id=event.order_id))  # a follow-up


class CallCarrier(cqrs.EventHandler[ParcelPacked]):
    async def handle(self, event: ParcelPacked) -> None:
        print(f"carrier called for {event.order_id}")


app = cqrs.App("orders")
app.requests.bind(PlaceOrder, PlaceOrderHandler)
for handler in (PackParcel, SendReceipt):  # they run in this order, and both before any follow-up
    app.events.bind(OrderPlaced, handler)
app.events.bind(ParcelPacked, CallCarrier)


async def main() -> None:
    async with app:
        await app.send(PlaceOrder(order_id="o-1"))
        print("all of it is done when send returns")
        await app.publish(ParcelPacked(order_id="o-2"))  # an event that no handler here has emitted


if __name__ == "__main__":
    asyncio.run(main())
