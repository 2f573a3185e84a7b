"""What all contestants drain from their outboxes: how much at a time, and to what kind of broker."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from database import Piece
from environment import KAFKA_SERVER

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from database import Database
    from sqlalchemy.ext.asyncio import AsyncSession


class Drain(NamedTuple):
    """
    One way to empty an outbox.

    Attributes:
        delay_ms: How long the broker takes: for a batch if it is given one, for a message if it is given these one by
            one.
        batch: How many events are read at a time.
        is_kafka: Whether the broker is a Kafka instead, as each contestant uses it.
    """

    delay_ms: int
    batch: int
    is_kafka: bool = False

    @property
    def key(self) -> str:
        """Names its blocks."""
        return f"drain_{'kafka' if self.is_kafka else self.delay_ms}_{self.batch}"

    @property
    def title(self) -> str:
        """Names its rows."""
        if self.is_kafka:
            return f"Kafka, batches of {self.batch}"
        broker = f"broker of {self.delay_ms} ms" if self.delay_ms else "no-op broker"
        return f"{broker}, batches of {self.batch}"

    async def answer(self) -> None:
        """Take as long as the broker does."""
        if self.delay_ms:
            await asyncio.sleep(self.delay_ms / 1000)


def drains() -> list[Drain]:
    """List the ways that can be measured here."""
    return [
        *(Drain(0, batch) for batch in (100, 500, 1000)),
        *(Drain(1, batch) for batch in (100, 500)),
        *([Drain(0, 500, is_kafka=True)] if os.environ.get(KAFKA_SERVER) else []),
    ]


class WronglyDrained(Exception):
    """What was measured is not what was to be."""


def draining(
    database: Database,
    open_outbox: Callable[[AsyncSession], Any],
    make_event: Callable[[int], object],
    drain: Callable[[int], Awaitable[int]],
) -> Piece:
    """
    Make a piece of work whose events are committed, in one transaction, before the clock runs.

    Args:
        database: Where they are.
        open_outbox: Makes the repository that writes them.
        make_event: Makes one.
        drain: Takes out so many, which is all there are, and tells how many it has sent.
    """

    async def fill(count: int) -> None:
        async with database.sessions() as session:
            outbox = open_outbox(session)
            for number in range(count):
                outbox.add(make_event(number))
            await outbox.commit()

    def prepare(count: int) -> range:
        database.run(fill(count))
        return range(count)

    async def work(supplies: range) -> None:
        sent = await drain(len(supplies))
        if sent != len(supplies):
            raise WronglyDrained(f"{sent} of {len(supplies)} events were sent.")

    return Piece(prepare, work)
