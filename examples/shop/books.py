"""What handlers ask for to remember something: the same for them, whether it is kept in memory or in a database."""

import abc
import copy
from collections.abc import Collection
from typing import Any, Protocol, TypeVar

Key = str | int


class Entry(Protocol):
    """Something that is kept. Entries are told apart by their class and their key."""

    @property
    def key(self) -> Key:
        """What it is found by."""
        ...


E = TypeVar("E", bound=Entry)
K = TypeVar("K", str, int)


class Books(abc.ABC):
    """The books as one message sees them, which is handled as a whole or not at all."""

    @abc.abstractmethod
    async def find(self, kind: type[E], keys: Collection[K]) -> dict[K, E]:
        """Find entries by their keys; those that there are. What is changed in one counts when it is kept."""

    @abc.abstractmethod
    async def all(self, kind: type[E]) -> Collection[E]:
        """Find every entry of a kind."""

    @abc.abstractmethod
    def keep(self, *entries: Entry) -> None:
        """Keep entries as they are now, new ones too. A handler does it last: then nothing can fail any more."""

    async def get(self, kind: type[E], key: K) -> E | None:
        """Find one entry."""
        return (await self.find(kind, [key])).get(key)


class MemoryBooks(Books):
    """Books that end with the process."""

    def __init__(self) -> None:
        self._entries: dict[type, dict[Key, Any]] = {}

    async def find(self, kind: type[E], keys: Collection[K]) -> dict[K, E]:
        """As :meth:`Books.find`: copies, so that what is not kept changes nothing."""
        entries = self._entries.get(kind, {})
        return {key: copy.copy(entries[key]) for key in keys if key in entries}

    async def all(self, kind: type[E]) -> Collection[E]:
        """As :meth:`Books.all`."""
        return [copy.copy(entry) for entry in self._entries.get(kind, {}).values()]

    def keep(self, *entries: Entry) -> None:
        """As :meth:`Books.keep`."""
        for entry in entries:
            self._entries.setdefault(type(entry), {})[entry.key] = entry
