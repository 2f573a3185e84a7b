"""Opens the unit of work of each attempt, over the program's storage, if it has one."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypeVar

from cqrs_core.concurrency import run_shielded
from cqrs_core.errors import (
    ContainerWithoutScopes,
    CqrsError,
    InvalidOption,
    NotProvidedByContainer,
    ProvidedTwice,
)
from cqrs_core.given_backends import backend_from
from cqrs_core.open_unit import OpenUnit, UnitOutbox, find_unit
from cqrs_core.outbox import OutboxedEventRepository
from cqrs_core.storage import missing_storage_methods

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cqrs_core.open_unit import Write
    from cqrs_core.storage import Storage
    from cqrs_core.wiring import HandlerSource

T = TypeVar("T")


def _say_nothing() -> None:
    """For those who do not wait for what is in the outbox."""


def _open_none(spec: str) -> Storage:
    raise InvalidOption("storage", spec, "a storage: names and URLs are for Apps")


class Units:
    """What gives each attempt its unit of work, if the program has a storage."""

    def __init__(
        self,
        source: HandlerSource,
        *,
        storage: Storage | str | None = None,
        open_storage: Callable[[str], Storage] | None = None,
        write: Write | None = None,
        on_enqueued: Callable[[], None] = _say_nothing,
    ) -> None:
        """
        Begin; :meth:`wire` finds out whether it can work.

        Args:
            source: Makes the handlers, in the scope of their unit.
            storage: A storage; or a URL or a name, whose backend is opened when everything is checked. ``None``: there
                are no units of work.
            open_storage: Finds storages that are given by their names.
            write: Writes events that handlers put into the outbox by hand.
            on_enqueued: Called after each commit that leaves something in the outbox.
        """
        self._source = source
        self._given = storage
        self._open_storage = open_storage or _open_none
        self._write = write
        self._on_enqueued = on_enqueued
        self._storage: Storage | None = None

    @property
    def are_used(self) -> bool:
        """Whether attempts have units of work; to be asked after :meth:`wire`."""
        return self._storage is not None

    @property
    def sent_by(self) -> str | None:
        """Who sends what is in the outbox, if no relay does; to be asked after :meth:`wire`."""
        sent_by: str | None = getattr(self._storage, "sent_by", None)
        return sent_by

    def wire(self) -> list[CqrsError]:
        """Open the storage, and let handlers ask for what it provides; before others: errors, none of them raised."""
        if self._given is None:
            return []
        problems = [] if self._storage is not None else self._open()
        return problems or self._let_handlers_ask()

    def freeze(self) -> None:
        """There is nothing to change."""

    async def start(self) -> None:
        """
        Start the storage, if there is one; after :meth:`wire`.

        Raises:
            StorageUnavailable: It cannot be reached.
            StorageUnusable: Something is missing in it.
        """
        if self._storage is not None:
            try:
                await self._storage.start()
            except BaseException:
                await run_shielded(self._storage.stop)  # what it had begun
                raise

    async def stop(self) -> None:
        """Stop the storage."""
        if self._storage is not None:
            await self._storage.stop()

    @property
    def storage(self) -> Storage:
        """The storage; to be asked for after :meth:`wire`, and where units are used."""
        assert self._storage is not None, "wire() has opened it"  # noqa: S101 - for type checkers
        return self._storage

    def current(self, message_type: type) -> OpenUnit | None:
        """
        Find the unit that a message, sent here and now, joins.

        Raises:
            UnitOfWorkShared: It belongs to another task.
        """
        return find_unit(self, message_type)

    async def begin(self) -> OpenUnit:
        """Open a scope with a unit; for those that enter it by themselves, and end it, whatever happens."""
        storage = self._storage
        assert storage is not None, "asked only where units are used"  # noqa: S101 - for type checkers
        unit = OpenUnit(self, self._on_enqueued)
        if storage.takes is None:
            unit.work = storage.unit_of_work()
            scope = self._source.open_scope_of(unit)
        else:
            scope = self._source.open_scope_of(unit)
            try:
                unit.work = storage.unit_of_work(await scope.resolve(storage.takes))
            except BaseException as error:
                await scope.aclose(error)
                raise
        unit.live_in(scope, self._source.resolver(scope))
        return unit

    async def run(self, work: Callable[[OpenUnit], Awaitable[T]]) -> T:
        """Do *work* in a unit of its own, which is committed if it succeeds, and rolled back if it raises."""
        unit = await self.begin()
        try:
            unit.enter()
            try:
                result = await work(unit)
            finally:
                unit.leave()
            await unit.commit_and_end()
        except BaseException as error:
            await unit.abandon(error)
            raise
        return result

    def _open(self) -> list[CqrsError]:
        assert self._given is not None, "looked at by the caller"  # noqa: S101 - for type checkers
        try:
            self._storage = backend_from(
                "storage", self._given, open_backend=self._open_storage, missing_methods=missing_storage_methods
            )
        except CqrsError as error:
            return [error]
        return []

    def _let_handlers_ask(self) -> list[CqrsError]:
        storage = self._storage
        assert storage is not None, "opened just now"  # noqa: S101 - for type checkers
        if self._source.open_scope is None:
            return [ContainerWithoutScopes(self._source.container)]
        makers: dict[type, Callable[[OpenUnit], object]] = {
            provided: partial(_own_object, provided) for provided in storage.provides
        }
        if storage.takes is None or not self._source.has_registered(OutboxedEventRepository):
            makers[OutboxedEventRepository] = self._outbox_of  # else the container makes one over its own session
        problems: list[CqrsError] = [ProvidedTwice(of) for of in makers if self._source.has_registered(of)]
        if storage.takes is not None and not self._source.has_registered(storage.takes):
            problems.append(NotProvidedByContainer(storage.takes))
        if not problems:
            self._source.offer_in_scopes(OpenUnit, makers)
        return problems

    def _outbox_of(self, unit: OpenUnit) -> OutboxedEventRepository:
        assert self._write is not None, "given with every storage"  # noqa: S101 - for type checkers
        return UnitOutbox(unit, self._write)


def _own_object(provided: type, unit: OpenUnit) -> object:
    return unit.work.get(provided)
