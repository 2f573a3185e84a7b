"""The relay: what it sends, in which order, and what it does when a broker, or the outbox, does not go along."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timezone
from typing import Any

import anyio
import pytest

from cqrs_core import errors
from cqrs_core.bell import Bell
from cqrs_core.broker import SendOutcome, SendStatus
from cqrs_core.concurrency import Gate
from cqrs_core.concurrency.loops import is_asyncio_running
from cqrs_core.envelope import Envelope
from cqrs_core.outbox import OutboxRecord, ParkedKey
from cqrs_core.relay import OutboxRelay, RelayOptions
from cqrs_core.resilience import RetryPolicy
from cqrs_core.testing import VirtualClock

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
#: A third of it is no whole number of seconds: two things that are done now and then must not hide each other.
TTL_S = 31.0


class Row:
    def __init__(self, position: int, body: str, key: str | None) -> None:
        self.record = OutboxRecord(position, Envelope("news", body.encode(), key, {"ce_id": body}), NOW)
        self.attempts = 0
        self.due = 0.0
        self.error = ""


class Table:
    """An outbox in a dictionary, which can fail when it is told to."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.rows: dict[int, Row] = {}
        self.dead: list[tuple[str, str, str]] = []
        self.log: list[str] = []
        self.failures: dict[str, list[Exception]] = {}
        self.is_growing = True
        self.wants_rebalance = False
        self.next_position = 1
        self.lag_s = 0.0
        #: Keys that are another relay's.
        self.of_others: set[str | None] = set()

    def now(self) -> float:
        return self.clock.monotonic() - self.lag_s

    def add(self, body: str, key: str | None = None, *, position: int | None = None) -> None:
        position = self.next_position if position is None else position
        self.next_position = max(self.next_position, position + 1)
        self.rows[position] = Row(position, body, key)

    def touch(self, what: str) -> None:
        if self.failures.get(what):
            raise self.failures[what].pop(0)

    async def renew(self) -> bool:
        self.log.append("renew")
        self.touch("renew")
        return self.wants_rebalance

    async def rebalance(self) -> bool:
        self.log.append("rebalance")
        self.wants_rebalance = False
        return self.is_growing

    async def fetch(
        self, *, after: int, limit: int, without: Collection[str], passed: Collection[int] = ()
    ) -> Sequence[OutboxRecord]:
        self.log.append(f"fetch {after}")
        assert all(position <= after for position in passed), "what stands behind is read anyway, up to the limit"
        self.touch("fetch")
        now = self.now()
        found = [
            OutboxRecord(position, row.record.envelope, NOW, row.attempts)
            for position, row in sorted(self.rows.items())
            if (position > after or position in passed) and row.due <= now
            if row.record.envelope.key not in {*without, *self.of_others}
        ]
        return found[: limit + sum(record.position <= after for record in found)]

    async def parked(self) -> Sequence[ParkedKey]:
        now = self.now()
        return [
            ParkedKey(key, None if row.due == float("inf") else max(row.due - now, 0.0))
            for row in self.rows.values()
            if row.due > now and (key := row.record.envelope.key) is not None
        ]

    async def remove(self, positions: Sequence[int]) -> None:
        self.touch("remove")
        for position in positions:
            self.rows.pop(position, None)

    async def postpone(self, position: int, *, delay_s: float | None, error: str) -> None:
        row = self.rows[position]
        row.attempts += 1
        row.due = float("inf") if delay_s is None else self.clock.monotonic() + delay_s
        row.error = error

    async def bury(self, position: int, *, reason: str, error: str) -> None:
        row = self.rows.pop(position)
        self.dead.append((row.record.envelope.body.decode(), reason, error))

    async def release(self) -> None:
        self.log.append("release")
        self.touch("release")


