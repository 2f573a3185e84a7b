"""The memory storage, as programs see it."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from cqrs_core.clock import SystemClock
from cqrs_core.errors import InvalidOption, StorageUnavailable
from cqrs_core.memory.inbox import MemoryInbox
from cqrs_core.memory.keeper import MemoryOutboxKeeper
from cqrs_core.memory.outbox import MemoryOutbox
from cqrs_core.memory.unit import MemoryUnitOfWork

if TYPE_CHECKING:
    from collections.abc import Collection

    from cqrs_core.clock import Clock
    from cqrs_core.inbox import Inbox
    from cqrs_core.memory.sagas import MemorySagaStorage
    from cqrs_core.outbox_keeper import OutboxKeeper

_MAX_MESSAGE_BYTES = 1_048_576


class MemoryStorage:
    """
    Keeps an outbox, an inbox and sagas in one process, and no business data: a :class:`cqrs_core.storage.Storage`.

    For tests, and to begin with: events leave when the command that has emitted them is committed, and a message that
    comes twice is handled once. What relays have given up is in ``outbox.dead``. When the last of those that started it
    stops it, it forgets everything. It is for one event loop at a time, of asyncio or trio, and not for several
    threads.
    """

    provides: Collection[type] = ()
    takes: type | None = None
    outbox: MemoryOutbox
    outbox_keeper: OutboxKeeper
    inbox: Inbox

    def __init__(self, *, max_message_bytes: int = _MAX_MESSAGE_BYTES, clock: Clock | None = None) -> None:
        """
        Make a storage that is not started.

        Args:
            max_message_bytes: How long the body of a message in the outbox may be.
            clock: Tells when messages were written and accepted, and for how long relays keep their shares.

        Raises:
            InvalidOption: *max_message_bytes* is less than 1.
        """
        if max_message_bytes < 1:
            raise InvalidOption("max_message_bytes", max_message_bytes, "at least 1")
        clock = clock or SystemClock()
        self.outbox = self._outbox = MemoryOutbox(clock, max_message_bytes=max_message_bytes)
        self.outbox_keeper = MemoryOutboxKeeper(self.outbox.records, self.outbox.slots, clock)
        self.inbox = self._inbox = MemoryInbox(clock)
        self._clock = clock
        self._starts = 0

    @classmethod
    def from_url(cls, address: str, *, max_message_bytes: int = _MAX_MESSAGE_BYTES) -> MemoryStorage:
        """
        Make a storage from an *address* that says no more than that it is one: ``memory://``, or nothing.

        Raises:
            InvalidOption: There is more in it, or an option is less than 1.
        """
        if address not in {"", "memory://"}:
            raise InvalidOption("address", address, "'memory://' and no more: it is nowhere but in this process")
        return cls(max_message_bytes=max_message_bytes)

    @cached_property
    def sagas(self) -> MemorySagaStorage:
        """Sagas, whose messages are kept in the outbox; a program without sagas does not pay for them."""
        from cqrs_core.memory.sagas import MemorySagaStorage  # noqa: PLC0415 - see above

        return MemorySagaStorage(clock=self._clock, outbox=self._outbox)

    async def start(self) -> None:
        """As :meth:`cqrs_core.storage.Storage.start`; several may start it, each stops it once."""
        self._starts += 1

    async def stop(self) -> None:
        """As :meth:`cqrs_core.storage.Storage.stop`; the last one forgets everything."""
        self._starts = max(0, self._starts - 1)
        if not self._starts:
            self._outbox.forget()
            self._inbox.forget()
            if "sagas" in self.__dict__:
                self.sagas.forget()

    def unit_of_work(self, taken: object = None) -> MemoryUnitOfWork:  # noqa: ARG002 - it takes nothing
        """
        As :meth:`cqrs_core.storage.Storage.unit_of_work`.

        Raises:
            StorageUnavailable: It is not started.
        """
        if not self._starts:
            raise StorageUnavailable("The memory storage", "it is not started, or was stopped.")
        return MemoryUnitOfWork(self._outbox, self._inbox)
