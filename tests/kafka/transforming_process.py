"""A transformer in a process of its own, which stops in the middle of a transaction: to be killed there, or frozen."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer

from cqrs_core.envelope import Envelope
from cqrs_kafka import KafkaSettings, KafkaTransformer


async def main(bootstrap: str, source: str, target: str, group: str, notes: Path) -> None:
    """Double what comes; stop before the third commit, and go on when the file ``go`` is there."""
    usual, commits = AIOKafkaProducer.commit_transaction, 0

    async def commit(self: Any) -> None:
        nonlocal commits
        commits += 1
        if commits == 3:
            (notes / "in the middle").touch()
            while not (notes / "go").exists():  # noqa: ASYNC110 - another process makes it
                await asyncio.sleep(0.01)
        await usual(self)

    async def double(envelopes: Sequence[Envelope]) -> list[Envelope]:
        return [Envelope(target, b"%d" % (2 * int(envelope.body)), envelope.key) for envelope in envelopes]

    AIOKafkaProducer.commit_transaction = commit  # type: ignore[method-assign] # this process is for that
    settings = KafkaSettings(servers=(bootstrap,), session_timeout_s=3.0)
    await KafkaTransformer(settings, [source], group=group, transform=double, max_batch_size=20).run()


#: It ends by itself when the test that was to end it is gone: none takes so long.
LIFE_S = 120.0

if __name__ == "__main__":
    logging.basicConfig(filename=f"{sys.argv[5]}/log", level=logging.WARNING)
    asyncio.run(asyncio.wait_for(main(*sys.argv[1:5], Path(sys.argv[5])), LIFE_S))  # type: ignore[arg-type] # four texts
