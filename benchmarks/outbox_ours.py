"""The pieces of work with our outbox: by the repository, by handlers in their units of work; and beside raw asyncpg."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import asyncpg
from database import Piece
from orders import NAME, TOPIC, Placed, order, placed, writing
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

import cqrs_core as cqrs
from cqrs_sqla import SqlAlchemyOutboxedEventRepository

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from database import Database

OrderPlaced = cqrs.NotificationEvent[Placed]
#: How many events a transaction has that has nothing else, and how many one that has an order.
ALONE, WITH_ORDER = (1, 3, 100), (1, 3, 20)


def order_placed(number: int) -> cqrs.NotificationEvent[Placed]:
    return OrderPlaced(event_name=NAME, topic=TOPIC, payload=placed(number))


class Place(cqrs.Request[None]):
    orders: int
    events: list[cqrs.NotificationEvent[Placed]]


class PlaceHandler(cqrs.RequestHandler[Place, None]):
    """Leaves the transaction to its unit of work."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def handle(self, request: Place) -> None:
        self._session.add_all(order() for _ in range(request.orders))
        self.events.extend(request.events)


class PlaceByHand(cqrs.Request[None]):
    pass


class PlaceByHandHandler(cqrs.RequestHandler[PlaceByHand, None]):
    """Has a transaction of its own."""

    def __init__(self, sessions: async_sessionmaker) -> None:
        self._sessions = sessions

    async def handle(self, request: PlaceByHand) -> None:  # noqa: ARG002 - there is one thing to do
        async with self._sessions.begin() as session:
            session.add(order())


class Ask(cqrs.Request[int]):
    pass


class AskHandler(cqrs.RequestHandler[Ask, int]):
    async def handle(self, request: Ask) -> int:  # noqa: ARG002 - the least that a handler can do
        return 1


@asynccontextmanager
async def works(database: Database) -> AsyncIterator[dict[str, Piece]]:
    """Put the pieces of work together; numbers in their names are those of the events."""
    container = cqrs.SimpleContainer()
    container.instance(async_sessionmaker, database.sessions)
    bare = cqrs.App("bench", container=container)
    bare.requests.bind(PlaceByHand, PlaceByHandHandler)
    bare.requests.bind(Ask, AskHandler)
    # Entered but not running: there is no relay that would empty the outbox meanwhile.
    stored = cqrs.App("bench", storage=database.url)
    stored.requests.bind(Place, PlaceHandler)
    stored.requests.bind(Ask, AskHandler)

    def by_repository(orders: int, events: int) -> Piece:
        return writing(database.sessions, SqlAlchemyOutboxedEventRepository, order_placed, orders=orders, events=events)

    def by_handler(orders: int, events: int) -> Piece:
        return sending(stored, lambda: Place(orders, [order_placed(number) for number in range(events)]))

    async with bare, stored:
        first = by_repository(0, max(ALONE))
        await first.work(first.prepare(1))
        connection = await asyncpg.connect(database.url)
        rows = await connection.fetch(_SELECT)
        yield {
            **{f"raw_{events}": inserting(connection, rows[:events]) for events in ALONE},
            **{f"write_{events}": by_repository(0, events) for events in ALONE},
            **{f"handler_{events}": by_handler(0, events) for events in ALONE},
            **{f"order_{events}": by_repository(1, events) for events in (0, *WITH_ORDER)},
            **{f"unit_{events}": by_handler(1, events) for events in (0, *WITH_ORDER)},
            "by_hand": sending(bare, PlaceByHand),
            "ask": sending(bare, Ask),
            "ask_stored": sending(stored, Ask),
        }
        await connection.close()


def sending(app: cqrs.App, make_request: Callable[[], cqrs.Request[Any]]) -> Piece:
    async def work(supplies: Sequence[cqrs.Request[Any]]) -> None:
        for request in supplies:
            await app.send(request)

    return Piece(lambda count: [make_request() for _ in range(count)], work)


_SELECT = "SELECT id, slot, aggregatetype, aggregateid, type, payload, headers FROM outbox ORDER BY seq"
_INSERT = """
    INSERT INTO outbox (id, slot, aggregatetype, aggregateid, type, payload, headers, created_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, clock_timestamp())
"""
_INSERT_ARRAYS = """
    INSERT INTO outbox (id, slot, aggregatetype, aggregateid, type, payload, headers, created_at)
    SELECT *, clock_timestamp() FROM unnest(
        $1::uuid[], $2::smallint[], $3::text[], $4::text[], $5::text[], $6::bytea[], $7::json[]
    )
"""


def inserting(connection: asyncpg.Connection, rows: Sequence[Sequence[Any]]) -> Piece:
    """Write the same *rows* with nothing in between: what is left of it is the server's, and the driver's."""
    statement = _INSERT if len(rows) == 1 else _INSERT_ARRAYS
    arguments = tuple(rows[0]) if len(rows) == 1 else tuple(zip(*rows, strict=True))

    async def work(supplies: Sequence[int]) -> None:
        for _ in supplies:
            async with connection.transaction():
                await connection.execute(statement, *arguments)

    return Piece(range, work)
