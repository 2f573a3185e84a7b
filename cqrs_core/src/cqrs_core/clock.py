"""The time: what is asked for it, so that tests can tell it."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import Protocol

from cqrs_core.concurrency import sleep


class Clock(Protocol):
    """Tells the time, and lets it pass."""

    def now(self) -> datetime:
        """Tell the date and the time, aware, in UTC: for what others read. It may jump."""
        ...

    def monotonic(self) -> float:
        """Tell the seconds since some moment: for how long something took. It never goes back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return when *seconds* have passed."""
        ...


class SystemClock:
    """The machine's own clock, for asyncio and trio."""

    def now(self) -> datetime:
        """As :meth:`Clock.now`."""
        return datetime.now(timezone.utc)

    def monotonic(self) -> float:
        """As :meth:`Clock.monotonic`."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """As :meth:`Clock.sleep`."""
        await sleep(seconds)
