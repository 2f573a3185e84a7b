"""Apps over real databases: each sentence of DESIGN 4.1 about units of work, on every driver."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

import cqrs_core as cqrs
from cqrs_core import errors
from cqrs_core.envelope import Envelope
from cqrs_core.outbox import OutboxedEventRepository
from cqrs_sqla import SqlAlchemyOutboxedEventRepository, SqlAlchemyStorage
from cqrs_sqla.errors import CommitInsideUnit, ForeignSession
from cqrs_sqla.tables import Tables

ReadBoth = Callable[[], Awaitable[tuple[list[str], list[str]]]]


class AddBook(cqrs.Request[str]):
    title: str


class Added(cqrs.DomainEvent):
    title: str


class Praised(cqrs.DomainEvent):
    title: str


class Arrived(cqrs.DomainEvent):
    title: str


class ListBooks(cqrs.Request[str]):
    titles: tuple[str, ...]


class Ask(cqrs.Request[int]):
    pass


class Steps:
    """What handlers do beside writing; told by the tests, by the names of the places."""

    def __init__(self) -> None:
        self.at: dict[str, Callable[..., Awaitable[None]]] = {}
        self.log: list[str] = []

    async def reach(self, place: str, session: AsyncSession) -> None:
        self.log.append(place)
        if place in self.at:
            await self.at[place](session)


class Shelf:
    """Business data over whatever session the unit has."""

    def __init__(self, session: AsyncSession) -> None:
        self.session = session

    async def add(self, title: str) -> None:
        await self.session.execute(sa.text("INSERT INTO books (title) VALUES (:title)"), {"title": title})


class AddBookHandler(cqrs.RequestHandler[AddBook, str]):
    def __init__(self, shelf: Shelf, steps: Steps) -> None:
        self._shelf, self._steps = shelf, steps

    async def handle(self, request: AddBook) -> str:
        await self._shelf.add(request.title)
        self.events.append(Added(request.title))
        await self._steps.reach("handler", self._shelf.session)
        return request.title


class Outer(cqrs.Request[None]):
    title: str = "outer"


class OuterHandler(cqrs.RequestHandler[Outer, None]):
    def __init__(self, shelf: Shelf, steps: Steps) -> None:
        self._shelf, self._steps = shelf, steps

    async def handle(self, request: Outer) -> None:
        await self._shelf.add(request.title)
        await self._steps.reach("outer", self._shelf.session)


class Praise(cqrs.EventHandler[Added]):
    def __init__(self, shelf: Shelf, steps: Steps) -> None:
        self._shelf, self._steps = shelf, steps

    async def handle(self, event: Added) -> None:
        await self._shelf.add(f"praise of {event.title}")
        self.events.append(Praised(event.title))
        await self._steps.reach("praise", self._shelf.session)


class Shelve(cqrs.EventHandler[Added]):
    def __init__(self, shelf: Shelf, steps: Steps) -> None:
        self._shelf, self._steps = shelf, steps

    async def handle(self, event: Added) -> None:
        await self._shelf.add(f"place of {event.title}")
        await self._steps.reach("shelve", self._shelf.session)


class ListBooksHandler(cqrs.StreamingRequestHandler[ListBooks, str]):
    def __init__(self, shelf: Shelf, steps: Steps) -> None:
        self._shelf, self._steps = shelf, steps

    async def handle(self, request: ListBooks) -> AsyncIterator[str]:
        for title in request.titles:
            await self._shelf.add(title)
            self.events.append(Added(title))
            await self._steps.reach(title, self._shelf.session)
            yield title


class AskHandler(cqrs.RequestHandler[Ask, int]):
    async def handle(self, request: Ask) -> int:
        return 1


class Receive(cqrs.EventHandler[Arrived]):
    def __init__(self, shelf: Shelf, steps: Steps) -> None:
        self._shelf, self._steps = shelf, steps

    async def handle(self, event: Arrived) -> None:
        await self._shelf.add(event.title)
        await self._steps.reach("receive", self._shelf.session)


class ReceiveMany(cqrs.EventBatchHandler[Arrived]):
    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    async def handle(self, events: Sequence[Arrived]) -> None:
        for index, event in enumerate(events):
            if event.title == "poison":
                raise cqrs.BatchFailed(index) from ValueError("poison")
            await self._shelf.add(event.title)


@pytest.fixture
def steps() -> Steps:
    return Steps()


@pytest.fixture
def make_app(books: type, storage: SqlAlchemyStorage, steps: Steps) -> Callable[..., cqrs.App]:  # noqa: ARG001 - its table
    """Make Apps over the test's database."""

    def make(*, retry: cqrs.RetryPolicy | None = None, **options: Any) -> cqrs.App:
        container = options.pop("container", None) or cqrs.SimpleContainer()
        container.instance(Steps, steps)
        app = cqrs.App("library", container=container, **{"storage": storage, **options})
        app.requests.bind(AddBook, AddBookHandler, retry=retry)
        app.requests.bind(Outer, OuterHandler)
        app.requests.bind(ListBooks, ListBooksHandler)
        app.requests.bind(Ask, AskHandler)
        app.publishes("books", {"Added": Added, "Praised": Praised}, key="title")
        return app

    return make


