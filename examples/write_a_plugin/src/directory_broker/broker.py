"""The broker: what programs send through."""

from __future__ import annotations

import asyncio
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from cqrs_core.broker import SendOutcome, SendStatus
from cqrs_core.errors import BrokerNotStarted, BrokerUnavailable, InvalidOption, MessageRefused
from directory_broker.folders import open_group, put
from directory_broker.shares import Share
from directory_broker.subscription import DirectorySubscription

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from cqrs_core.broker import OnRevoked
    from cqrs_core.envelope import Envelope


class DirectoryBroker:
    """
    Keeps messages in a folder until every group has acknowledged: a :class:`cqrs_core.broker.Broker`, for asyncio.

    Files are read and written in threads, so that a slow disk holds up nothing else.
    """

    is_durable = True
    keeps_order_after_failure = True

    def __init__(
        self,
        folder: Path,
        *,
        poll_interval_s: float = 0.1,
        member_ttl_s: float = 10.0,
        max_message_bytes: int = 1_048_576,
    ) -> None:
        """
        Make a broker that is not started.

        Args:
            folder: It is made if it is not there. Its file system must have hard links.
            poll_interval_s: How long a member waits between two looks into the folder.
            member_ttl_s: How long a member is believed to live when it has not looked: several times longer.
            max_message_bytes: How long the body of a message may be.
        """
        if not 0 < poll_interval_s < member_ttl_s:
            raise InvalidOption("poll_interval_s", poll_interval_s, f"more than 0, and less than {member_ttl_s:g}")
        self._folder = folder
        self._poll_interval_s = poll_interval_s
        self._member_ttl_s = member_ttl_s
        self._max_message_bytes = max_message_bytes
        self._is_started = False
        self._last_ns = 0

    @classmethod
    def from_url(
        cls,
        address: str,
        *,
        poll_interval_s: float = 0.1,
        member_ttl_s: float = 10.0,
        max_message_bytes: int = 1_048_576,
    ) -> DirectoryBroker:
        """
        Make a broker from ``directory:///path/to/folder``: what the plug-in names as factory.

        The options are what may stand in the URL's query, and their annotations say as what it is read.
        """
        parts = urlsplit(address)
        folder = Path(unquote(parts.path))
        if parts.netloc or not folder.is_absolute():
            raise InvalidOption("address", address, "a path with three slashes: directory:///path/to/folder")
        return cls(
            folder,
            poll_interval_s=poll_interval_s,
            member_ttl_s=member_ttl_s,
            max_message_bytes=max_message_bytes,
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self._folder)!r})"

    async def start(self) -> None:
        """As the protocol says."""
        try:
            await asyncio.to_thread((self._folder / ".new").mkdir, parents=True, exist_ok=True)
        except OSError as error:
            raise BrokerUnavailable(f"The folder {self._folder} cannot be used: {error}") from error
        self._is_started = True

    async def stop(self) -> None:
        """As the protocol says. There is nothing to disconnect."""
        self._is_started = False

    async def send(self, envelope: Envelope) -> None:
        """As the protocol says."""
        (outcome,) = await self.send_many([envelope])
        if outcome.error is not None:
            raise outcome.error

    async def send_many(self, envelopes: Sequence[Envelope]) -> Sequence[SendOutcome]:
        """As the protocol says: one after the other, in one thread."""
        self._require_started()
        # Drawn here, in the order of the calls, which threads do not keep.
        positions = [self._next_position() for _ in envelopes]
        return await asyncio.to_thread(self._put_all, envelopes, positions)

    async def subscribe(self, topics: Collection[str], *, group: str, on_revoked: OnRevoked) -> DirectorySubscription:
        """As the protocol says."""
        self._require_started()
        member = uuid.uuid4().hex

        def join() -> list[Share]:
            shares = []
            for topic in topics:
                folder = open_group(self._folder, topic, group)
                shares.append(Share(folder, topic=topic, member=member, member_ttl_s=self._member_ttl_s))
            return shares

        try:
            shares = await asyncio.to_thread(join)
        except OSError as error:
            raise BrokerUnavailable(f"The folder {self._folder} cannot be used: {error}") from error
        return DirectorySubscription(shares, group=group, on_revoked=on_revoked, poll_interval_s=self._poll_interval_s)

    def _require_started(self) -> None:
        if not self._is_started:
            raise BrokerNotStarted(self)

    def _next_position(self) -> str:
        # Later than the one before, even if the clock is not; and another than those of other processes.
        self._last_ns = max(time.time_ns(), self._last_ns + 1)
        return f"{self._last_ns:020}-{uuid.uuid4().hex[:8]}"

    def _put_all(self, envelopes: Sequence[Envelope], positions: Sequence[str]) -> list[SendOutcome]:
        failed: set[tuple[str, str | None]] = set()
        outcomes = []
        for envelope, position in zip(envelopes, positions, strict=True):
            place = (envelope.topic, envelope.key)
            outcomes.append(SendOutcome(SendStatus.NOT_SENT) if place in failed else self._put(envelope, position))
            if envelope.key is not None and not outcomes[-1].is_delivered:
                failed.add(place)
        return outcomes

    def _put(self, envelope: Envelope, position: str) -> SendOutcome:
        if len(envelope.body) > self._max_message_bytes:
            problem = f"its body is longer than {self._max_message_bytes} bytes."
            error = MessageRefused(envelope.topic, problem, is_permanent=True)
            return SendOutcome(SendStatus.PERMANENT, error)
        try:
            put(self._folder, envelope, position)
        except OSError as error:
            unavailable = BrokerUnavailable(f"The folder {self._folder} cannot be written: {error}")
            unavailable.__cause__ = error
            return SendOutcome(SendStatus.UNAVAILABLE, unavailable)
        return SendOutcome(SendStatus.DELIVERED)
