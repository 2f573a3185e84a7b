"""What a relay tells an observer."""

from __future__ import annotations

import logging
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import anyio
import anyio.lowlevel
import pytest

import cqrs_core as cqrs
from cqrs_core import errors
from cqrs_core.broker import SendOutcome, SendStatus
from cqrs_core.concurrency import Gate
from cqrs_core.envelope import Envelope
from cqrs_core.memory import MemoryStorage
from cqrs_core.observer import Metric
from cqrs_core.relay import OutboxRelay, RelayOptions
from cqrs_core.resilience import RetryPolicy
from cqrs_core.testing import VirtualClock


class Notebook:
    """Writes everything down."""

    def __init__(self) -> None:
        self.totals: dict[tuple[str, str], int] = defaultdict(int)
        self.values: dict[tuple[str, str], float] = {}
        self.series: dict[tuple[str, str], list[float]] = defaultdict(list)
        self.metrics: set[Metric] = set()

    def add(self, metric: Metric, number: int, attributes: Mapping[str, str]) -> None:
        self.totals[self._place(metric, "counter", attributes)] += number

    def set(self, metric: Metric, value: float, attributes: Mapping[str, str]) -> None:
        self.values[self._place(metric, "gauge", attributes)] = value

    def record(self, metric: Metric, value: float, attributes: Mapping[str, str]) -> None:
        self.series[self._place(metric, "histogram", attributes)].append(value)

    def _place(self, metric: Metric, kind: str, attributes: Mapping[str, str]) -> tuple[str, str]:
        assert kind == metric.kind
        self.metrics.add(metric)
        return metric.name.removeprefix("cqrs.outbox."), ",".join(attributes.values())


class Courier:
    """A broker that does with each body what it is told to, and takes a second for a batch."""

    is_durable = keeps_order_after_failure = True

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.fates: dict[str, list[SendStatus]] = {}

    async def send_many(self, envelopes: Sequence[Envelope]) -> Sequence[SendOutcome]:
        await self._clock.sleep(1.0)
        return [self._fate(envelope.body.decode()) for envelope in envelopes]

    def _fate(self, body: str) -> SendOutcome:
        status = self.fates[body].pop(0) if self.fates.get(body) else SendStatus.DELIVERED
        return SendOutcome(status, None if status is SendStatus.DELIVERED else OSError(status.value))


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
async def storage(clock: VirtualClock) -> AsyncIterator[MemoryStorage]:
    storage = MemoryStorage(clock=clock)
    await storage.start()
    yield storage
    await storage.stop()


@pytest.fixture
def notebook() -> Notebook:
    return Notebook()


async def commit(storage: MemoryStorage, topic: str, *bodies: str) -> None:
    unit = storage.unit_of_work()
    unit.enqueue(
        [Envelope(topic, body.encode(), body, {"ce_id": str(uuid.uuid4()), "ce_type": "T"}) for body in bodies]
    )
    await unit.commit()
    await unit.close()


def make_relay(storage: MemoryStorage, broker: Courier, clock: VirtualClock, **beside: Any) -> OutboxRelay:
    options = RelayOptions(retry=RetryPolicy(max_attempts=2, delay_s=60.0), observe_every_s=15.0)
    lease = storage.outbox.lease("relay", ttl_s=options.lease_ttl_s)
    return OutboxRelay(lease, broker, options=options, clock=clock, **beside)  # type: ignore[arg-type]  # a part of one


@asynccontextmanager
async def running(relay: OutboxRelay) -> AsyncIterator[None]:
    stopping = Gate()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(relay.run, stopping)
        try:
            yield
        finally:
            stopping.open()


async def until(clock: VirtualClock, condition: Callable[[], bool]) -> None:
    with anyio.fail_after(30):
        while True:
            for _ in range(30):
                await anyio.lowlevel.checkpoint()
                if condition():
                    return
            await clock.advance(0.05)


async def test_what_is_sent_is_counted_by_topic_and_measured(
    storage: MemoryStorage, clock: VirtualClock, notebook: Notebook
) -> None:
    """How long each part of a batch took, and how long each message has waited."""
    await commit(storage, "orders", "1", "2")
    await clock.advance(5.0)
    await commit(storage, "mail", "3")
    relay = make_relay(storage, Courier(clock), clock, observer=notebook)
    async with running(relay):
        await until(clock, lambda: relay.counts["sent"] == 3)

    assert {("sent", "orders"): 2, ("sent", "mail"): 1} == dict(notebook.totals)
    assert [3] == notebook.series["batch", ""]
    assert [1.0] == pytest.approx(notebook.series["send", ""], abs=0.1)
    assert [6.0, 6.0] == pytest.approx(notebook.series["delay", "orders"], abs=0.2)
    assert [1.0] == pytest.approx(notebook.series["delay", "mail"], abs=0.2)
    assert 1 == len(notebook.series["remove", ""])
    assert notebook.series["fetch", ""]


async def test_what_goes_wrong_is_counted(storage: MemoryStorage, clock: VirtualClock, notebook: Notebook) -> None:
    """What was refused, given up, and not taken because the broker was away."""
    courier = Courier(clock)
    courier.fates = {"1": [SendStatus.REFUSED, SendStatus.REFUSED], "2": [SendStatus.UNAVAILABLE]}
    await commit(storage, "orders", "1", "2")
    relay = make_relay(storage, courier, clock, observer=notebook)
    async with running(relay):
        await until(clock, lambda: relay.counts["sent"] == 1 == relay.counts["buried"])

    expected = {("refused", "orders"): 2, ("buried", "orders"): 1, ("outages", ""): 1, ("sent", "orders"): 1}
    assert expected == dict(notebook.totals)
    assert {"refused": 2, "buried": 1, "outages": 1, "sent": 1} == dict(relay.counts)


