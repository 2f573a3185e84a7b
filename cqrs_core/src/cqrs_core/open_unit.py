"""One unit of work while it is open: what joins it, what dooms it, how it ends."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar, Token
from functools import partial
from typing import TYPE_CHECKING

from cqrs_core.concurrency import current_task, run_shielded
from cqrs_core.errors import UnitOfWorkOver, UnitOfWorkRolledBack, UnitOfWorkShared, UnpublishableEvent, name_of
from cqrs_core.outbox import OutboxedEventRepository

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

    from cqrs_core.container import Scope
    from cqrs_core.envelope import Envelope
    from cqrs_core.messages import Event
    from cqrs_core.unit_of_work import UnitOfWork
    from cqrs_core.wiring import Resolve

    #: Writes an event for other processes; nothing, if it stays in this one.
    Write = Callable[[Event], Sequence[Envelope]]

logger = logging.getLogger(__name__)


class OpenUnit:
    """
    One unit of work, from the first handler to the commit.

    Attributes:
        work: The storage's part of it.
        resolve: Makes handlers, and what they need, in the scope of this unit.
    """

    __slots__ = (
        "_failure",
        "_has_enqueued",
        "_is_kept",
        "_is_over",
        "_on_enqueued",
        "_outer",
        "_owner",
        "_scope",
        "_task",
        "_to_call",
        "_token",
        "resolve",
        "work",
    )

    def __init__(self, owner: object, on_enqueued: Callable[[], None]) -> None:
        """
        Begin.

        Args:
            owner: Whose unit it is: what is sent through another owner does not join.
            on_enqueued: Called after each commit that leaves something in the outbox.
        """
        self.work: UnitOfWork
        self.resolve: Resolve
        self._owner = owner
        self._on_enqueued = on_enqueued
        self._has_enqueued = False
        self._to_call: tuple[Callable[[], None], ...] = ()
        self._scope: Scope
        self._outer: OpenUnit | None = None
        self._task: object = None
        self._token: Token[OpenUnit | None]
        self._failure: BaseException | None = None
        self._is_over = False
        #: Whether everything so far is committed.
        self._is_kept = False

    def live_in(self, scope: Scope, resolve: Resolve) -> None:
        """Take the scope that ends with this unit."""
        self._scope = scope
        self.resolve = resolve

    def enqueue(self, envelopes: Sequence[Envelope]) -> None:
        """
        Let *envelopes* be sent when the unit has been committed, as :meth:`UnitOfWork.enqueue` has it.

        Raises:
            UnitOfWorkOver: It has been committed, or rolled back.
        """
        self.check_open()
        self.work.enqueue(envelopes)
        self._has_enqueued = True

    def call_when_committed(self, do: Callable[[], None]) -> None:
        """Call *do* after the next commit, if there is one; it must not fail."""
        self._to_call += (do,)

    def check_open(self) -> None:
        """
        Refuse what comes too late.

        Raises:
            UnitOfWorkOver: The unit has been committed, or rolled back.
        """
        if self._is_over:
            raise UnitOfWorkOver

    def enter(self) -> None:
        """Let what is sent from here on, by this task, join the unit, until :meth:`leave`."""
        self._is_kept = False
        self._task = current_task()
        self._outer = _innermost.get()
        self._token = _innermost.set(self)

    def leave(self) -> None:
        """Let what is sent from here on be no part of it."""
        _innermost.reset(self._token)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Let what is sent in the block, by this task, join the unit."""
        self.enter()
        try:
            yield
        finally:
            self.leave()

    def serving(self, owner: object, message_type: type) -> OpenUnit | None:
        """
        Find, from here outwards, the unit that a message sent through *owner* joins.

        Raises:
            UnitOfWorkShared: It belongs to another task.
        """
        unit: OpenUnit | None = self
        while unit is not None and (unit._owner is not owner or unit._is_over):  # noqa: SLF001 - same class
            unit = unit._outer  # noqa: SLF001 - same class
        if unit is not None and unit._task is not current_task():  # noqa: SLF001 - same class
            raise UnitOfWorkShared(message_type)
        return unit

    def works_from_here(self) -> Iterator[UnitOfWork]:
        """Iterate over what storages have of the open units, from this one outwards."""
        unit: OpenUnit | None = self
        while unit is not None:
            if not unit._is_over:  # noqa: SLF001 - same class
                yield unit.work
            unit = unit._outer  # noqa: SLF001 - same class

    @contextmanager
    def joined(self) -> Iterator[None]:
        """Let the block be a part of this unit: if it raises, the unit can only be rolled back."""
        try:
            yield
        except BaseException as error:
            self.doom(error)
            raise

    def doom(self, failure: BaseException) -> None:
        """Let the unit be rolled back at its end, whatever becomes of *failure*."""
        self._failure = self._failure or failure

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """Open a block that is undone if it raises, or if something failed in it and was caught."""
        before = self._failure
        try:
            async with self.work.savepoint():
                yield
                if self._failure is not before:
                    raise self._rolled_back()
        except BaseException:
            self._failure = before  # what failed is undone, so it does not stand in the way of the rest
            raise

    async def commit(self) -> None:
        """
        Keep everything; no cancellation interrupts it.

        Raises:
            UnitOfWorkRolledBack: Something inside failed, and its error was caught.
            CommitInDoubt: The connection broke meanwhile.
        """
        if self._failure is not None:
            raise self._rolled_back()
        if self.work.is_begun:
            await run_shielded(self._commit)

    async def commit_and_end(self) -> None:
        """Keep everything, as :meth:`commit`, and end the scope."""
        await self.commit()
        await self.end()

    async def abandon(self, error: BaseException) -> None:
        """Undo what was not committed, and end the scope, which is told of *error*."""
        if not self._is_over:
            self._is_over = True
            if self._is_kept:  # a cancellation that has come during the commit
                await self._end_scope(None)
                return
            try:
                await run_shielded(partial(self._clean_up, self.work.rollback))
            finally:
                await self._end_scope(error)

    async def end(self) -> None:
        """End the scope: all that there was to keep has been committed."""
        if not self._is_over:
            self._is_over = True
            await self._end_scope(None)

    async def _end_scope(self, error: BaseException | None) -> None:
        # Not shielded: what was made in a scope is cleaned up in the task, and the context, that it was made in.
        try:
            await self._clean_up(partial(self._scope.aclose, error))
        finally:
            await self._clean_up(self.work.close)

    async def _commit(self) -> None:
        await self.work.commit()
        self._is_kept = True
        if self._has_enqueued:
            self._has_enqueued = False
            self._on_enqueued()
        if self._to_call:
            to_call, self._to_call = self._to_call, ()
            for do in to_call:
                do()

    @staticmethod
    async def _clean_up(step: Callable[[], Awaitable[object]]) -> None:
        # What has been committed has taken effect, and what failed has its error: neither is changed by a clean-up.
        try:
            await step()
        except Exception:
            logger.exception("The end of a unit of work failed in part; what it has committed stays.")

    def _rolled_back(self) -> UnitOfWorkRolledBack:
        failure = self._failure
        if isinstance(failure, UnitOfWorkRolledBack):
            return failure
        error = UnitOfWorkRolledBack(f"{type(failure).__name__} was raised inside this unit of work, and caught.")
        error.__cause__ = failure
        return error


