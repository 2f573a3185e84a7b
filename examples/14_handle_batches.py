"""A handler of batches takes many events at once; when one of them fails, it says which: those before it are done."""

import asyncio
import logging
from collections.abc import Sequence

import cqrs_core as cqrs

full_at = [23]  # once
stored: asyncio.Queue[int] = asyncio.Queue()


class Measured(cqrs.DomainEvent):
    degrees: int


class StoreMeasurements(cqrs.EventBatchHandler[Measured]):
    async def handle(self, events: Sequence[Measured]) -> None:
        print(f"to store: {[event.degrees for event in events]}")
        for index, event in enumerate(events):
            try:
                await store(event.degrees)
            except OSError as error:
                print(f"  not {event.degrees}: {error}")
                raise cqrs.BatchFailed(index) from error  # what was before it does not come again


async def store(degrees: int) -> None:
    if degrees in full_at:
        full_at.remove(degrees)
        raise OSError("the disk is full")
    await stored.put(degrees)


async def main() -> None:
    broker = cqrs.MemoryBroker()
    sensor = cqrs.App("sensor", broker=broker)
    sensor.publishes("weather", {"Measured": Measured}, key=lambda _: "the only sensor")

    archive = cqrs.App("archive", broker=broker)
    archive.consume(
        "weather",
        {"Measured": Measured},
        batch_handler=StoreMeasurements,
        max_batch_size=3,  # of one key; with order="partition", of one partition
        retry=cqrs.RetryPolicy(delay_s=0.01),
    )
    async with archive.running(), sensor:
        for degrees in range(20, 27):
            await sensor.publish(Measured(degrees))
        print(f"stored: {[await stored.get() for _ in range(7)]}")


if __name__ == "__main__":
    logging.getLogger("cqrs_core").addHandler(logging.NullHandler())  # it tells of the failure, with its traceback
    asyncio.run(main())
