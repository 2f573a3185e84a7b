"""A consumer in a process of its own, which may be killed: it writes what it has handled, and then acknowledges it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Collection
from pathlib import Path

from cqrs_kafka import KafkaBroker, KafkaSettings


async def main(bootstrap: str, topic: str, group: str, notes: Path) -> None:
    """Receive until this is killed."""

    async def on_revoked(_partitions: Collection[str]) -> None:
        """Nothing is under way but what is being written."""

    broker = KafkaBroker(KafkaSettings(servers=(bootstrap,), session_timeout_s=3.0, commit_interval_s=0.2))
    await broker.start()
    subscription = await broker.subscribe([topic], group=group, on_revoked=on_revoked)
    with notes.open("ab", buffering=0) as file:
        file.write(b"ready\n")
        while True:
            deliveries = await subscription.receive(50)
            file.write(b"".join(b"%s\n" % delivery.envelope.body for delivery in deliveries))
            await subscription.acknowledge(deliveries)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4], Path(sys.argv[4])))  # type: ignore[arg-type] # three texts