class Courier:
    """A broker that does with each message what it is told to, and else delivers it."""

    is_durable = True

    def __init__(self, *, keeps_order: bool = True) -> None:
        self.keeps_order_after_failure = keeps_order
        self.sent: list[str] = []
        self.batches: list[list[str]] = []
        #: By body: the outcomes of its next tries.
        self.fates: dict[str, list[SendStatus]] = {}
        self.before_batch: deque[Callable[[], Any]] = deque()

    async def send_many(self, envelopes: Sequence[Envelope]) -> Sequence[SendOutcome]:
        self.batches.append([envelope.body.decode() for envelope in envelopes])
        if self.before_batch:
            await self.before_batch.popleft()()
        failed: set[str] = set()
        outcomes: list[SendOutcome] = []
        for envelope in envelopes:
            body, key = envelope.body.decode(), envelope.key
            if self.keeps_order_after_failure and key in failed:
                outcomes.append(SendOutcome(SendStatus.NOT_SENT))
                continue
            status = self.fates[body].pop(0) if self.fates.get(body) else SendStatus.DELIVERED
            if status is SendStatus.DELIVERED:
                self.sent.append(body)
            elif key is not None:
                failed.add(key)
            outcomes.append(SendOutcome(status, None if status is SendStatus.DELIVERED else OSError(status.value)))
        return outcomes


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def table(clock: VirtualClock) -> Table:
    return Table(clock)


def make_relay(table: Table, broker: Courier, *, bell: Bell | None = None, **options: Any) -> OutboxRelay:
    given = RelayOptions(lease_ttl_s=TTL_S, **options)
    return OutboxRelay(table, broker, options=given, bell=bell, clock=table.clock)  # type: ignore[arg-type] # a part of one


@asynccontextmanager
async def running(relay: OutboxRelay) -> AsyncIterator[None]:
    stopping = Gate()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(relay.run, stopping)
        try:
            yield
        finally:
            stopping.open()


