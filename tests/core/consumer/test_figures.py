"""What a consumer tells an observer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cqrs_core as cqrs
from cqrs_core.concurrency import Gate
from cqrs_core.consumer import METRICS

if TYPE_CHECKING:
    from conftest import Desk


async def test_an_observer_is_told_what_became_of_messages(desk: Desk, notebook: Any) -> None:
    """By group and topic: the same numbers as in ``counts``, and how long each attempt took."""
    retries = cqrs.RetryPolicy(max_attempts=2, delay_s=1, jitter=0)
    shop, by_shop = desk.app(observer=notebook, retry=retries, retry_topic_delays_s=[30])
    bank, by_bank = desk.app("bank", observer=notebook, on_dead="park")
    by_shop.fails["a"] = [ValueError()] * 4
    by_bank.fails["a"] = [ValueError()]
    async with shop.running(), bank.running():
        await desk.send("a", "b")
        await desk.send("x", ce_type="Other", key="x")
        for delay_s in (1, 30, 1):
            await desk.settle()
            await desk.clock.advance(delay_s)
        await desk.until(lambda: shop.consumers[0].counts["dead_lettered"] == 1)
        await desk.until(lambda: bank.consumers[0].counts["parked"] == 1)
    assert {
        "handled shop payments": 1,
        "failed shop payments": 4,
        "skipped shop payments": 1,
        "retried shop payments": 1,
        "dead_lettered shop payments": 1,
        "failed bank payments": 1,
        "skipped bank payments": 1,
        "dead_lettered bank payments": 1,
        "parked bank payments": 1,
    } == notebook.totals
    assert [0.0] * 5 == notebook.values["attempt shop payments"]
    assert notebook.metrics == set(METRICS)


async def test_attempts_of_batches_are_timed_and_their_messages_counted(desk: Desk, notebook: Any) -> None:
    """One attempt, however many messages."""
    app, book = desk.app(observer=notebook, in_batches=True)
    take = book.take

    async def take_long(what: str) -> None:
        await desk.clock.sleep(2.5)
        await take(what)

    book.take = take_long  # type: ignore[method-assign]  # for this test
    subscription = await desk.broker.subscribe(["payments"], group="shop", on_revoked=_nothing)
    await desk.send("a", "b", "c")
    await subscription.close()
    async with app.running():
        await desk.clock.until_asleep(2)
        await desk.clock.advance(2.5)
        await desk.until(lambda: book.done == ["a b c"])
        await desk.until(lambda: app.consumers[0].counts["handled"] == 3)
    assert {"handled shop payments": 3} == notebook.totals
    assert [2.5] == notebook.values["attempt shop payments"]


async def test_what_becomes_of_a_message_that_failed_is_no_part_of_the_attempt(desk: Desk, notebook: Any) -> None:
    """To send it to the dead letters may take long; that says nothing about the handler."""

    class Slow(cqrs.MemoryBroker):
        async def send(self, envelope: cqrs.Envelope) -> None:
            if envelope.topic.endswith(".dead"):
                await desk.clock.sleep(5.0)
            await super().send(envelope)

    desk.broker = Slow()
    app, book = desk.app(observer=notebook, retry=cqrs.RetryPolicy(max_attempts=1))
    book.fails = {"a": [ValueError("a")]}
    async with app.running():
        await desk.send("a")
        await desk.clock.until_asleep(2)
        await desk.clock.advance(5.0)
        await desk.until(lambda: app.consumers[0].counts["dead_lettered"] == 1)
    assert [0.0] == notebook.values["attempt shop payments"]


async def _nothing(_: object) -> None:
    """For subscriptions to which it is all the same."""


async def test_gauges_are_told_every_quarter_of_a_minute(desk: Desk, notebook: Any) -> None:
    """Of a partition that has gone to another member, nothing is left here."""
    desk.broker = cqrs.MemoryBroker(partitions=2)
    await desk.broker.start()
    app, book = desk.app(observer=notebook)
    other, _ = desk.app()
    async with app.running():
        await desk.until(lambda: "in_flight shop" in notebook.values)
        may_end = Gate()

        async def take(_what: str) -> None:
            await may_end.wait()

        book.take = take  # type: ignore[method-assign]  # for this test
        await desk.send("a", "b", key="k")
        await desk.until(lambda: app.consumers[0].status().received == 2)
        await desk.clock.advance(15)
        await desk.settle()
        assert [0, 1] == notebook.values["in_flight shop"]
        assert [0, 2] == notebook.values["received shop"]
        lags = {place: values for place, values in notebook.values.items() if place.startswith("lag")}
        assert [(0, 0), (0, 2)] == sorted(tuple(values) for values in lags.values())
        may_end.open()
        await desk.until(lambda: app.consumers[0].status().received == 0)
        gone = await _leave_one(desk, app, other, notebook)
        assert 1 == len(gone)
        for place in gone:
            assert 0 == notebook.values[place][-1]
    await desk.broker.stop()


async def _leave_one(desk: Desk, app: cqrs.App, other: cqrs.App, notebook: Any) -> list[str]:
    """Let another member take one of the two partitions, and give those of which the first is told no more."""
    lengths = {place: len(values) for place, values in notebook.values.items() if place.startswith("lag")}
    async with other.running():
        await desk.until(lambda: len(app.consumers[0].status().lag or ()) == 1)
        await desk.clock.advance(15)
        await desk.settle()
        await desk.clock.advance(15)
        await desk.settle()
    return [place for place, length in lengths.items() if len(notebook.values[place]) == length + 1]
