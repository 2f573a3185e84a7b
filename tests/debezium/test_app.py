"""The whole way, as a program has it: a command, its event, the log, Debezium, Kafka, and the App that consumes."""

from __future__ import annotations

from typing import Any

import pytest

import cqrs_core as cqrs
from cqrs_kafka import KafkaBroker, KafkaSettings


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


class See(cqrs.EventHandler[Placed]):
    def __init__(self, seen: Seen) -> None:
        self._seen = seen

    async def handle(self, event: Placed) -> None:
        self._seen.orders.append(event.order_id)


async def test_what_an_app_commits_reaches_the_one_that_consumes(shop: Any, topics: Any, topic: str) -> None:
    """Neither of the two runs a relay; what was rolled back is not sent."""
    url, settings = f"{shop.url}?sent_by=debezium", KafkaSettings(servers=(topics.bootstrap,))
    sender = cqrs.App("shop", storage=url, broker=KafkaBroker(settings))
    sender.requests.bind(Place, PlaceHandler)
    sender.publishes(topic, {"Placed": Placed}, key="order_id")
    container, seen = cqrs.SimpleContainer(), Seen()
    container.instance(Seen, seen)
    receiver = cqrs.App(f"mail-{topic}", storage=url, broker=KafkaBroker(settings), container=container)
    receiver.events.bind(Placed, See)
    receiver.consume(topic, {"Placed": Placed})

    await shop.connect()
    async with receiver.running(), sender.running():
        assert (None, None) == (sender.relay, receiver.relay)
        for number in range(10):
            await sender.send(Place(str(number)))
        with pytest.raises(ValueError, match="never"):
            await sender.send(Place("never", fails=True))
        await sender.send(Place("last"))

        async def are_seen() -> bool:
            return len(seen.orders) == 11

        await shop.until(are_seen, "all are handled")

    assert {*map(str, range(10)), "last"} == set(seen.orders)