class Until:
    """Lets time pass, a step at a time, with everything done that is to be done at each, until a condition holds."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock

    async def __call__(self, condition: Callable[[], bool], *, step_s: float = 0.05) -> None:
        with anyio.fail_after(30):
            while True:
                for _ in range(30):
                    await anyio.lowlevel.checkpoint()
                    if condition():
                        return
                await self._clock.advance(step_s)


@pytest.fixture
def until(clock: VirtualClock) -> Until:
    return Until(clock)


# What is sent --------------------------------------------------------------------------------------------------------


async def test_everything_that_waits_is_sent_in_order_and_taken_out(table: Table) -> None:
    """Each committed event is published; what the broker has is forgotten."""
    courier = Courier()
    for number in range(25):
        table.add(str(number), f"k{number % 3}")
    relay = make_relay(table, courier, batch_size=10)
    assert 25 == await relay.run_once()
    assert [str(number) for number in range(25)] == courier.sent
    assert {} == table.rows
    assert "release" == table.log[-1]


async def test_one_that_is_committed_late_is_found(table: Table, clock: VirtualClock, until: Until) -> None:
    """Sequence order is not commit order: a lower position that becomes visible later is found by looking again."""
    courier = Courier()
    for number in (1, 2, 4):
        table.add(str(number), position=number)
    async with running(make_relay(table, courier)):
        await until(lambda: len(courier.sent) == 3)
        table.add("3", position=3)
        await until(lambda: len(courier.sent) == 4)
    assert ["1", "2", "4", "3"] == courier.sent
    assert clock.monotonic() < 10


async def test_one_that_is_committed_late_comes_before_its_followers(table: Table, until: Until) -> None:
    """Of one key, the later is never seen without the earlier: its place was passed, and is looked at again."""
    courier, bell = Courier(), Bell()
    table.add("other", position=4)
    async with running(make_relay(table, courier, bell=bell)):
        await until(lambda: courier.sent == ["other"])
        table.add("k1", "k", position=3)
        table.add("k2", "k", position=5)
        bell.ring()
        await until(lambda: len(courier.sent) == 3)
        table.add("more", position=9)
        bell.ring()
        await until(lambda: len(courier.sent) == 4)
        table.add("k3", "k", position=7)
        table.add("k4", "k", position=10)
        bell.ring()
        await until(lambda: len(courier.sent) == 6)
    assert ["other", "k1", "k2", "more", "k3", "k4"] == courier.sent


async def test_between_two_looks_from_the_beginning_only_what_is_new_is_read(table: Table, until: Until) -> None:
    """The low-water mark: what was read is not walked through again by each poll."""
    courier = Courier()
    table.add("1")
    async with running(make_relay(table, courier)):
        await until(lambda: table.log.count("fetch 1") >= 3)
    fetches = [line for line in table.log if line.startswith("fetch")]
    assert fetches.count("fetch 0") < fetches.count("fetch 1")


async def test_a_ring_ends_the_waiting(table: Table, clock: VirtualClock, until: Until) -> None:
    """Who commits in the same process need not wait for the next poll."""
    courier, bell = Courier(), Bell()
    relay = make_relay(table, courier, bell=bell, shortest_poll_s=1000, longest_poll_s=1000)
    async with running(relay):
        await until(lambda: "fetch 0" in table.log)
        table.add("1")
        bell.ring()
        await until(lambda: courier.sent == ["1"])
        assert clock.monotonic() < 1000


async def test_the_polls_become_rarer(table: Table, clock: VirtualClock, until: Until) -> None:
    """Adaptive: from 50 ms to a second, while nothing comes."""
    async with running(make_relay(table, Courier())):
        await until(lambda: len([line for line in table.log if line.startswith("fetch")]) == 10)
    # 0.05 + 0.1 + 0.2 + 0.4 + 0.8 + 4 x 1
    assert 5.5 == pytest.approx(clock.monotonic(), abs=1.1)


# When the broker does not go along -----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [SendStatus.UNAVAILABLE, SendStatus.UNKNOWN])
async def test_an_outage_burns_no_attempt_and_loses_nothing(
    table: Table, clock: VirtualClock, status: SendStatus, until: Until
) -> None:
    """The whole relay pauses, with growing delays; nothing is given up however long it takes, and order is kept."""
    courier = Courier()
    for number in range(6):
        table.add(str(number), f"k{number % 2}")
    courier.fates["0"] = [status] * 40
    relay = make_relay(table, courier, retry=RetryPolicy(max_attempts=2))
    async with running(relay):
        await until(lambda: not table.rows, step_s=5)
    assert ["0", "2", "4"] == [body for body in courier.sent if body in "024"]
    assert ["1", "3", "5"] == [body for body in courier.sent if body in "135"]
    assert (40, 0, 0) == (relay.counts["outages"], relay.counts["refused"], relay.counts["buried"])
    assert clock.monotonic() > 30 * 20  # most of the delays are the longest


async def test_a_refused_message_holds_back_its_key_alone(table: Table, until: Until) -> None:
    """Back-off for it, and the followers of its key wait without attempts of theirs; all others pass."""
    courier = Courier()
    table.add("a1", "a")
    table.add("b1", "b")
    table.add("a2", "a")
    table.add("b2", "b")
    courier.fates["a1"] = [SendStatus.REFUSED] * 3
    async with running(make_relay(table, courier)):
        await until(lambda: {"b1", "b2"} <= set(courier.sent))
        assert 1 <= table.rows[1].attempts
        assert 0 == table.rows[3].attempts
        table.add("b3", "b")
        table.add("a3", "a")
        await until(lambda: not table.rows)
    assert ["a1", "a2", "a3"] == [body for body in courier.sent if body[0] == "a"]
    assert ["b1", "b2", "b3"] == [body for body in courier.sent if body[0] == "b"]


async def test_a_message_without_a_key_that_is_refused_waits_alone(table: Table, until: Until) -> None:
    """Nobody is behind it."""
    courier = Courier()
    table.add("1")
    table.add("2")
    courier.fates["1"] = [SendStatus.REFUSED]
    async with running(make_relay(table, courier)):
        await until(lambda: not table.rows)
    assert ["2", "1"] == courier.sent


@pytest.mark.parametrize(
    ("fates", "reason", "attempts"),
    [([SendStatus.PERMANENT], "permanent", 1), ([SendStatus.REFUSED] * 5, "attempts", 3)],
)
async def test_what_is_given_up_is_buried_and_its_key_goes_on(
    table: Table, fates: list[SendStatus], reason: str, attempts: int, until: Until
) -> None:
    """Into the dead table, with the error; ``skip``: the others of its key are sent."""
    courier = Courier()
    table.add("a1", "a")
    table.add("a2", "a")
    courier.fates["a1"] = list(fates)
    relay = make_relay(table, courier, retry=RetryPolicy(max_attempts=3, delay_s=1))
    async with running(relay):
        await until(lambda: not table.rows)
    assert ["a2"] == courier.sent
    assert [("a1", reason, f"OSError: {fates[0].value}")] == table.dead
    assert (attempts, 1) == (relay.counts["refused"], relay.counts["buried"])


async def test_a_key_that_is_halted_waits_for_somebody(table: Table, until: Until) -> None:
    """``halt``: the message stays first of its key, which waits until it is let go; others pass."""
    courier = Courier()
    table.add("a1", "a")
    table.add("a2", "a")
    table.add("b1", "b")
    courier.fates["a1"] = [SendStatus.PERMANENT]
    async with running(make_relay(table, courier, on_dead="halt")):
        await until(lambda: table.rows[1].error != "" and "b1" in courier.sent)
        await until(lambda: table.log.count("renew") > 10, step_s=1)
        assert ["b1"] == courier.sent
        table.rows[1].due = 0.0  # what a person does about it
        await until(lambda: not table.rows)
    assert ["b1", "a1", "a2"] == courier.sent


async def test_a_key_that_waits_is_known_to_the_next_relay(table: Table, until: Until) -> None:
    """Followers must not overtake the one that was refused when another relay takes over."""
    courier = Courier()
    table.add("a1", "a")
    table.add("a2", "a")
    table.rows[1].due, table.rows[1].attempts = 50.0, 1
    async with running(make_relay(table, courier)):
        await until(lambda: not table.rows)
    assert ["a1", "a2"] == courier.sent


async def test_a_key_is_let_go_by_the_clock_of_the_outbox(table: Table, until: Until) -> None:
    """A moment before the row is due there, it would give the followers alone; and they must not overtake it."""
    courier = Courier()
    table.lag_s = 0.3  # its clock is behind
    table.add("a1", "a")
    table.add("a2", "a")
    courier.fates["a1"] = [SendStatus.REFUSED]
    async with running(make_relay(table, courier)):
        await until(lambda: not table.rows)
    assert ["a1", "a2"] == courier.sent


async def test_to_a_broker_that_does_not_keep_order_a_key_is_sent_one_by_one(table: Table, until: Until) -> None:
    """What a broker cannot promise it declares: then nothing of a key is under way behind another of it."""
    courier = Courier(keeps_order=False)
    for body in ("a1", "b1", "a2", "c", "a3", "b2"):
        table.add(body, body[0] if body != "c" else None)
    courier.fates["a2"] = [SendStatus.REFUSED]
    async with running(make_relay(table, courier)):
        await until(lambda: not table.rows)
    assert [["a1", "b1", "c"], ["a2", "b2"]] == courier.batches[:2]
    assert ["a1", "a2", "a3"] == [body for body in courier.sent if body[0] == "a"]


async def test_what_was_read_ahead_does_not_overtake_what_failed(table: Table, until: Until) -> None:
    """The next batch is read while one is on its way: it holds followers of the message that just failed."""
    courier = Courier()
    for number in range(8):
        table.add(f"a{number}", "a")
    courier.fates["a1"] = [SendStatus.UNAVAILABLE]
    courier.fates["a3"] = [SendStatus.REFUSED]
    async with running(make_relay(table, courier, batch_size=2)):
        await until(lambda: not table.rows)
    assert [f"a{number}" for number in range(8)] == courier.sent


async def test_a_broker_that_raises_is_an_outage(table: Table, until: Until) -> None:
    """What it was given may have arrived: it is sent again."""
    courier = Courier()
    table.add("1")

    async def fail() -> None:
        raise ZeroDivisionError

    courier.before_batch.append(fail)
    async with running(make_relay(table, courier)):
        await until(lambda: not table.rows)
    assert [["1"], ["1"]] == courier.batches


async def test_a_message_that_makes_the_broker_raise_is_found_and_given_up(table: Table, until: Until) -> None:
    """Others pass, and after its attempts it is buried: one message must not stop the whole outbox."""

    class Choking(Courier):
        async def send_many(self, envelopes: Sequence[Envelope]) -> Sequence[SendOutcome]:
            if any(envelope.body == b"bad" for envelope in envelopes):
                raise ValueError("cannot be written")
            return await super().send_many(envelopes)

    courier = Choking()
    for body in ("1", "bad", "2", "3"):
        table.add(body, "k" if body in ("bad", "3") else None)
    relay = make_relay(table, courier, retry=RetryPolicy(max_attempts=2, delay_s=1))
    async with running(relay):
        await until(lambda: {"1", "2"} <= set(courier.sent))
        for number in range(20):  # while others come, which pass
            table.add(f"more {number}")
            await until(lambda number=number: f"more {number}" in courier.sent)  # type: ignore[misc]  # mypy infers no lambda with a default
            if table.dead:
                break
        await until(lambda: not table.rows)
    assert [("bad", "attempts", "ValueError: cannot be written")] == table.dead
    assert "3" in courier.sent


async def test_a_cancellation_that_nobody_asked_of_the_relay_is_an_outage(table: Table, until: Until) -> None:
    """A broker's client that awaits something that was cancelled must not end the loop, and the program with it."""
    courier = Courier()
    table.add("1")

    async def await_what_was_cancelled() -> None:
        if is_asyncio_running():
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            future.cancel()
            await future
        raise OSError

    courier.before_batch.append(await_what_was_cancelled)
    async with running(make_relay(table, courier)):
        await until(lambda: not table.rows)
    assert ["1"] == courier.sent