#: The unit that was entered last here. Its outer ones are those of other Apps.
_innermost: ContextVar[OpenUnit | None] = ContextVar("unit_of_work", default=None)


def works_here() -> Iterator[UnitOfWork]:
    """Iterate over the units of work that are open here, the innermost first; several, where Apps use each other."""
    innermost = _innermost.get()
    return iter(()) if innermost is None else innermost.works_from_here()


def find_unit(owner: object, message_type: type) -> OpenUnit | None:
    """
    Find the unit of *owner* that a message, sent here and now, joins.

    Raises:
        UnitOfWorkShared: It belongs to another task.
    """
    innermost = _innermost.get()
    return None if innermost is None else innermost.serving(owner, message_type)


class UnitOutbox(OutboxedEventRepository):
    """Writes events by hand into the outbox of the unit of work at hand."""

    def __init__(self, unit: OpenUnit, write: Write) -> None:
        self._unit = unit
        self._write = write

    def add(self, event: Event) -> None:
        """Let *event* be sent when the unit has been committed."""
        envelopes = self._write(event)
        if not envelopes:
            name = name_of(type(event))
            problem = (
                f"is neither a notification nor published. Publish it: App.publishes(topic, {{'{name}': {name}}})."
            )
            raise UnpublishableEvent(type(event), problem)
        self._unit.enqueue(envelopes)

    async def commit(self) -> None:
        """Write what was added; the unit commits it."""
        self._unit.check_open()
        await self._unit.work.flush()

    async def rollback(self) -> None:
        """Let the unit be rolled back."""
        self._unit.check_open()
        self._unit.doom(UnitOfWorkRolledBack("The outbox was rolled back by hand."))
