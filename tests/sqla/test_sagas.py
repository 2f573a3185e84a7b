"""Sagas of Apps over real databases: what a step does there, and that it is done, are one commit if it says so."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from types import new_class
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

import cqrs_core as cqrs
from cqrs_core import errors
from cqrs_core.envelope import Envelope
from cqrs_core.saga.log import Branch, LogRecord, SagaAction, SagaStatus, SagaStepStatus
from cqrs_core.saga.plan import Standing
from cqrs_core.saga.storage import NewSaga, SagaChange, SagaClaim, SagaQuery, SagaRecord, SagaStorage, SagaWrite
from cqrs_sqla import SqlAlchemyStorage, define_tables
from cqrs_sqla.errors import SagaDoesNotFit
from cqrs_sqla.tables import Tables

LONG_S = 3600.0
ReadBoth = Callable[[], Awaitable[tuple[list[str], list[str]]]]


class Order(cqrs.SagaContext):
    title: str = "Emma"


class Told(cqrs.NotificationEvent[str]):
    pass


class Script:
    """
    What steps do beside writing a book each.

    Attributes:
        at: What is awaited when a step has written.
        log: What was done.
    """

    def __init__(self) -> None:
        self.at: dict[str, Callable[[], Awaitable[object]]] = {}
        self.log: list[str] = []


@pytest.fixture
def script() -> Script:
    return Script()


def step(script: Script, name: str, **attributes: Any) -> Any:
    """Write a step that writes a book, and tells of it."""

    def init(self: Any, session: AsyncSession) -> None:
        self.session = session

    async def act(self: Any, context: Order) -> Any:
        script.log.append(f"act {name}")
        title = f"{context.title} {name}"
        await self.session.execute(sa.text("INSERT INTO books (title) VALUES (:title)"), {"title": title})
        self.events.append(Told(event_name="Told", topic="shop", payload=title))
        if name in script.at:
            await script.at[name]()
        return self.result(name)

    async def compensate(self: Any, context: Order) -> None:
        script.log.append(f"undo {name}")
        title = f"{context.title} {name}"
        await self.session.execute(sa.text("DELETE FROM books WHERE title = :title"), {"title": title})

    init.__annotations__ = {"session": AsyncSession, "return": None}
    body: dict[str, Any] = {"__init__": init, "act": act, "compensate": compensate, **attributes}
    return new_class(name, (cqrs.SagaStepHandler[Order, str],), exec_body=lambda namespace: namespace.update(body))


def saga_of(*steps: Any) -> Any:
    return new_class("BookSaga", (cqrs.Saga[Order],), exec_body=lambda namespace: namespace.update(steps=list(steps)))


@pytest.fixture
def make_app(engine: AsyncEngine, tables: Tables, books: type) -> Callable[..., cqrs.App]:
    """Make Apps over one database, in which there are books."""
    assert "books" in tables.metadata.tables, books

    def make(*steps: Any, **options: Any) -> cqrs.App:
        app = cqrs.App("shop", storage=SqlAlchemyStorage(engine, tables=tables), **options)
        app.sagas.bind(Order, saga_of(*steps))
        return app

    return make


async def run(app: cqrs.App, saga_id: uuid.UUID | None = None) -> list[Any]:
    return [result.response async for result in app.stream_saga(Order(), saga_id=saga_id)]


async def loaded(sagas: SagaStorage, saga_id: uuid.UUID) -> SagaRecord:
    record = await sagas.load(saga_id)
    assert record is not None
    return record


async def lapse(engine: AsyncEngine, tables: Tables) -> None:
    """Let every lease have run out."""
    saga = tables.saga
    async with engine.begin() as connection:
        times = await connection.execute(sa.select(saga.c.id, saga.c.wake_at).where(saga.c.wake_at.is_not(None)))
        for saga_id, time in times.all():
            earlier = {"wake_at": time - timedelta(seconds=LONG_S)}
            await connection.execute(sa.update(saga).where(saga.c.id == saga_id).values(earlier))


def titles_told(kept: tuple[list[str], list[str]]) -> tuple[list[str], list[str]]:
    titles, bodies = kept
    return titles, [body.strip('"') for body in bodies]


@pytest.mark.parametrize("transactional", [False, True])
async def test_books_and_messages_of_steps_are_kept(
    make_app: Callable[..., cqrs.App], script: Script, kept: ReadBoth, *, transactional: bool
) -> None:
    steps = [step(script, name, transactional=transactional) for name in "AB"]
    async with make_app(*steps) as app:
        saga_id = uuid.uuid4()
        assert ["A", "B"] == await run(app, saga_id)
        history = await app.saga_storage.get_step_history(saga_id)
        record = await loaded(app.saga_storage, saga_id)

    assert (["Emma A", "Emma B"], ["Emma A", "Emma B"]) == titles_told(await kept())
    assert [("A", SagaStepStatus.COMPLETED), ("B", SagaStepStatus.COMPLETED)] == [
        (entry.step_id, entry.status) for entry in history
    ]
    assert (SagaStatus.COMPLETED, None, None) == (record.status, record.owner, record.wake_at)


async def test_what_was_written_is_undone(make_app: Callable[..., cqrs.App], script: Script, kept: ReadBoth) -> None:
    """Books are taken out again; what was told of them stays told."""

    async def fail() -> None:
        raise ValueError("no paper")

    script.at["C"] = fail
    async with make_app(*(step(script, name, transactional=True) for name in "ABC")) as app:
        with pytest.raises(ValueError, match="no paper"):
            await run(app)

    assert ([], ["Emma A", "Emma B"]) == titles_told(await kept())
    assert ["act A", "act B", "act C", "undo B", "undo A"] == script.log


SERVERS = ["asyncpg", "psycopg", "asyncmy"]  # SQLite has one writer: a step that writes keeps all others out


@pytest.mark.parametrize("driver", SERVERS, indirect=True)
async def test_a_transactional_step_of_a_driver_that_lost_its_saga_keeps_nothing(
    make_app: Callable[..., cqrs.App], script: Script, kept: ReadBoth, engine: AsyncEngine, tables: Tables
) -> None:
    """What it has done is gone with its record; whoever has the saga then does it, once."""
    app, other = (make_app(step(script, "A", transactional=True)) for _ in range(2))
    saga_id = uuid.uuid4()

    async def lose() -> None:
        del script.at["A"]
        await lapse(engine, tables)
        (record,) = await app.saga_storage.claim(SagaClaim("another", LONG_S, saga_id=saga_id))
        assert 2 == record.fence

    script.at["A"] = lose
    async with app:
        with pytest.raises(errors.SagaFenced):
            await run(app, saga_id)
    assert ([], []) == await kept()

    await lapse(engine, tables)
    async with other:
        await run(other, saga_id)
    assert (["Emma A"], ["Emma A"]) == titles_told(await kept())


async def test_a_saga_that_its_process_has_left_is_gone_on_with_by_another(
    make_app: Callable[..., cqrs.App], script: Script, kept: ReadBoth, engine: AsyncEngine, tables: Tables
) -> None:
    """At the step that was not recorded, by a worker that only knows the database."""
    app, other = (make_app(*(step(script, name, transactional=True) for name in "ABC")) for _ in range(2))
    async with app:
        saga_id = await app.start_saga(Order())
        (record,) = await app.saga_storage.claim(SagaClaim("a process that dies", LONG_S, saga_id=saga_id))
        standing = Standing(SagaStatus.RUNNING, 1, attempt=1)
        await app.saga_storage.write(
            done(saga_id, standing=standing)._replace(fence=record.fence, version=record.version)
        )
    await lapse(engine, tables)

    async with other.running(only="sagas"):
        while (record := await loaded(other.saga_storage, saga_id)).status.is_live:
            pass

    assert SagaStatus.COMPLETED is record.status
    assert ["act B", "act C"] == script.log
    assert ["Emma B", "Emma C"] == (await kept())[0]


async def test_many_sagas_at_once_are_each_written_as_if_they_were_alone(
    make_app: Callable[..., cqrs.App],
) -> None:
    """Forty, two steps each, in few statements: every one has its own history and context."""

    class Plain(cqrs.SagaStepHandler[Order, str]):
        async def act(self, context: Order) -> cqrs.SagaStepResult[Order, str]:
            context.title += "!"
            return self.result(context.title)

    app = make_app(Plain, cqrs.Step(Plain, id="again"))
    ids = [uuid.uuid4() for _ in range(40)]

    async def drive(number: int) -> list[Any]:
        context = Order(f"{number}")
        return [result.response async for result in app.stream_saga(context, saga_id=ids[number])]

    async with app:
        results = await asyncio.gather(*map(drive, range(40)))
        histories = [await app.saga_storage.get_step_history(saga_id) for saga_id in ids]
        contexts = [(await loaded(app.saga_storage, saga_id)).context for saga_id in ids]

    assert [[f"{number}!", f"{number}!!"] for number in range(40)] == results
    assert [[(1, "Plain"), (2, "again")]] * 40 == [[(entry.seq, entry.step_id) for entry in one] for one in histories]
    assert [f'{{"title":"{number}!!"}}'.encode() for number in range(40)] == contexts


class Buy(cqrs.Request[None]):
    is_declined: bool


async def test_a_saga_that_a_command_starts_is_kept_with_the_command_or_not_at_all(
    make_app: Callable[..., cqrs.App], script: Script
) -> None:
    app = make_app(step(script, "A"))

    class BuyHandler(cqrs.RequestHandler[Buy, None]):
        async def handle(self, request: Buy) -> None:
            await app.start_saga(Order(f"declined={request.is_declined}"))
            if request.is_declined:
                raise ValueError("declined")

    app.requests.bind(Buy, BuyHandler)
    async with app:
        with pytest.raises(ValueError, match="declined"):
            await app.send(Buy(is_declined=True))
        await app.send(Buy(is_declined=False))
        (record,) = await app.saga_storage.find(SagaQuery())  # type: ignore[attr-defined]  # a SagaKeeper too

    assert (SagaStatus.PENDING, b'{"title":"declined=False"}') == (record.status, record.context)


# What the storage says when something is wrong ------------------------------------------------------------------------


def new_saga(**differing: Any) -> NewSaga:
    facts = {"id": uuid.uuid4(), "name": "BookSaga", "status": SagaStatus.RUNNING, "step_id": "A", "context": b"{}"}
    facts |= {"fingerprint": "f" * 16, "input_hash": "h" * 16, "owner": f"{uuid.uuid4()}", "lease_s": LONG_S}
    return NewSaga(**{**facts, **differing})


def done(saga_id: uuid.UUID, **differing: Any) -> SagaWrite:
    log = LogRecord("A", "A", Branch.PRIMARY, SagaAction.ACT, SagaStepStatus.COMPLETED)
    facts = {"standing": Standing(SagaStatus.RUNNING, 1), "step_id": "B", "claims": 0, "log": [log]}
    return SagaWrite(saga_id, 1, 1, **{**facts, **differing})


@pytest.fixture
async def opened(storage: SqlAlchemyStorage) -> AsyncIterator[SqlAlchemyStorage]:
    """A storage whose connections are closed at the end."""
    yield storage
    await storage.stop()


WRITES: list[dict[str, Any]] = [
    {"context": b'{"title":"\xc3\x84"}', "error": "was tried twice", "wake_in_s": LONG_S},
    {"standing": Standing(SagaStatus.RUNNING, 1, Branch.LEAVING, 2), "log": []},
    {"standing": Standing(SagaStatus.SUSPENDED, 1, suspended_from=SagaStatus.COMPENSATING), "claims": 3},
    {"wake_in_s": 0.0, "is_released": True, "fingerprint": "g" * 16},
    {"standing": Standing(SagaStatus.COMPLETED, 1), "context": b"[" + b"0," * 50_000 + b"0]"},
]


async def test_what_is_written_together_is_as_if_each_were_written_alone(opened: SqlAlchemyStorage) -> None:
    """Whatever some bring and others leave as it is; and of who has lost its saga, nothing."""
    sagas = opened.sagas
    together, alone = ([new_saga() for _ in range(len(WRITES) + 1)] for _ in range(2))
    await asyncio.gather(*(sagas.start(new) for new in (*together, *alone)))
    lost = done(together[-1].id)._replace(fence=2)

    outcomes = await asyncio.gather(
        *(sagas.write(done(new.id, **write)) for new, write in zip(together, WRITES, strict=False)),
        sagas.write(lost),
        return_exceptions=True,
    )
    for new, write in zip(alone, WRITES, strict=False):
        await sagas.write(done(new.id, **write))

    assert [None] * len(WRITES) == outcomes[:-1]
    assert isinstance(outcomes[-1], errors.SagaFenced)
    for first, second in zip(together, alone, strict=True):
        records = [await loaded(sagas, new.id) for new in (first, second)]
        told = [
            {name: getattr(record, name) for name in SagaRecord.__dataclass_fields__ if name not in _OF_ITS_OWN}
            for record in records
        ]
        assert told[0] == told[1]
        assert (records[0].owner is None) == (records[1].owner is None)
        due = [record.wake_at and record.wake_at - record.updated_at for record in records]
        assert due[0] == due[1] or abs(due[0] - due[1]) < timedelta(minutes=1)  # type: ignore[operator]  # if one is there
        histories = [await sagas.get_step_history(new.id) for new in (first, second)]
        assert [entry[3:] for entry in histories[0]] == [entry[3:] for entry in histories[1]]


_OF_ITS_OWN = {"id", "owner", "wake_at", "created_at", "updated_at"}


@pytest.mark.parametrize(
    ("differing", "said"),
    [
        ({"name": "x" * 256}, "its name has 256 characters, and 255 fit"),
        ({"owner": "a\0b"}, "its owner 'a.x00b' is not text that every database can keep"),
        ({"step_id": "\ud800"}, "its step_id .* leave NUL and surrogates out"),
    ],
)
async def test_a_saga_that_does_not_fit_is_refused_before_anything_is_written(
    opened: SqlAlchemyStorage, differing: dict[str, str], said: str
) -> None:
    new = new_saga(**differing)

    with pytest.raises(SagaDoesNotFit, match=said) as caught:
        await opened.sagas.start(new)

    assert new.id == caught.value.saga_id
    assert await opened.sagas.load(new.id) is None


async def test_a_context_that_is_too_long_is_refused(opened: SqlAlchemyStorage) -> None:
    """MariaDB would break the connection; what is said here says what to do instead."""
    new = new_saga()
    await opened.sagas.start(new)
    opened.sagas.form = type(opened.sagas.form)(max_bytes=10)

    with pytest.raises(SagaDoesNotFit, match="its context has 11 bytes, and 10 fit: store what is large elsewhere"):
        await opened.sagas.write(done(new.id, context=b'{"a":"bcd"}'))
    with pytest.raises(SagaDoesNotFit, match="its context has 11 bytes"):
        await opened.sagas.change(SagaChange(new.id, 1, Standing(SagaStatus.RUNNING), "", [], b'{"a":"bcd"}'))
    assert 1 == (await loaded(opened.sagas, new.id)).version


async def test_errors_are_kept_whatever_is_in_them(opened: SqlAlchemyStorage) -> None:
    """NUL and surrogates as escapes, and as much as every database has room for."""
    new = new_saga()
    await opened.sagas.start(new)
    failed = LogRecord("A", "x" * 300, 0, SagaAction.ACT, SagaStepStatus.FAILED, 1, "\0" + "🧀" * 20_000)  # type: ignore[arg-type]  # equal to it

    await opened.sagas.write(done(new.id, log=[failed], error="a\0b\ud800"))

    record = await loaded(opened.sagas, new.id)
    (entry,) = await opened.sagas.get_step_history(new.id)
    assert "a\\x00b\\ud800" == record.error
    assert ("x" * 255, "\\x00" + "🧀" * 9_999) == (entry.step_name, entry.error)


async def test_a_table_that_is_missing_is_named_with_the_cure(opened: SqlAlchemyStorage, engine: AsyncEngine) -> None:
    """Whatever is asked, by whomever."""
    new = new_saga()
    await opened.sagas.start(new)
    async with engine.begin() as connection:
        await connection.execute(sa.schema.DropTable(opened.tables.saga_step))

    for asked in (
        lambda: opened.sagas.write(done(new.id)),
        lambda: opened.sagas.get_step_history(new.id),
        lambda: opened.sagas.change(SagaChange(new.id, 1, Standing(SagaStatus.RUNNING), "", done(new.id).log)),
    ):
        with pytest.raises(
            errors.StorageUnusable, match=r"There is no table saga_step\. Migrate, or run: CREATE TABLE"
        ):
            await asked()


async def test_sagas_go_on_after_the_engine_was_disposed_of(opened: SqlAlchemyStorage, engine: AsyncEngine) -> None:
    """As for another event loop: their own connections are closed with it, and made anew."""
    new = new_saga()
    await opened.sagas.start(new)
    await engine.dispose()
    await opened.sagas.write(done(new.id))

    record = await loaded(opened.sagas, new.id)
    assert 2 == record.version


async def test_a_unit_of_another_kind_is_refused(opened: SqlAlchemyStorage) -> None:
    memory = cqrs.MemoryStorage()
    await memory.start()

    with pytest.raises(errors.InvalidOption, match="a unit of work of the storage whose sagas these are"):
        await opened.sagas.start(new_saga(), within=memory.unit_of_work())


async def test_a_write_whose_answer_was_lost_is_made_once(
    opened: SqlAlchemyStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection breaks when all is committed: it is asked again, and knows that it was done."""
    new = new_saga()
    await opened.sagas.start(new)
    statements = opened.sagas._statements  # noqa: SLF001 - where the answer comes from
    write = statements.write

    def lose(connection: sa.Connection, *given: Any, **options: Any) -> Any:
        write(connection, *given, **options)
        raise ConnectionResetError

    monkeypatch.setattr(statements, "write", lose)
    with pytest.raises(errors.StorageUnavailable):
        await opened.sagas.write(done(new.id))
    monkeypatch.undo()
    await opened.sagas.write(done(new.id))

    record = await loaded(opened.sagas, new.id)
    assert 2 == record.version
    assert 1 == len(await opened.sagas.get_step_history(new.id))