async def test_a_key_that_was_let_go_is_read_from_the_beginning(table: Table, until: Until) -> None:
    """What a person lets go stands before what was read last: its followers must not overtake it."""
    courier = Courier()
    table.add("a0", "a")
    courier.fates["a0"] = [SendStatus.PERMANENT]
    async with running(make_relay(table, courier, on_dead="halt", longest_poll_s=0.1)):
        await until(lambda: table.rows[1].error != "")
        table.rows[1].due = 0.0
        number = 0
        while 1 in table.rows:  # its key is a busy one
            number += 1
            table.add(f"a{number}", "a")
            await until(lambda: True)
            await table.clock.advance(0.02)
        await until(lambda: not table.rows)
    assert [f"a{index}" for index in range(number + 1)] == courier.sent


# When the outbox does not go along -----------------------------------------------------------------------------------


async def test_what_could_not_be_taken_out_is_not_sent_again(table: Table, until: Until) -> None:
    """The database was away for a moment after the broker had it: it is taken out when that is back."""
    courier = Courier()
    table.add("1")
    table.failures["remove"] = [errors.StorageUnavailable("table", "It is away.") for _ in range(3)]
    async with running(make_relay(table, courier)):
        await until(lambda: not table.rows)
    assert ["1"] == courier.sent


