"""A relay in a process of its own; its broker is a file, to which several processes append. See ``test_relay.py``."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence

import sqlalchemy as sa

from cqrs_core.broker import SendOutcome, SendStatus
from cqrs_core.concurrency import Gate
from cqrs_core.envelope import Envelope
from cqrs_core.relay import OutboxRelay, RelayOptions
from cqrs_sqla import SqlAlchemyStorage, define_tables, make_engine

DELIVERED = SendOutcome(SendStatus.DELIVERED)


class FileBroker:
    """Writes each message as a line: its key and its body."""

    is_durable = True
    keeps_order_after_failure = True

    def __init__(self, path: str, stop_after: int | None) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._left = stop_after

    async def send_many(self, envelopes: Sequence[Envelope]) -> Sequence[SendOutcome]:
        for envelope in envelopes:
            if self._left == 0:
                sys.stdout.write("in the middle of a batch\n")
                sys.stdout.flush()
                await asyncio.Event().wait()  # until somebody kills this process
            if self._left is not None:
                self._left -= 1
            os.write(self._file, f"{envelope.key} {envelope.body.decode()}\n".encode())
        return [DELIVERED] * len(envelopes)


async def main(url: str, path: str, ttl_s: float, stop_after: int | None) -> None:
    storage = SqlAlchemyStorage(make_engine(url), tables=define_tables(sa.MetaData()), owns_engine=True)
    await storage.start()
    options = RelayOptions(batch_size=50, lease_ttl_s=ttl_s, longest_poll_s=0.1)
    lease = storage.outbox.lease("relay", ttl_s=options.lease_ttl_s)
    # It is ended by a signal, one way or another.
    await OutboxRelay(lease, FileBroker(path, stop_after), options=options).run(Gate())


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4]) if len(sys.argv) > 4 else None))
