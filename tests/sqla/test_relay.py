"""Relays over real databases: nothing is lost, and keys keep their order, whatever dies on the way."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from cqrs_core.bell import Bell
from cqrs_core.broker import SendOutcome, SendStatus
from cqrs_core.clock import SystemClock
from cqrs_core.concurrency import Gate, open_task_group, run_all
from cqrs_core.envelope import Envelope
from cqrs_core.relay import OutboxRelay, RelayOptions
from cqrs_core.resilience import RetryPolicy
from cqrs_sqla import SqlAlchemyStorage

PROGRAM = Path(__file__).with_name("relay_process.py")
DEADLINE_S = 90.0
KEYS = 20
SERVERS = ["asyncpg", "psycopg", "asyncmy"]

Condition = Callable[[], Awaitable[bool]]


class Recorder:
    """A broker that keeps what it is sent, and refuses what it is told to."""

    is_durable = True
    keeps_order_after_failure = True

    def __init__(self) -> None:
        self.sent: list[tuple[str | None, str]] = []
        #: For how many batches it is away, after how many messages.
        self.away, self.away_after = 0, 0
        #: By body: how often it is refused, and in which way.
        self.refusals: dict[str, list[SendStatus]] = {}

    async def send_many(self, envelopes: Sequence[Envelope]) -> Sequence[SendOutcome]:
        if self.away and len(self.sent) >= self.away_after:
            self.away -= 1
            return [SendOutcome(SendStatus.UNAVAILABLE, OSError("away"))] * len(envelopes)
        failed: set[str | None] = set()
        return [self._send(envelope, failed) for envelope in envelopes]

    def _send(self, envelope: Envelope, failed: set[str | None]) -> SendOutcome:
        if envelope.key is not None and envelope.key in failed:
            return SendOutcome(SendStatus.NOT_SENT)
        body = envelope.body.decode()
        if self.refusals.get(body):
            failed.add(envelope.key)
            return SendOutcome(self.refusals[body].pop(0), OSError("refused"))
        self.sent.append((envelope.key, body))
        return SendOutcome(SendStatus.DELIVERED)

    @property
    def bodies(self) -> list[str]:
        return [body for _, body in self.sent]


def without_repeats(sent: Iterable[tuple[str | None, str]]) -> dict[str | None, list[str]]:
    """What a consumer makes of it that knows what it has had: by key, in the order in which it came."""
    by_key: dict[str | None, dict[str, None]] = defaultdict(dict)
    for key, body in sent:
        by_key[key].setdefault(body)
    return {key: list(bodies) for key, bodies in by_key.items()}


def in_order(count: int) -> dict[str | None, list[str]]:
    """What was committed, by key."""
    return {f"key-{key}": [f"{number}" for number in range(key, count, KEYS)] for key in range(KEYS)}


async def commit(storage: SqlAlchemyStorage, envelopes: Sequence[Envelope]) -> None:
    unit = storage.unit_of_work()
    unit.enqueue(envelopes)
    await unit.commit()
    await unit.close()


@pytest.fixture
def messages(envelope: Callable[..., Envelope]) -> Callable[[int, int], list[Envelope]]:
    """Make messages by their numbers, from the first to before the last."""

    def make(first: int, last: int) -> list[Envelope]:
        return [envelope(f"{number}", f"key-{number % KEYS}") for number in range(first, last)]

    return make


async def until(condition: Condition, *processes: subprocess.Popen[bytes]) -> None:
    """Ask the database until it is so; a process that has died meanwhile will not make it so."""

    async def ask() -> None:
        while not await condition():
            assert all(process.poll() is None for process in processes), "A relay has ended."
            await asyncio.sleep(0.01 if processes else 0)  # what others do, they shall come to do

    await asyncio.wait_for(ask(), DEADLINE_S)


@asynccontextmanager
async def running(relay: OutboxRelay) -> AsyncIterator[None]:
    """Run a relay beside the block."""
    stopping = Gate()
    async with open_task_group() as tasks:
        tasks.start(partial(relay.run, stopping))
        try:
            yield
        finally:
            stopping.open()


def make_relay(storage: SqlAlchemyStorage, broker: Recorder, *, ttl_s: float = 30.0, **options: object) -> OutboxRelay:
    given = RelayOptions(lease_ttl_s=ttl_s, **options)  # type: ignore[arg-type]  # any of them
    return OutboxRelay(storage.outbox.lease("relay", ttl_s=ttl_s), broker, options=given)


async def is_empty(storage: SqlAlchemyStorage) -> bool:
    return not await storage.outbox.pending(limit=1)


# In one process -------------------------------------------------------------------------------------------------------


async def test_everything_is_sent_in_order(
    storage: SqlAlchemyStorage, messages: Callable[[int, int], list[Envelope]]
) -> None:
    """Once, if nothing goes wrong; and the outbox is empty then."""
    broker = Recorder()
    await commit(storage, messages(0, 1000))
    sent = await make_relay(storage, broker, batch_size=64).run_once()

    assert 1000 == sent == len(broker.sent)
    assert in_order(1000) == without_repeats(broker.sent)
    assert await is_empty(storage)


async def test_a_message_that_is_refused_holds_back_its_key_alone(
    storage: SqlAlchemyStorage, messages: Callable[[int, int], list[Envelope]]
) -> None:
    """Until it is due again; the others of its key come after it."""
    broker = Recorder()
    broker.refusals = {"5": [SendStatus.REFUSED] * 2}
    await commit(storage, messages(0, 100))
    retry = RetryPolicy(max_attempts=10, delay_s=0.01)
    async with running(make_relay(storage, broker, retry=retry)):
        await until(lambda: is_empty(storage))

    assert in_order(100) == without_repeats(broker.sent)
    assert 100 == len(broker.sent)
    assert broker.bodies.index("5") > broker.bodies.index("99")


class HastyClock(SystemClock):
    """For which minutes pass in no time."""

    async def sleep(self, seconds: float) -> None:
        await super().sleep(min(seconds, 0.01))


async def test_an_outage_longer_than_every_retry_costs_no_attempt(
    storage: SqlAlchemyStorage, engine: AsyncEngine, messages: Callable[[int, int], list[Envelope]]
) -> None:
    """All that was committed before and meanwhile is delivered, in order, and once."""
    broker = Recorder()
    options = RelayOptions(retry=RetryPolicy(max_attempts=3, delay_s=0.01), batch_size=50)
    broker.away, broker.away_after = 5 * options.retry.max_attempts, 100
    attempts: list[int] = []
    outbox = storage.tables.outbox.c

    async def has_outage_half_passed() -> bool:
        return broker.away <= 2 * options.retry.max_attempts

    await commit(storage, messages(0, 300))
    lease = storage.outbox.lease("relay", ttl_s=30)
    relay = OutboxRelay(lease, broker, options=options, clock=HastyClock())  # type: ignore[arg-type]  # a part of one
    async with running(relay):
        await until(has_outage_half_passed)
        async with engine.connect() as connection:
            attempts += await connection.scalars(sa.select(outbox.attempts).where(outbox.attempts > 0))
        await commit(storage, messages(300, 400))
        await until(lambda: is_empty(storage))

    assert [] == attempts
    assert 15 == relay.counts["outages"]
    assert 400 == len(broker.sent)
    assert in_order(400) == without_repeats(broker.sent)


async def test_a_message_that_is_given_up_is_among_the_dead(
    storage: SqlAlchemyStorage, engine: AsyncEngine, messages: Callable[[int, int], list[Envelope]]
) -> None:
    """The rest of its key goes on."""
    broker = Recorder()
    broker.refusals = {"5": [SendStatus.PERMANENT]}
    await commit(storage, messages(0, 100))
    await make_relay(storage, broker).run_once()
    dead = storage.tables.outbox_dead.c
    async with engine.connect() as connection:
        buried = (await connection.execute(sa.select(dead.payload, dead.attempts, dead.reason))).all()

    assert [(b"5", 1, "permanent")] == [tuple(row) for row in buried]
    assert set(map(str, range(100))) - {"5"} == set(broker.bodies)
    assert await is_empty(storage)


@pytest.mark.parametrize("driver", SERVERS)  # SQLite has one writer, whose positions are in the order of commits
async def test_writers_that_take_turns_keep_their_order_beside_others(
    storage: SqlAlchemyStorage, envelope: Callable[..., Envelope]
) -> None:
    """
    What one commits late is not overtaken by what it commits next.

    Positions are drawn before the commit: the relay passes some of which the transaction is still under way.
    """
    broker, bell = Recorder(), Bell()
    relay = OutboxRelay(storage.outbox.lease("relay", ttl_s=30), broker, bell=bell)  # type: ignore[arg-type]  # a part of one
    count, is_over = 60, False

    async def commit(body: str, key: str) -> None:
        unit = storage.unit_of_work()
        unit.enqueue([envelope(body, key)])
        await unit.commit()
        await unit.close()
        bell.ring()

    async def write(key: str) -> None:
        for number in range(count):
            await commit(f"{number}", key)

    async def disturb(key: str) -> None:
        while not is_over:
            await commit("noise", key)

    stopping = Gate()
    async with open_task_group() as tasks:
        tasks.start(partial(relay.run, stopping))
        for number in range(3):
            tasks.start(partial(disturb, f"noise {number}"))
        await run_all([partial(write, f"writer {number}") for number in range(3)], limit=3)
        is_over = True
        await until(lambda: is_empty(storage))
        stopping.open()

    sent = without_repeats(broker.sent)
    for number in range(3):
        assert [f"{index}" for index in range(count)] == sent[f"writer {number}"]


@pytest.mark.parametrize("driver", SERVERS)
async def test_what_is_committed_late_is_sent(storage: SqlAlchemyStorage, envelope: Callable[..., Envelope]) -> None:
    """Its position was drawn before that of one that was sent already."""
    broker = Recorder()
    late = storage.unit_of_work()
    late.enqueue([envelope("late", "a")])
    await late.flush()
    async with running(make_relay(storage, broker, longest_poll_s=0.1)):
        await commit(storage, [envelope("soon", "b")])
        await until(lambda: is_empty(storage))
        before = broker.bodies
        await late.commit()
        await late.close()
        await until(lambda: is_empty(storage))

    assert ["soon"] == before
    assert ["soon", "late"] == broker.bodies


async def test_relays_that_come_and_go_lose_nothing(
    storage: SqlAlchemyStorage, messages: Callable[[int, int], list[Envelope]]
) -> None:
    """Two of one name beside each other, while events are committed; one leaves in between."""
    broker = Recorder()

    async def write() -> None:
        for first in range(0, 1000, 20):
            await commit(storage, messages(first, first + 20))
            if first == 500:
                first_done.open()

    async def relay_first() -> None:
        async with running(make_relay(storage, broker, ttl_s=0.6)):
            await first_done.wait()

    first_done = Gate()
    async with running(make_relay(storage, broker, ttl_s=0.6)):
        await run_all([write, relay_first], limit=2)
        await until(lambda: is_empty(storage))

    assert in_order(1000) == without_repeats(broker.sent)


# Connections that break -----------------------------------------------------------------------------------------------

_OTHERS = {
    "postgresql": "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
    "mysql": "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()",
}
_KILL = {"postgresql": "SELECT pg_terminate_backend({})", "mysql": "KILL {}"}


@pytest.mark.parametrize("driver", SERVERS)
async def test_a_server_that_ends_all_connections_loses_nothing(
    storage: SqlAlchemyStorage, engine: AsyncEngine, messages: Callable[[int, int], list[Envelope]]
) -> None:
    """Those of the relay too, under load, again and again; it connects anew, and repeats what was not noted."""
    broker = Recorder()
    dialect = engine.dialect.name
    await commit(storage, messages(0, 3000))
    async with (
        engine.execution_options(isolation_level="AUTOCOMMIT").connect() as killer,
        running(make_relay(storage, broker, batch_size=20)),
    ):
        for sent in (100, 800, 1600, 2500):
            while len(broker.sent) < sent:
                await killer.execute(sa.text("SELECT 1"))
            for number in list(await killer.scalars(sa.text(_OTHERS[dialect]))):
                try:
                    await killer.execute(sa.text(_KILL[dialect].format(number)))
                except sa.exc.DBAPIError:
                    continue  # it had gone by itself

        async def is_done() -> bool:
            await killer.execute(sa.text("SELECT 1"))
            return len(set(broker.bodies)) == 3000 and await is_empty(storage)

        await until(is_done)

    assert in_order(3000) == without_repeats(broker.sent)


# In several processes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 4])
async def test_a_relay_that_is_killed_in_the_middle_of_a_batch_loses_nothing(
    *,
    storage: SqlAlchemyStorage,
    engine: AsyncEngine,
    database_url: str,
    tmp_path: Path,
    messages: Callable[[int, int], list[Envelope]],
    count: int,
) -> None:
    """The others take its share over when it has lapsed, and send again what was not noted as sent."""
    path = tmp_path / "sent.txt"
    # Longer than any of them stands still on a busy machine: else they would not come to rest before one dies.
    ttl_s = 1.25 * count
    start = [sys.executable, str(PROGRAM), database_url, str(path), str(ttl_s)]
    owner = storage.tables.outbox_slot.c.owner

    async def shares() -> list[int]:
        async with engine.connect() as connection:
            counts = await connection.scalars(sa.select(sa.func.count()).where(owner.is_not(None)).group_by(owner))
            return list(counts)

    async def all_have_a_share() -> bool:
        return [64 // count] * count == await shares()

    with ExitStack() as stack:

        def run(*arguments: str, **options: int) -> subprocess.Popen[bytes]:
            process = stack.enter_context(subprocess.Popen([*start, *arguments], **options))  # type: ignore[call-overload]  # as it says
            stack.callback(process.kill)
            return process  # type: ignore[no-any-return]  # as it says

        dying = run("75", stdout=subprocess.PIPE)
        staying = [run() for _ in range(count - 1)]
        assert dying.stdout is not None
        await until(all_have_a_share, *staying)
        await commit(storage, messages(0, 400))
        said = await asyncio.wait_for(asyncio.to_thread(dying.stdout.readline), DEADLINE_S)
        dying.kill()
        await commit(storage, messages(400, 600))
        await until(lambda: is_empty(storage), *staying)
    sent = [tuple(line.split(" ")) for line in path.read_text().splitlines()]

    assert b"in the middle of a batch\n" == said
    assert in_order(600) == without_repeats((key, body) for key, body in sent)