async def test_an_outbox_that_is_away_is_waited_for(table: Table, until: Until) -> None:
    """Reading and renewing are tried again, for as long as it takes."""
    courier = Courier()
    table.add("1")
    table.failures["renew"] = [errors.StorageUnavailable("table", "It is away.") for _ in range(10)]
    table.failures["fetch"] = [errors.StorageUnavailable("table", "It is away.") for _ in range(10)]
    async with running(make_relay(table, courier)):
        await until(lambda: not table.rows)
    assert ["1"] == courier.sent


async def test_an_error_that_is_not_declared_ends_the_relay(table: Table) -> None:
    """A fault of the program is not repeated for ever in silence."""
    table.failures["fetch"] = [ZeroDivisionError()]
    with pytest.raises(ZeroDivisionError):
        await make_relay(table, Courier()).run(Gate())
    assert "release" == table.log[-1]


async def test_nothing_is_sent_when_the_share_has_lapsed(table: Table, clock: VirtualClock, until: Until) -> None:
    """A relay that could not renew its share sends nothing more of it until it has."""
    courier = Courier()
    async with running(make_relay(table, courier)):
        await until(lambda: "fetch 0" in table.log)
        table.failures["renew"] = [errors.StorageUnavailable("table", "It is away.") for _ in range(1000)]
        await until(lambda: clock.monotonic() > TTL_S, step_s=1)
        table.add("1")
        await until(lambda: clock.monotonic() > 3 * TTL_S, step_s=1)
        assert [] == courier.sent
        table.failures.clear()
        await until(lambda: courier.sent == ["1"])


