"""When a run is over: for what is done by itself, after its command, here or in a process of others."""

import asyncio

import cqrs_core as cqrs
from shop.messages import GetRecorded, GetTotals
from shop.storing import Storing

# If, for so many seconds, no event has arrived, the rest is not waited for.
_PATIENCE_S = 60.0


async def until_all_orders_are_done(shop: cqrs.App) -> int:
    """Return when no saga goes on any more, here or elsewhere: how many of them wait for a person."""
    async with shop.saga_administration() as administration:
        sagas = administration.storage
        while (await sagas.figures()).live:  # noqa: ASYNC110 - as below
            await asyncio.sleep(0.02)
        return (await sagas.figures()).suspended


async def until_all_is_sent(storing: Storing) -> None:
    """
    Return when the outbox is empty: the reports are done with everything then.

    That is so because a broker in memory, which could lose it, says that it has delivered an event only when whoever
    consumes it is done. Of another broker an empty outbox tells no more than that it has them.
    """
    while await storing.storage.outbox.pending(limit=1):  # noqa: ASYNC110 - a process of others may be sending
        await asyncio.sleep(0.02)


async def until_all_has_arrived(shop: cqrs.App, reports: cqrs.App) -> None:
    """Return when the reports have all that the shop has recorded; or when nothing has arrived for a long time."""
    recorded = (await shop.send(GetRecorded())).events
    loop = asyncio.get_running_loop()
    arrived, since = -1, loop.time()
    while arrived < recorded and loop.time() - since < _PATIENCE_S:
        before, arrived = arrived, (await reports.send(GetTotals())).events
        if arrived != before:
            since = loop.time()
        await asyncio.sleep(0.1)