async def test_what_was_committed_late_is_counted(
    storage: MemoryStorage, clock: VirtualClock, notebook: Notebook
) -> None:
    """It stands before what was read already."""

    class Late:
        """An outbox of which the second message is seen before the first."""

        def __init__(self) -> None:
            self._lease = storage.outbox.lease("relay", ttl_s=30)
            self.hides = True

        def __getattr__(self, name: str) -> Any:
            return getattr(self._lease, name)

        async def fetch(self, **options: Any) -> Any:
            return [record for record in await self._lease.fetch(**options) if record.position > 1 or not self.hides]

    lease = Late()
    await commit(storage, "orders", "1", "2")
    relay = OutboxRelay(lease, Courier(clock), observer=notebook, clock=clock)  # type: ignore[arg-type]  # a part of one
    async with running(relay):
        await until(clock, lambda: relay.counts["sent"] == 1)
        lease.hides = False
        await until(clock, lambda: relay.counts["sent"] == 2)

    assert 1 == notebook.totals["found_late", ""]


async def test_the_whole_outbox_is_looked_at_now_and_then(
    storage: MemoryStorage, clock: VirtualClock, notebook: Notebook
) -> None:
    """Gauges tell how it does, for all relays; one that has gone has nothing."""
    courier = Courier(clock)
    courier.fates = {"1": [SendStatus.REFUSED], "3": [SendStatus.PERMANENT]}
    await commit(storage, "orders", "1", "2", "3")
    other = storage.outbox.lease("other", ttl_s=20.0)
    await other.renew()
    await other.rebalance()
    relay = make_relay(storage, courier, clock, observer=notebook, keeper=storage.outbox_keeper)
    values = notebook.values
    async with running(relay):
        await until(clock, lambda: values.get(("relays", "")) == 2)
        (theirs,) = (name for name, value in values.items() if name[0] == "slots" and value == 64)
        await until(clock, lambda: values["parked_keys", ""] == 1)

    assert "other" in theirs[1]
    assert 0 == values[theirs]
    assert 64 == sum(value for (name, _), value in values.items() if name == "slots")
    expected = {"dead": 1, "waiting": 1, "halted": 0, "relays": 1, "free_slots": 0}
    assert expected == {name: values[name, ""] for name in expected}
    assert 30.0 == pytest.approx(values["oldest_age", ""], abs=5.0)


async def test_an_outbox_that_cannot_be_looked_at_is_relayed_all_the_same(
    storage: MemoryStorage, clock: VirtualClock, notebook: Notebook, caplog: pytest.LogCaptureFixture
) -> None:
    """To observe must do no harm."""
    failures: list[Exception] = [errors.StorageUnavailable("the database", "it is away"), ValueError("bug")]

    class Broken:
        async def status(self) -> Any:
            if failures:
                raise failures.pop(0)
            return await storage.outbox_keeper.status()

    relay = make_relay(storage, Courier(clock), clock, observer=notebook, keeper=Broken())
    async with running(relay):
        await commit(storage, "orders", "1")
        await until(clock, lambda: ("waiting", "") in notebook.values)

    assert 1 == relay.counts["sent"]
    assert ["The storage could not be looked at for the observer; the work goes on all the same."] == [
        record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR
    ]


async def test_an_observer_that_raises_does_no_harm(
    storage: MemoryStorage, clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told of everything all the same, and logged once."""

    class Raising:
        def __init__(self) -> None:
            self.asked = 0

        def add(self, *_: object) -> None:
            self.asked += 1
            raise OSError("exporter")

        set = record = add

    raising = Raising()
    await commit(storage, "orders", "1", "2")
    relay = make_relay(storage, Courier(clock), clock, observer=raising, keeper=storage.outbox_keeper)
    async with running(relay):
        await until(clock, lambda: relay.counts["sent"] == 2)

    assert raising.asked > 2
    assert 1 == sum("The observer failed" in record.getMessage() for record in caplog.records)


class Placed(cqrs.DomainEvent):
    order_id: str


class Place(cqrs.Request[None]):
    order_id: str


class PlaceHandler(cqrs.RequestHandler[Place, None]):
    async def handle(self, request: Place) -> None:
        self.events.append(Placed(request.order_id))


async def test_an_app_tells_its_observer(notebook: Notebook) -> None:
    """With the gauges, if the storage has what looks after its outbox."""
    app = cqrs.App("shop", storage="memory", observer=notebook)
    app.requests.bind(Place, PlaceHandler)
    app.publishes("orders", {"Placed": Placed}, key="order_id")
    async with app.running():
        await app.send(Place(order_id="7"))
        with anyio.fail_after(30):
            while not (notebook.totals["sent", "orders"] and ("relays", "") in notebook.values):
                await anyio.lowlevel.checkpoint()

    assert timedelta(0) <= timedelta(seconds=notebook.series["delay", "orders"][0])


@pytest.mark.parametrize("given", [object(), Notebook])
async def test_what_is_no_observer_is_a_problem_of_the_wiring(given: object) -> None:
    """Found with all others, before anything is started; so is a class, for which somebody forgot the brackets."""
    app = cqrs.App("shop", observer=given)  # type: ignore[arg-type]  # what is refused
    app.publishes("", {}, key=None)
    with pytest.raises(errors.WiringError) as raised:
        await app.__aenter__()

    assert "a URL, a name, or an observer: an object that also has add, set, record" in str(raised.value)
    assert 2 <= len(raised.value.problems)


async def test_an_observer_may_be_named() -> None:
    """As brokers and storages are: its plug-in is asked for it."""
    app = cqrs.App("shop", observer="zzz")
    with pytest.raises(errors.WiringError, match="No observer is called 'zzz'"):
        await app.__aenter__()