async def is_renewed(storage: SqlAlchemyStorage, saga_id: uuid.UUID) -> bool:
    (record,) = [record for record in await storage.sagas.find(SagaQuery()) if record.id == saga_id]
    return record.wake_at is not None and record.wake_at - record.created_at > timedelta(seconds=LONG_S / 2)


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"], indirect=True)
async def test_a_lease_is_not_kept_waiting_by_a_saga_that_is_just_written(opened: SqlAlchemyStorage) -> None:
    """What is free is renewed before it waits for what is not: with both locked, two could wait for each other."""
    sagas = opened.sagas
    slow, free = sorted((new_saga(lease_s=1.0), new_saga(lease_s=1.0)), key=lambda new: new.id)
    for new in (slow, free):
        await sagas.start(new)
    unit = opened.unit_of_work()
    await sagas.write(done(slow.id), within=unit)
    renewing = asyncio.ensure_future(sagas.renew([(slow.id, 1), (free.id, 1)], lease_s=LONG_S))

    while not await is_renewed(opened, free.id):
        assert not renewing.done()
    await unit.commit()
    await unit.close()
    assert set() == set(await renewing)


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"], indirect=True)
async def test_messages_that_debezium_sends_leave_the_outbox_with_the_record(
    empty_engine: AsyncEngine, envelope: Callable[..., Envelope]
) -> None:
    """They are in the log of the database, where it reads; and only those of sagas that were not lost."""
    tables = define_tables(sa.MetaData(), sent_by="debezium")
    storage = SqlAlchemyStorage(empty_engine, tables=tables)
    await storage.create()
    kept, lost = new_saga(), new_saga()
    for new in (kept, lost):
        await storage.sagas.start(new)

    outcomes = await asyncio.gather(
        storage.sagas.write(done(kept.id, envelopes=[envelope("1"), envelope("2")])),
        storage.sagas.write(done(lost.id, envelopes=[envelope("3")])._replace(fence=2)),
        return_exceptions=True,
    )

    assert outcomes[0] is None
    assert isinstance(outcomes[1], errors.SagaFenced)
    assert 2 == (await loaded(storage.sagas, kept.id)).version
    assert [] == list(await storage.outbox.pending())
    async with empty_engine.connect() as connection:
        numbered = sa.text("SELECT last_value FROM pg_sequences WHERE sequencename LIKE 'outbox%'")
        assert 2 == (await connection.execute(numbered)).scalar_one()
    await storage.stop()