async def fail(_: AsyncSession) -> None:
    raise KeyError("no")


async def until(condition: Callable[[], bool]) -> None:
    async def wait() -> None:
        while not condition():  # noqa: ASYNC110 - what changes it has no event
            await asyncio.sleep(0)

    await asyncio.wait_for(wait(), 60)


async def test_books_and_events_are_one_transaction(make_app: Callable[..., cqrs.App], kept: ReadBoth) -> None:
    """Session, handler, domain event handlers, follow-ups and outbox rows are committed together."""
    app = make_app()
    app.events.bind(Added, Praise)
    app.events.bind(Added, Shelve)
    async with app:
        assert "Emma" == await app.send(AddBook("Emma"))
    told = ['{"title":"Emma"}', '{"title":"Emma"}']
    assert (["Emma", "praise of Emma", "place of Emma"], told) == await kept()


@pytest.mark.parametrize("place", ["handler", "praise"])
async def test_a_rolled_back_command_leaves_neither_books_nor_events(
    make_app: Callable[..., cqrs.App], steps: Steps, kept: ReadBoth, place: str
) -> None:
    """Events of an attempt that raised are dropped; the first error of an event handler ends and rolls back all."""
    app = make_app()
    app.events.bind(Added, Praise)
    app.events.bind(Added, Shelve)
    steps.at[place] = fail
    async with app:
        with pytest.raises((KeyError, cqrs.EventHandlersFailed)):
            await app.send(AddBook("Emma"))
    assert ([], []) == await kept()
    assert "shelve" not in steps.log


async def test_what_the_database_refuses_rolls_back_everything(
    make_app: Callable[..., cqrs.App], kept: ReadBoth
) -> None:
    """The error is the driver's own, as SQLAlchemy has it."""
    async with make_app() as app:
        await app.send(AddBook("Emma"))
        with pytest.raises(IntegrityError):
            await app.send(AddBook("Emma"))
        await app.send(AddBook("Persuasion"))
    assert (["Emma", "Persuasion"], ['{"title":"Emma"}', '{"title":"Persuasion"}']) == await kept()


async def test_each_attempt_has_a_transaction_of_its_own(
    make_app: Callable[..., cqrs.App], steps: Steps, kept: ReadBoth
) -> None:
    """A retry begins with nothing of what the first attempt did."""
    app = make_app(retry=cqrs.RetryPolicy(max_attempts=2, delay_s=0))

    async def fail_once(session: AsyncSession) -> None:
        del steps.at["handler"]
        await fail(session)

    steps.at["handler"] = fail_once
    async with app:
        await app.send(AddBook("Emma"))
    assert (["Emma"], ['{"title":"Emma"}']) == await kept()
    assert ["handler", "handler"] == steps.log


async def test_a_message_that_touches_no_session_connects_to_nothing(
    make_app: Callable[..., cqrs.App], engine: AsyncEngine
) -> None:
    """Opened on first use: a query that touches no session costs no transaction."""
    async with make_app() as app:
        statements: list[str] = []
        sa.event.listen(engine.sync_engine, "before_cursor_execute", lambda *facts: statements.append(facts[2]))
        begun: list[object] = []
        sa.event.listen(engine.sync_engine, "begin", begun.append)
        assert 1 == await app.send(Ask())
    assert ([], []) == (statements, begun)


async def test_under_log_each_event_handler_has_a_savepoint(
    make_app: Callable[..., cqrs.App], steps: Steps, kept: ReadBoth
) -> None:
    """One that fails, for the database too, leaves nothing, its events neither; the rest is committed."""
    app = make_app(event_errors="log")
    app.events.bind(Added, Praise)
    app.events.bind(Added, Shelve)

    async def break_it(session: AsyncSession) -> None:
        await Shelf(session).add("Emma")  # is there already

    steps.at["praise"] = break_it
    async with app:
        await app.send(AddBook("Emma"))
    assert (["Emma", "place of Emma"], ['{"title":"Emma"}']) == await kept()


