"""An App with a storage and a broker: events go by the outbox and the relay, and come back through the inbox."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest

import cqrs_core as cqrs
from cqrs_core.envelope import Envelope
from cqrs_core.errors import RelayRefused


class Place(cqrs.Request[str]):
    order_id: str
    fails: bool = False


class Placed(cqrs.DomainEvent):
    order_id: str


class PlaceHandler(cqrs.RequestHandler[Place, str]):
    async def handle(self, request: Place) -> str:
        self.events.append(Placed(request.order_id))
        if request.fails:
            raise ValueError(request.order_id)
        return request.order_id


class Seen:
    def __init__(self) -> None:
        self.orders: list[str] = []
        self.attempts = 0


class See(cqrs.EventHandler[Placed]):
    def __init__(self, seen: Seen) -> None:
        self._seen = seen

    async def handle(self, event: Placed) -> None:
        self._seen.attempts += 1
        self._seen.orders.append(event.order_id)


@pytest.fixture
def seen() -> Seen:
    return Seen()


def make_shop(storage: cqrs.Storage, broker: cqrs.Broker | None = None, **options: Any) -> cqrs.App:
    shop = cqrs.App("shop", storage=storage, broker=broker, **options)
    shop.requests.bind(Place, PlaceHandler)
    shop.publishes("orders", {"Placed": Placed}, key="order_id")
    return shop


def make_mail(storage: cqrs.Storage, broker: cqrs.Broker, seen: Seen) -> cqrs.App:
    container = cqrs.SimpleContainer()
    container.instance(Seen, seen)
    mail = cqrs.App("mail", storage=storage, broker=broker, container=container)
    mail.events.bind(Placed, See)
    mail.consume("orders", {"Placed": Placed})
    return mail


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(30):
        while not condition():
            await anyio.lowlevel.checkpoint()


async def test_what_is_committed_is_relayed_and_handled_once(seen: Seen) -> None:
    """The whole way: unit of work, outbox, relay, broker, consumer, inbox."""
    storage, broker = cqrs.MemoryStorage(), cqrs.MemoryBroker()
    shop, mail = make_shop(storage, broker), make_mail(storage, broker, seen)
    async with mail.running(), shop.running():
        for number in range(20):
            await shop.send(Place(str(number)))
        with pytest.raises(ValueError, match="never"):
            await shop.send(Place("never", fails=True))
        await until(lambda: len(seen.orders) == 20)
        # Both have the storage, and so a relay: they share what waits in it.
        await until(lambda: sum(app.relay.counts["sent"] for app in (shop, mail) if app.relay is not None) == 20)
        assert [] == list(await storage.outbox.pending())
    assert {str(number) for number in range(20)} == set(seen.orders)


async def test_without_the_relay_events_wait_in_the_outbox(seen: Seen) -> None:
    """``async with app:`` commits; sending is for whoever runs the loops, in this process or another."""
    storage, broker = cqrs.MemoryStorage(), cqrs.MemoryBroker()
    shop, mail = make_shop(storage, broker), make_mail(storage, broker, seen)
    async with mail.running(only=["consumers"]):
        async with shop:
            await shop.send(Place("1"))
        assert ["1"] == [record.envelope.key for record in await storage.outbox.pending()]
        async with shop.running(only=["relay"]):
            await until(lambda: seen.orders == ["1"])


class ElsewhereStorage(cqrs.MemoryStorage):
    """Its outbox is sent by somebody else."""

    sent_by = "Debezium"


async def test_an_outbox_that_somebody_else_sends_has_no_relay(seen: Seen) -> None:
    """The other loops run; who asks for a relay, or has settings for one, is told."""
    storage, broker = ElsewhereStorage(), cqrs.MemoryBroker()
    mail = make_mail(storage, broker, seen)
    async with mail.running():
        assert mail.relay is None
        assert 1 == len(mail.consumers)
    shop = make_shop(storage, broker)
    with pytest.raises(RelayRefused, match="sent by Debezium") as caught:
        async with shop.running(only=["relay"]):
            pass
    assert "Debezium" == caught.value.sent_by
    with_settings = make_shop(storage, broker, relay=cqrs.RelayOptions())
    with pytest.raises(RelayRefused):
        async with with_settings.running():
            pass


async def test_a_message_that_comes_twice_is_handled_once(seen: Seen) -> None:
    """At least once becomes once, for effects in the same storage: the inbox knows the message by its id."""
    storage, broker = cqrs.MemoryStorage(), cqrs.MemoryBroker(partitions=1)
    mail = make_mail(storage, broker, seen)
    headers = {"ce_id": str(uuid.uuid4()), "ce_type": "Placed", "ce_source": "shop", "ce_specversion": "1.0"}
    async with mail.running():
        for _ in range(3):
            await broker.send(Envelope("orders", b'{"order_id":"1"}', "1", headers))
        await until(lambda: mail.consumers[0].counts["handled"] == 3)
    assert ["1"] == seen.orders


async def test_an_app_relays_to_the_broker_of_its_own(seen: Seen) -> None:
    """With a storage and nothing else, events that it publishes and consumes elsewhere go round in this process."""
    storage = cqrs.MemoryStorage()
    shop = make_shop(storage)
    async with shop.running():
        await shop.send(Place("1"))
        await until(lambda: shop.relay is not None and shop.relay.counts["sent"] == 1)
    assert [] == seen.orders


async def test_the_relay_stops_before_the_consumers(seen: Seen) -> None:
    """A broker in memory answers when the consumers are done: they must not be gone while the relay waits for it."""
    storage, broker = cqrs.MemoryStorage(), cqrs.MemoryBroker()
    container = cqrs.SimpleContainer()
    container.instance(Seen, seen)
    app = cqrs.App("both", storage=storage, broker=broker, container=container)
    app.requests.bind(Place, PlaceHandler)
    app.publishes("orders", {"Placed": Placed}, key="order_id")
    app.events.bind(Arrived, Receive)
    app.consume("orders", {"Placed": Arrived})
    with anyio.fail_after(5):
        async with app.running():
            await app.send(Place("1"))
            await until(lambda: app.relay is not None and app.relay.counts["sent"] == 1)
            await app.send(Place("2"))
    assert {"1"} <= set(seen.orders)


class Arrived(cqrs.DomainEvent):
    order_id: str


class Receive(cqrs.EventHandler[Arrived]):
    def __init__(self, seen: Seen) -> None:
        self._seen = seen

    async def handle(self, event: Arrived) -> None:
        self._seen.orders.append(event.order_id)
