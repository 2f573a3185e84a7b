"""What all contestants write, with whatever outbox they have: an order, and what events tell of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from database import Piece
from sqlalchemy.orm import DeclarativeBase, mapped_column

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

#: How the events are called, and where they go.
NAME, TOPIC = "OrderPlaced", "orders"


class Base(DeclarativeBase):
    pass


class Order(Base):
    """One row of business data."""

    __tablename__ = "orders"

    id = mapped_column(sa.BigInteger, primary_key=True)
    customer = mapped_column(sa.String(100), nullable=False)
    total_cents = mapped_column(sa.Integer, nullable=False)


@dataclass(frozen=True)
class Placed:
    """What an event tells: some 220 bytes of JSON."""

    order_id: str
    customer: str
    product: str
    quantity: int
    total_cents: int
    is_gift: bool
    address: str


def order() -> Order:
    return Order(customer="Hopper, Grace", total_cents=7480)


def placed(number: int) -> Placed:
    return Placed(
        order_id=f"2f1c6d1e-93c1-4f0b-8a61-{number:012}",
        customer="Hopper, Grace",
        product="A Manual of Operation for the Automatic Sequence Controlled Calculator",
        quantity=2,
        total_cents=7480,
        is_gift=False,
        address="1 Oxford Street, Cambridge",
    )


def writing(
    sessions: async_sessionmaker[AsyncSession],
    open_outbox: Callable[[AsyncSession], Any],
    make_event: Callable[[int], object],
    *,
    orders: int,
    events: int,
) -> Piece:
    """
    Make transactions, each on a session of its own, that a program ends by hand.

    Args:
        sessions: Makes the sessions.
        open_outbox: Makes the repository for a session; asked only if there are events.
        make_event: Makes an event, before the clock runs: that is nothing that an outbox does.
        orders: How many orders each transaction has.
        events: How many events.
    """

    async def work(supplies: Sequence[Sequence[object]]) -> None:
        for batch in supplies:
            async with sessions() as session:
                session.add_all(order() for _ in range(orders))
                if not batch:
                    await session.commit()
                    continue
                outbox = open_outbox(session)
                for event in batch:
                    outbox.add(event)
                await outbox.commit()

    return Piece(lambda count: [[make_event(number) for number in range(events)] for _ in range(count)], work)