async def test_an_event_handler_is_tried_again_in_a_savepoint(
    make_app: Callable[..., cqrs.App], steps: Steps, kept: ReadBoth
) -> None:
    """After an error of the database only the savepoint is lost, not what is around it."""
    app = make_app()
    app.events.bind(Added, Praise, retry=cqrs.RetryPolicy(max_attempts=2, delay_s=0))

    async def break_once(session: AsyncSession) -> None:
        del steps.at["praise"]
        await Shelf(session).add("Emma")

    steps.at["praise"] = break_once
    async with app:
        await app.send(AddBook("Emma"))
    assert ["Emma", "praise of Emma"] == (await kept())[0]


async def test_a_send_inside_a_handler_joins_and_what_fails_in_it_rolls_back_all(
    make_app: Callable[..., cqrs.App], steps: Steps, kept: ReadBoth
) -> None:
    """A ``send`` inside a handler joins its unit; if it raises, that can only roll back, caught or not."""
    async with make_app() as app:

        async def send_inside(_: AsyncSession) -> None:
            await app.send(AddBook("inner"))

        steps.at["outer"] = send_inside
        await app.send(Outer())
        assert (["outer", "inner"], ['{"title":"inner"}']) == await kept()

        async def catch_inside(session: AsyncSession) -> None:
            steps.at["handler"] = fail
            with pytest.raises(KeyError):
                await app.send(AddBook("again"))
            await Shelf(session).add("after it")

        steps.at["outer"] = catch_inside
        with pytest.raises(errors.UnitOfWorkRolledBack):
            await app.send(Outer("another"))
    assert (["outer", "inner"], ['{"title":"inner"}']) == await kept()


async def test_another_task_is_refused(make_app: Callable[..., cqrs.App], steps: Steps, kept: ReadBoth) -> None:
    """One session, one task: ``UnitOfWorkShared``, and the unit itself goes on."""
    async with make_app() as app:

        async def send_beside(_: AsyncSession) -> None:
            with pytest.raises(errors.UnitOfWorkShared):
                await asyncio.gather(app.send(AddBook("inner")))

        steps.at["outer"] = send_beside
        await app.send(Outer())
    assert (["outer"], []) == await kept()


async def test_a_handler_that_commits_is_told_not_to(
    make_app: Callable[..., cqrs.App], steps: Steps, kept: ReadBoth
) -> None:
    """Half of it would be kept whatever happens to the rest; an event handler is refused too."""
    app = make_app()
    app.events.bind(Added, Praise)

    async def commit(session: AsyncSession) -> None:
        await session.commit()

    async with app:
        for place in ("handler", "praise"):
            steps.at = {place: commit}
            with pytest.raises((CommitInsideUnit, cqrs.EventHandlersFailed)) as caught:
                await app.send(AddBook("Emma"))
            assert "commit" in repr(getattr(caught.value, "errors", caught.value))
    assert ([], []) == await kept()


async def test_streams_commit_before_each_item(
    make_app: Callable[..., cqrs.App], kept: ReadBoth, engine: AsyncEngine
) -> None:
    """With that item's events; no connection is held meanwhile; leaving early rolls back what is unfinished."""
    async with make_app() as app:
        async with aclosing(app.stream(ListBooks(("a", "b", "c")))) as answers:
            assert "a" == await anext(answers)
            assert (["a"], ['{"title":"a"}']) == await kept()
            assert 0 == engine.pool.checkedout()  # type: ignore[attr-defined]  # a queue
            assert "b" == await anext(answers)
        assert (["a", "b"], ['{"title":"a"}', '{"title":"b"}']) == await kept()


async def test_an_item_that_fails_is_rolled_back_alone(
    make_app: Callable[..., cqrs.App], steps: Steps, kept: ReadBoth
) -> None:
    """Those before it were committed, and handed out."""
    steps.at["b"] = fail
    async with make_app() as app:
        with pytest.raises(KeyError):
            async for _ in app.stream(ListBooks(("a", "b", "c"))):
                pass
    assert (["a"], ['{"title":"a"}']) == await kept()


# One driver: what others leave behind of a connection that is given up while it is being made, a future that nobody
# asks, or a session of the server's for a while, is theirs. Units alone are cancelled on all of them.
@pytest.mark.parametrize("driver", ["asyncmy"])
async def test_a_cancelled_command_is_rolled_back_or_committed_as_a_whole(
    make_app: Callable[..., cqrs.App], steps: Steps, kept: ReadBoth, engine: AsyncEngine
) -> None:
    """Cancelled at any moment: books and events agree, and the connection is back."""
    async with make_app() as app:
        await app.send(AddBook("the first"))
        for number in range(60):
            task = asyncio.ensure_future(app.send(AddBook(f"book {number}")))
            await asyncio.wait([task], timeout=number * 0.0002)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert 0 == engine.pool.checkedout()  # type: ignore[attr-defined]  # a queue
    titles, told = await kept()
    assert [f'{{"title":"{title}"}}' for title in titles] == told
    assert len(steps.log) > 1, "it was always cancelled before it had begun"


