"""What one relay holds of an outbox in SQL."""

from __future__ import annotations

import uuid
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import event

from cqrs_core.errors import InvalidOption, StorageUnavailable, StorageUnusable
from cqrs_sqla.databases import name_of_database
from cqrs_sqla.failures import told_by
from cqrs_sqla.relaying.decoding import UNDECODABLE, decode
from cqrs_sqla.relaying.lines import Line, own_engine
from cqrs_sqla.relaying.messages import Messages
from cqrs_sqla.relaying.preparing import prepare, problem_of
from cqrs_sqla.relaying.sharing import Register

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    import sqlalchemy as sa
    from sqlalchemy.ext.asyncio import AsyncEngine

    from cqrs_core.outbox import OutboxRecord, ParkedKey
    from cqrs_sqla.compressor import Compressor
    from cqrs_sqla.tables import Tables

    T = TypeVar("T")

# The name, and what makes it one relay's own, fit into 64 characters.
_NAME_LENGTH = 51


class SqlAlchemyOutboxLease:
    """
    A share of an outbox, counted in slots of the keys; see :class:`cqrs_core.outbox.OutboxLease`.

    It has two connections of its own while it is in use: one reads, on the other all else is done. They are given up
    by :meth:`release`, or when the engine is disposed of.

    Args:
        engine: The program's; it is only asked how to connect.
        tables: Whose outbox it is.
        name: Tells people whose share it is.
        ttl_s: For how many seconds the share is kept without being renewed.
        compressor: What has compressed bodies, beside zlib.

    Raises:
        InvalidOption: *ttl_s* is not more than 0.
        StorageUnusable: By every method, the first time: no relay can work with this database, or through this pooler.
    """

    def __init__(
        self, engine: AsyncEngine, tables: Tables, name: str, *, ttl_s: float, compressor: Compressor | None = None
    ) -> None:
        if not ttl_s > 0:
            raise InvalidOption("ttl_s", ttl_s, "more than 0")
        #: What the relay is called in the tables: two of one name are two.
        self.node = f"{ascii(name)[1:-1][:_NAME_LENGTH]}-{uuid.uuid4().hex[:12]}"
        self._engine = engine
        self._compressor = compressor
        self._database = name_of_database(engine)
        self._register = Register(tables, engine.dialect, node=self.node, ttl_s=ttl_s)
        self._messages = Messages(tables, engine.dialect)
        self._reading = Line(engine, self._database, prepare)
        self._writing = Line(engine, self._database, prepare)
        self._slots: frozenset[int] = frozenset()
        self._is_checked = False
        self._is_registered = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.node!r}, slots={len(self._slots)})"

    async def renew(self) -> bool:
        """Keep the share, by the database's clock, and tell whether :meth:`rebalance` would change something."""
        await self._check()
        self._is_registered = True
        division = await self._do(self._writing, self._register.renew)
        mine = frozenset(division.mine)
        # What was taken, and never answered for, is held only after the next rebalancing has told of it.
        has_more = not mine <= self._slots
        self._slots &= mine
        return has_more or not division.is_fair

    async def rebalance(self) -> bool:
        """Give up what is more than a fair share, or take what is free; tells whether the share has grown."""
        before = self._slots
        self._slots = frozenset(await self._do(self._writing, self._register.rebalance))
        return not self._slots <= before

    async def fetch(
        self, *, after: int, limit: int, without: Collection[str], passed: Collection[int] = ()
    ) -> Sequence[OutboxRecord]:
        """Read the next messages that are due; rows of which none can be made are buried, and do not count."""
        records: list[OutboxRecord] = []
        while self._slots and (missing := limit - len(records)) > 0:
            options: dict[str, Any] = {"after": after, "limit": missing, "without": without, "passed": passed}
            rows = await self._do(self._reading, partial(self._messages.fetch, slots=self._slots, **options))
            more, broken = decode(rows, self._compressor)
            if not broken:
                return [*records, *more] if records else more
            records += more
            for position, problem in broken:
                await self._bury(position, reason=UNDECODABLE, error=problem, refusals=0)
            if len(rows) < missing:
                break
            after, passed = max(after, rows[-1][0]), ()
        return records

    async def parked(self) -> Sequence[ParkedKey]:
        """List the keys of the share of which a message was refused, and waits."""
        if not self._slots:
            return []
        return await self._do(self._reading, partial(self._messages.parked, slots=self._slots))

    async def remove(self, positions: Sequence[int]) -> None:
        """Delete messages: the broker has them."""
        if positions:
            await self._do(self._writing, partial(self._messages.remove, positions=positions))

    async def postpone(self, position: int, *, delay_s: float | None, error: str) -> None:
        """Count an attempt at a message that was refused, and let it wait."""
        await self._do(self._writing, partial(self._messages.postpone, position=position, delay_s=delay_s, error=error))

    async def bury(self, position: int, *, reason: str, error: str) -> None:
        """Move a message that was refused once more to the dead."""
        await self._bury(position, reason=reason, error=error, refusals=1)

    async def release(self) -> None:
        """Give up the whole share, and the connections."""
        self._slots = frozenset()
        try:
            if self._is_registered:
                await self._do(self._writing, self._register.release)
                self._is_registered = False
        finally:
            await self._reading.close()
            await self._writing.close()
            if event.contains(self._engine.sync_engine, "engine_disposed", self._on_disposed):
                event.remove(self._engine.sync_engine, "engine_disposed", self._on_disposed)

    async def _bury(self, position: int, *, reason: str, error: str, refusals: int) -> None:
        bury = partial(self._messages.bury, position=position, reason=reason, error=error, refusals=refusals)
        await self._do(self._writing, bury)

    async def _do(self, line: Line, work: Callable[[sa.Connection], T]) -> T:
        await self._check()
        if not line.is_open:
            self._watch()
        return await line.run(work)

    async def _check(self) -> None:
        """See, before anything is set on a connection, that it would be the relay's own; once is enough."""
        if self._is_checked:
            return
        engine, beside = own_engine(self._engine), own_engine(self._engine)
        try:
            problem = await problem_of(engine, beside)
        except Exception as error:  # each driver has errors of its own
            raise StorageUnavailable(self._database, told_by(error)) from error
        finally:
            await engine.dispose()
            await beside.dispose()
        if problem is not None:
            raise StorageUnusable(self._database, [problem])
        self._is_checked = True

    def _watch(self) -> None:
        """Have the connections closed with those of the program, if nobody releases the share before."""
        if not event.contains(self._engine.sync_engine, "engine_disposed", self._on_disposed):
            event.listen(self._engine.sync_engine, "engine_disposed", self._on_disposed)

    def _on_disposed(self, _engine: sa.Engine) -> None:
        self._slots = frozenset()
        self._reading.hang_up()
        self._writing.hang_up()
