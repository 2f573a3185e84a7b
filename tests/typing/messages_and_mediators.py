"""What type checkers infer. Never run: mypy --strict and strict pyright must both accept every line."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import InitVar, asdict, dataclass, field, fields, replace
from decimal import Decimal
from typing import Any, ClassVar, Generic, TypeVar

from typing_extensions import assert_type

import cqrs_core as cqrs
from cqrs_core import bootstrap
from cqrs_core.saga.storage import SagaFigures, SagaQuery, SagaRecord, SagaStorage

T = TypeVar("T")


# Messages ------------------------------------------------------------------------------------------------------------


class OrderCreated(cqrs.Response, frozen=True, kw_only=True):
    order_id: str


class CreateOrder(cqrs.Request[OrderCreated]):
    order_id: str
    amount: Decimal = Decimal(0)
    tags: list[str] = field(default_factory=list[str])
    version: ClassVar[int] = 1
    raw: InitVar[str] = ""
    note: str = field(default="", kw_only=True)


class CreateGift(CreateOrder):
    wrapping: str = "paper"


class Page(cqrs.Request[list[T]], Generic[T]):
    items: list[T]


class Fire(cqrs.Request):  # without parameter: answered by None
    at: int


class Count(cqrs.Request[int]):
    to: int


class ByHand(cqrs.Request[int]):
    def __init__(self, user_id: str) -> None:
        self.user_id = user_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Decorated(cqrs.Request[int]):
    sku: str


class OrderPlaced(cqrs.DomainEvent):
    order_id: str


class Joined(cqrs.Response):
    user_id: str


class UserJoined(cqrs.NotificationEvent[Joined]):
    event_name: str = "UserJoined"


def messages() -> None:
    order = CreateOrder("o-1", Decimal(1), ["x"], "raw", note="n")
    fields(CreateOrder)
    asdict(order)
    assert_type(replace(order, order_id="o-2"), CreateOrder)
    order.order_id = "o-2"
    OrderCreated(order_id="o-1").order_id = "o-2"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    OrderPlaced("o-1").order_id = "o-2"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    CreateOrder(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    CreateOrder()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    CreateOrder("o-1", Decimal(1), [], "raw", "n")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    OrderCreated("o-1")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    assert_type(UserJoined(payload=Joined("u-1")).payload, Joined)
    assert_type(cqrs.NotificationEvent(event_name="n", payload=Joined("u-1")), cqrs.NotificationEvent[Joined])


# Handlers ------------------------------------------------------------------------------------------------------------


class CreateOrderHandler(cqrs.RequestHandler[CreateOrder, OrderCreated]):
    async def handle(self, request: CreateOrder) -> OrderCreated:
        self.events.append(OrderPlaced(request.order_id))
        assert_type(self.events, list[cqrs.Event])
        return OrderCreated(order_id=request.order_id)


class OldStyle(cqrs.RequestHandler[CreateOrder, OrderCreated]):
    def __init__(self) -> None:
        self._events: list[cqrs.Event] = []

    @property
    def events(self) -> list[cqrs.Event]:
        return self._events

    async def handle(self, request: CreateOrder) -> OrderCreated:
        return OrderCreated(order_id=request.order_id)


class CountHandler(cqrs.StreamingRequestHandler[Count, int]):
    async def handle(self, request: Count) -> AsyncIterator[int]:
        for number in range(request.to):
            yield number


class FireHandler(cqrs.RequestHandler[Fire, None]):
    async def handle(self, request: Fire) -> None:
        return None


class Link(cqrs.CORRequestHandler[CreateOrder, OrderCreated]):
    async def handle(self, request: CreateOrder) -> OrderCreated | None:
        assert_type(await self.next(request), "OrderCreated | None")
        return await self.next(request)


class OnOrderPlaced(cqrs.EventHandler[OrderPlaced]):
    async def handle(self, event: OrderPlaced) -> None:
        return None


class OnJoined(cqrs.EventHandler[cqrs.NotificationEvent[Joined]]):
    async def handle(self, event: cqrs.NotificationEvent[Joined]) -> None:
        assert_type(event.payload, Joined)


# Maps ----------------------------------------------------------------------------------------------------------------


def maps(requests: cqrs.RequestMap, events: cqrs.EventMap) -> None:
    requests.bind(CreateOrder, CreateOrderHandler)
    requests.bind(CreateOrder, OldStyle)
    requests.bind(Count, CountHandler)
    requests.bind(CreateOrder, [Link, Link])
    requests.add(CreateOrderHandler)
    events.bind(OrderPlaced, OnOrderPlaced)
    events.bind(cqrs.NotificationEvent[Joined], OnJoined)
    events.bind(UserJoined, OnJoined)
    requests.bind(CreateOrder, FireHandler)  # type: ignore[misc]  # pyright: ignore[reportArgumentType]
    requests.bind(CreateOrder, [Link, FireHandler])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    events.bind(OrderPlaced, OnJoined)  # type: ignore[misc]  # pyright: ignore[reportArgumentType]


# Mediators -----------------------------------------------------------------------------------------------------------


async def mediators() -> None:
    mediator = bootstrap.bootstrap(commands_mapper=lambda requests: requests.add(CreateOrderHandler))
    assert_type(mediator, cqrs.RequestMediator)
    assert_type(await mediator.send(CreateOrder("o-1")), OrderCreated)
    assert_type(await mediator.send(CreateGift("o-1", wrapping="silk")), OrderCreated)
    assert_type(await mediator.send(Page([1])), list[int])
    assert_type(await mediator.send(Page[str]([])), list[str])
    assert_type(await mediator.send(Fire(1)), None)
    assert_type(await mediator.send(ByHand("u-1")), int)
    assert_type(await mediator.send(Decorated(sku="x")), int)
    (await mediator.send(CreateOrder("o-1"))).nothing  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    await mediator.send(OrderPlaced("o-1"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    streams = bootstrap.bootstrap_streaming(commands_mapper=lambda requests: requests.add(CountHandler))
    assert_type(streams.stream(Count(3)), AsyncGenerator[int, None])
    async for number in streams.stream(Count(3)):
        assert_type(number, int)


async def apps() -> None:
    app = cqrs.App(
        "orders", middlewares=[Timing(), cqrs.LoggingMiddleware(), as_function], event_middlewares=[Timing()]
    )
    async with app as entered:
        assert_type(entered, cqrs.App)
        assert_type(await app.send(CreateOrder("o-1")), OrderCreated)
        async for number in app.stream(Count(3)):
            assert_type(number, int)


class Timing:
    async def __call__(self, message: Any, handle: Any) -> Any:
        return await handle(message)


async def as_function(request: Any, handle: Any) -> Any:
    return await handle(request)


# Sagas ---------------------------------------------------------------------------------------------------------------


class Shipment(cqrs.SagaContext):
    order_id: str
    tracking: str | None = None


class Pack(cqrs.SagaStepHandler[Shipment, OrderCreated]):
    async def act(self, context: Shipment) -> cqrs.SagaStepResult[Shipment, OrderCreated]:
        assert_type(context.tracking, str | None)
        assert_type(self.result(OrderCreated(order_id="o-1")), cqrs.SagaStepResult[Shipment, OrderCreated])
        return self.result(OrderCreated(order_id="o-1"))


class ShipmentSaga(cqrs.Saga[Shipment]):
    steps = (Pack, cqrs.Fallback(Pack, Pack), cqrs.Step(Pack, id="again", timeout_s=1.5))


async def sagas() -> None:
    app = cqrs.App("shipments")
    app.sagas.bind(Shipment, ShipmentSaga)
    Shipment("o-1", "t-1")
    Shipment()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    async for result in app.stream_saga(Shipment("o-1")):
        assert_type(result, cqrs.SagaStepResult[Shipment, Any])
    assert_type(app.saga_storage, SagaStorage)
    async with app.saga_administration() as administration:
        assert_type(await administration.storage.find(SagaQuery()), Sequence[SagaRecord])
        assert_type(await administration.storage.figures(), SagaFigures)
    mediator = bootstrap.bootstrap_sagas(sagas_mapper=lambda sagas: sagas.bind(Shipment, ShipmentSaga))
    async for result in mediator.stream(Shipment("o-1"), saga_id=await app.start_saga(Shipment("o-2"))):
        assert_type(result.step_type, type[cqrs.SagaStepHandler[Shipment, Any]])


# Containers ----------------------------------------------------------------------------------------------------------


class Orders:
    pass


class SqlOrders(Orders):
    def __init__(self, url: str) -> None:
        self.url = url


def make_orders() -> SqlOrders:
    return SqlOrders("url")


async def containers() -> None:
    container = cqrs.SimpleContainer()
    container.singleton(Orders, make_orders)
    container.instance(Orders, SqlOrders("url"))
    assert_type(await container.resolve(Orders), Orders)
    async with container.scope({Orders: SqlOrders("url")}) as scope:
        assert_type(await scope.resolve(Orders), Orders)
    with container.override(Orders, SqlOrders("other")):
        pass
    takes_any_container(container)


def takes_any_container(container: cqrs.Container) -> Sequence[object]:
    return [container]