async def test_the_session_may_be_the_containers(
    make_app: Callable[..., cqrs.App], engine: AsyncEngine, tables: Tables, kept: ReadBoth, steps: Steps
) -> None:
    """With ``session_from="container"`` we begin, flush and commit what the container makes and closes."""
    sessions = async_sessionmaker(engine, expire_on_commit=False)
    made: list[AsyncSession] = []

    async def make_session() -> AsyncIterator[AsyncSession]:
        async with sessions() as session:
            made.append(session)
            yield session

    container = cqrs.SimpleContainer()
    container.scoped(AsyncSession, make_session)
    storage = SqlAlchemyStorage(engine, tables=tables, session_from="container")
    app = make_app(container=container, storage=storage)
    app.events.bind(Added, Praise)
    async with app:
        await app.send(AddBook("Emma"))
        steps.at["praise"] = fail
        with pytest.raises(cqrs.EventHandlersFailed):
            await app.send(AddBook("Persuasion"))
    assert ["Emma", "praise of Emma"] == (await kept())[0]
    assert 2 == len(made)


class SayByHand(cqrs.Request[None]):
    title: str


class SayByHandHandler(cqrs.RequestHandler[SayByHand, None]):
    def __init__(self, shelf: Shelf, outbox: OutboxedEventRepository) -> None:
        self._shelf, self._outbox = shelf, outbox

    async def handle(self, request: SayByHand) -> None:
        await self._shelf.add(request.title)
        self._outbox.add(cqrs.NotificationEvent(event_name="Said", topic="said", payload=Added(request.title)))
        await self._outbox.commit()
        if request.title == "wrong":
            raise KeyError(request.title)


async def test_the_outbox_by_hand_is_a_part_of_the_unit(make_app: Callable[..., cqrs.App], kept: ReadBoth) -> None:
    """By hand, ``outbox.commit()`` inside a unit flushes; the unit commits, or does not."""
    app = make_app()
    app.requests.bind(SayByHand, SayByHandHandler)
    async with app:
        await app.send(SayByHand("right"))
        with pytest.raises(KeyError):
            await app.send(SayByHand("wrong"))
    assert (["right"], ['{"title":"right"}']) == await kept()


async def test_an_outbox_over_another_session_is_refused(
    make_app: Callable[..., cqrs.App], engine: AsyncEngine, steps: Steps
) -> None:
    """Its events would be sent though the unit is rolled back, or the other way round."""

    async def use_another(_: AsyncSession) -> None:
        async with AsyncSession(engine) as session:
            event = cqrs.NotificationEvent(event_name="Said", topic="said", payload=Added("x"))
            SqlAlchemyOutboxedEventRepository(session).add(event)

    steps.at["handler"] = use_another
    async with make_app() as app:
        with pytest.raises(ForeignSession):
            await app.send(AddBook("Emma"))


async def test_what_does_not_fit_into_the_outbox_fails_the_command(
    make_app: Callable[..., cqrs.App], kept: ReadBoth
) -> None:
    """An event that is too long fails the command before the commit."""
    app = make_app()
    app.publishes("long", {"Added": Added}, key=lambda _: "k" * 1000)
    async with app:
        with pytest.raises(cqrs.EventHandlersFailed) as caught:
            await app.send(AddBook("Emma"))
    assert isinstance(caught.value.errors[0], errors.UnpublishableEnvelope)
    assert ([], []) == await kept()


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg", "asyncmy"])
async def test_a_session_that_the_server_kills_in_the_middle_of_a_command(
    make_app: Callable[..., cqrs.App], steps: Steps, kept: ReadBoth, engine: AsyncEngine
) -> None:
    """The command fails, or is tried again; nothing of the first attempt stays, and no connection is lost."""
    # Whatever it says: drivers let through errors of their own, too.
    app = make_app(retry=cqrs.RetryPolicy(max_attempts=2, delay_s=0))

    async def be_killed(session: AsyncSession) -> None:
        del steps.at["handler"]
        is_mariadb = engine.dialect.name == "mysql"
        own = "SELECT connection_id()" if is_mariadb else "SELECT pg_backend_pid()"
        number: int = (await session.execute(sa.text(own))).scalar_one()
        async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as other:
            await other.execute(sa.text(f"KILL {number}" if is_mariadb else f"SELECT pg_terminate_backend({number})"))
        for _ in range(1000):
            await session.execute(sa.text("SELECT 1"))

    steps.at["handler"] = be_killed
    async with app:
        await app.send(AddBook("Emma"))
        await app.send(AddBook("Persuasion"))
    assert (["Emma", "Persuasion"], ['{"title":"Emma"}', '{"title":"Persuasion"}']) == await kept()
    assert ["handler", "handler", "handler"] == steps.log


