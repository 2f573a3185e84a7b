"""What the suite cannot know: processes that share the folder, and one that crashes."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

from directory_broker.broker import DirectoryBroker

from cqrs_core.envelope import Envelope

#: Receives messages until it is killed, and acknowledges none.
CONSUMER = """
import asyncio, sys
from pathlib import Path
from directory_broker.broker import DirectoryBroker

async def nothing(partitions): pass

async def main():
    broker = DirectoryBroker(Path(sys.argv[1]), poll_interval_s=0.01, member_ttl_s=1)
    await broker.start()
    subscription = await broker.subscribe(["orders"], group="shop", on_revoked=nothing)
    print("ready", flush=True)
    while True:
        for delivery in await subscription.receive(10):
            print(delivery.envelope.body.decode(), flush=True)

asyncio.run(main())
"""


async def nothing(partitions: Collection[str]) -> None:
    """Nothing is under way."""


def test_what_a_crashed_process_had_comes_to_another(tmp_path: Path) -> None:
    """Its claims are free when it has not been seen for ``member_ttl_s``."""
    sent = [f"order {number}" for number in range(20)]

    async def send() -> None:
        broker = DirectoryBroker(tmp_path, poll_interval_s=0.01, member_ttl_s=1)
        await broker.start()
        await broker.send_many([Envelope("orders", text.encode(), text) for text in sent])

    async def receive() -> list[str]:
        broker = DirectoryBroker(tmp_path, poll_interval_s=0.01, member_ttl_s=1)
        await broker.start()
        subscription = await broker.subscribe(["orders"], group="shop", on_revoked=nothing)
        received: list[str] = []
        while len(received) < len(sent):
            deliveries = await subscription.receive(10)
            await subscription.acknowledge(deliveries)
            received += [delivery.envelope.body.decode() for delivery in deliveries]
        await subscription.close()
        return received

    command = [sys.executable, "-c", CONSUMER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as consumer:
        assert consumer.stdout is not None
        assert "ready\n" == consumer.stdout.readline()
        asyncio.run(send())
        assert sorted(sent) == sorted(consumer.stdout.readline().strip() for _ in sent)
        consumer.kill()
    received = asyncio.run(asyncio.wait_for(receive(), timeout=30))

    assert sorted(sent) == sorted(received)
