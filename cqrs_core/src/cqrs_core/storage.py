"""The contract of a database as the framework needs one: units of work, outbox and inbox over the same transactions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection

    from cqrs_core.inbox import Inbox
    from cqrs_core.outbox import Outbox
    from cqrs_core.unit_of_work import UnitOfWork


class Storage(Protocol):
    """
    Makes units of work, and looks after what they have written. What an author writes.

    ``cqrs_core.testing.conformance`` checks it.

    Attributes:
        provides: The types that handlers may ask for in their constructors, each given by :meth:`UnitOfWork.get` of the
            unit at hand: a session, say.
        takes: What the unit works with if the program's container makes that itself, once for each scope, instead of
            the storage: it is then resolved there, given to :meth:`unit_of_work`, and closed by the container.
            ``None``: the storage makes what its units need.
        outbox: Events that wait to be sent.
        inbox: Messages that were handled.
    """

    provides: Collection[type]
    takes: type | None
    outbox: Outbox
    inbox: Inbox

    async def start(self) -> None:
        """
        Connect, and check that the storage can be worked with; called before the first unit, and again after a stop.

        Raises:
            StorageUnavailable: It cannot be reached.
            StorageUnusable: Something is missing in it; the text says what, and how to mend it.
        """
        ...

    async def stop(self) -> None:
        """Disconnect. All units were closed before. It always returns, and may be called when not started."""
        ...

    def unit_of_work(self, taken: object = None) -> UnitOfWork:
        """
        Make the unit of one attempt; nothing is begun.

        Args:
            taken: The object of the type :attr:`takes`, if the container made one.
        """
        ...


def missing_storage_methods(thing: object) -> list[str]:
    """List what *thing* lacks of a :class:`Storage`; whether it does what those promise, only the suite can tell."""
    facts = [name for name in ("provides", "takes", "outbox", "inbox") if not hasattr(thing, name)]
    methods = ("start", "stop", "unit_of_work")
    lacking = [name for name in methods if isinstance(thing, type) or not callable(getattr(thing, name, None))]
    return [*facts, *lacking]