# From the bus --------------------------------------------------------------------------------------------------------


def arrived(title: str, message_id: uuid.UUID) -> Envelope:
    headers = {"ce_id": str(message_id), "ce_type": "Arrived", "ce_source": "harbour", "ce_specversion": "1.0"}
    return Envelope("arrivals", f'{{"title":"{title}"}}'.encode(), None, headers)


async def test_a_hundred_messages_in_four_copies_are_handled_a_hundred_times(
    make_app: Callable[..., cqrs.App], kept: ReadBoth
) -> None:
    """All copies at once: the inbox row comes first, and the loser of a race waits for it, and does nothing."""
    broker = cqrs.MemoryBroker(max_waiting=1000)
    app = make_app(broker=broker, max_concurrent_messages=8)
    app.events.bind(Arrived, Receive)
    app.consume("arrivals", {"Arrived": Arrived}, order="none", retry=cqrs.RetryPolicy(max_attempts=20, delay_s=0.01))
    messages = [arrived(str(number), uuid.uuid4()) for number in range(100)]
    async with app.running(only=["consumers"]):
        for message in messages:
            for _ in range(4):
                await broker.send(message)
        await until(lambda: app.consumers[0].counts["handled"] == 400)
    titles, _ = await kept()
    assert sorted(titles) == sorted(str(number) for number in range(100))
    assert 0 == app.consumers[0].counts["dead_lettered"]


async def test_a_batch_is_one_transaction_and_its_poison_does_not_spoil_the_rest(
    make_app: Callable[..., cqrs.App], kept: ReadBoth
) -> None:
    """What comes before the poison is kept once, what comes after it too; the poison goes to the dead letters."""
    broker = cqrs.MemoryBroker(partitions=1)
    app = make_app(broker=broker)
    once = cqrs.RetryPolicy(max_attempts=1)
    app.consume("arrivals", {"Arrived": Arrived}, batch_handler=ReceiveMany, order="partition", retry=once)
    async with app.running(only=["consumers"]):
        for title in ("a", "b", "poison", "c"):
            await broker.send(arrived(title, uuid.uuid4()))
        counts = app.consumers[0].counts
        await until(lambda: counts["handled"] == 3 and counts["dead_lettered"] == 1)
    assert ["a", "b", "c"] == (await kept())[0]


async def test_a_message_that_fails_leaves_no_inbox_row(
    make_app: Callable[..., cqrs.App], steps: Steps, kept: ReadBoth
) -> None:
    """Its row is rolled back with the rest, so that it is new when it comes again."""
    broker = cqrs.MemoryBroker()
    app = make_app(broker=broker)
    app.events.bind(Arrived, Receive)
    app.consume("arrivals", {"Arrived": Arrived}, retry=cqrs.RetryPolicy(max_attempts=3, delay_s=0))

    async def fail_once(session: AsyncSession) -> None:
        del steps.at["receive"]
        await fail(session)

    steps.at["receive"] = fail_once
    async with app.running(only=["consumers"]):
        await broker.send(arrived("Emma", uuid.uuid4()))
        await until(lambda: app.consumers[0].counts["handled"] == 1)
    assert ["Emma"] == (await kept())[0]
    assert ["receive", "receive"] == steps.log


async def test_the_whole_way_round(make_app: Callable[..., cqrs.App], kept: ReadBoth) -> None:
    """Unit of work, outbox, relay, broker, consumer, inbox: over one database, in one process."""
    broker = cqrs.MemoryBroker()
    app = make_app(broker=broker)
    app.events.bind(Arrived, Receive)
    app.publishes("arrivals", {"Arrived": Praised})
    app.events.bind(Added, Praise)
    app.consume("arrivals", {"Arrived": Arrived})
    async with app.running():
        for number in range(10):
            await app.send(AddBook(f"n{number}"))
        await until(lambda: app.relay is not None and app.relay.counts["sent"] == 30)
    titles, told = await kept()
    assert [] == told
    assert 20 == len(titles)