async def test_a_share_that_has_grown_is_read_from_the_beginning(table: Table, until: Until) -> None:
    """Messages of keys that fall to a relay later may stand at any position."""
    courier = Courier()
    table.add("1", position=10)
    async with running(make_relay(table, courier)):
        await until(lambda: courier.sent == ["1"])
        before = len(table.log)
        table.wants_rebalance = True
        await until(lambda: table.log.count("rebalance") == 2, step_s=1)
        await until(lambda: "fetch 0" in table.log[before:])


async def test_what_a_share_grows_by_is_not_overtaken_by_its_own_last_messages(table: Table, until: Until) -> None:
    """What was not seen, because it was another's, is looked at again where it stands behind what is read now."""
    courier = Courier()
    table.of_others = {"theirs"}
    for number in range(20):
        table.add(f"{number}", "ours" if number % 2 else "theirs")
    async with running(make_relay(table, courier, batch_size=3)):
        await until(lambda: len(courier.sent) == 10)
        table.of_others = set()
        table.wants_rebalance = True
        await until(lambda: not table.rows, step_s=1)

    assert [*(f"{number}" for number in range(1, 20, 2)), *(f"{number}" for number in range(0, 20, 2))] == courier.sent


# Stopping ------------------------------------------------------------------------------------------------------------


async def test_what_is_on_its_way_arrives_before_the_relay_stops(table: Table) -> None:
    """Graceful: the batch ends, what was acknowledged is taken out, and the share is given up."""
    courier = Courier()
    table.add("1")
    reached, go_on, stopping = Gate(), Gate(), Gate()

    async def wait() -> None:
        reached.open()
        await go_on.wait()

    courier.before_batch.append(wait)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(make_relay(table, courier).run, stopping)
        await reached.wait()
        stopping.open()
        go_on.open()
    assert (["1"], {}) == (courier.sent, table.rows)
    assert "release" == table.log[-1]


async def test_what_does_not_arrive_in_time_stays_in_the_outbox(table: Table, until: Until) -> None:
    """The drain has a deadline; what was cut off is sent again by the next."""
    courier = Courier()
    table.add("1")

    async def hang() -> None:
        stopping.open()
        await anyio.sleep_forever()

    stopping = Gate()
    courier.before_batch.append(hang)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(make_relay(table, courier).run, stopping)
        await until(lambda: "release" in table.log, step_s=1)
    assert [1] == list(table.rows)
    assert "release" == table.log[-1]


async def test_once_stops_at_an_outage(table: Table) -> None:
    """For cron: what cannot be sent now waits for the next time."""
    courier = Courier()
    table.add("1")
    table.add("2")
    courier.fates["2"] = [SendStatus.UNAVAILABLE]
    assert 1 == await make_relay(table, courier).run_once()
    assert [2] == list(table.rows)
    assert 1 == await make_relay(table, courier).run_once()


async def test_once_raises_when_the_outbox_cannot_be_read(table: Table) -> None:
    """Its caller decides what to do about it."""
    table.failures["fetch"] = [errors.StorageUnavailable("table", "It is away.")]
    with pytest.raises(errors.StorageUnavailable):
        await make_relay(table, Courier()).run_once()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("batch_size", 0),
        ("batch_size", True),
        ("retry", 3),
        ("on_dead", "drop"),
        ("lease_ttl_s", 0),
        ("lease_ttl_s", float("inf")),
        ("shortest_poll_s", -1),
        ("longest_poll_s", 0.001),
        ("drain_deadline_s", "10"),
    ],
)
def test_an_option_outside_its_bounds_is_refused(option: str, value: Any) -> None:
    """At once, and by its name."""
    with pytest.raises(errors.InvalidOption, match=option):
        RelayOptions(**{option: value})
