"""A program that parks keys behind their dead letters, in a process of its own, which may be killed."""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path

import cqrs_core as cqrs

#: It ends by itself when the test that was to kill it is gone: none takes so long.
LIFE_S = 120.0


class Paid(cqrs.DomainEvent):
    number: int


async def main(bootstrap: str, topic: str, dead_topic: str, group: str, notes: Path, *, seed: int) -> None:
    """Handle, and note what was handled, until this is killed; each attempt fails with a chance of a fifth."""
    chance = random.Random(seed)  # noqa: S311 - no secrets
    with notes.open("a", buffering=1) as file:

        class Take(cqrs.EventHandler[Paid]):
            async def handle(self, event: Paid) -> None:
                if chance.random() < 0.2:
                    raise ConnectionError("the bank does not answer")
                message = cqrs.current_message()
                assert message is not None
                file.write(f"{message.key} {event.number}\n")

        app = cqrs.App(group, broker=f"kafka://{bootstrap}?session_timeout_s=3&commit_interval_s=0.2")
        app.events.bind(Paid, Take)
        once = cqrs.RetryPolicy(max_attempts=1)
        app.consume(topic, {"Paid": Paid}, retry=once, dead_letter_topic=dead_topic, on_dead="park")
        async with app.running():
            file.write("ready 0\n")
            await asyncio.sleep(LIFE_S)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:5], Path(sys.argv[5]), seed=int(sys.argv[6])))  # type: ignore[arg-type] # four texts
