"""A clock for tests: its time passes when the test says so."""

from __future__ import annotations

import heapq
from datetime import datetime, timedelta, timezone
from itertools import count
from math import inf, isclose, nextafter

from cqrs_core.concurrency import Gate, sleep
from cqrs_core.errors import InvalidOption

_START = datetime(2000, 1, 1, tzinfo=timezone.utc)
#: Sums of tenths come out as one would write them, so that 0.1 s and 0.7 s wake who asked for 0.8 s.
_DIGITS = 9
#: By so much, of the sum or in seconds, a sum may miss what one would write: it is what computers make of fractions.
_NOISE, _NOISE_S = 1e-15, 1e-12


class VirtualClock:
    """
    A clock whose time stands still until :meth:`advance` moves it, for asyncio and trio.

    Attributes:
        slept: The seconds of every :meth:`sleep`, in the order in which they were asked for.
    """

    def __init__(self, *, start: datetime = _START, jumps: bool = False) -> None:
        """
        Stop the time.

        Args:
            start: What :meth:`now` answers at first, aware.
            jumps: Whether a sleep moves the time by itself and returns at once: for a test of one task that need not
                look in between. Of several tasks, each adds its seconds to those of the others.
        """
        if start.tzinfo is None:
            raise InvalidOption("start", start, "a datetime with a time zone")
        self.slept: list[float] = []
        self._start = start
        self._seconds = 0.0
        self._jumps = jumps
        self._asked = count()
        self._sleepers: list[_Sleeper] = []
        self._watchers: list[Gate] = []

    def now(self) -> datetime:
        """As :meth:`cqrs_core.clock.Clock.now`; it never jumps."""
        return self._start + timedelta(seconds=self._seconds)

    def monotonic(self) -> float:
        """As :meth:`cqrs_core.clock.Clock.monotonic`: the seconds that have passed since this was made."""
        return self._seconds

    async def sleep(self, seconds: float) -> None:
        """As :meth:`cqrs_core.clock.Clock.sleep`; others run meanwhile, even when there is nothing to wait for."""
        self.slept.append(seconds)
        if self._jumps:
            self._seconds = self._after(max(seconds, 0.0))
        if self._jumps or seconds <= 0:
            await sleep(0)
            return
        sleeper = _Sleeper(self._after(seconds), next(self._asked))
        heapq.heappush(self._sleepers, sleeper)
        for watcher in self._watchers:
            watcher.open()
        try:
            await sleeper.alarm.wait()
        finally:
            if sleeper in self._sleepers:  # cancelled, and not woken
                self._sleepers.remove(sleeper)
                heapq.heapify(self._sleepers)
            sleeper.awake.open()

    async def advance(self, seconds: float) -> None:
        """
        Let *seconds* pass, and wake those whose time comes, one after the other, in order.

        Each runs until it next waits, at the time for which it had asked, before the next is woken. One that sleeps
        again right away is woken again if there is time left; of one that awaits other things first, wait for
        :meth:`until_asleep`.
        """
        if seconds < 0:
            raise InvalidOption("seconds", seconds, "at least 0: time does not go back")
        end = self._after(seconds)
        while self._sleepers and self._sleepers[0].until <= end:
            sleeper = heapq.heappop(self._sleepers)
            self._seconds = max(self._seconds, sleeper.until)
            sleeper.alarm.open()
            await sleeper.awake.wait()
        self._seconds = max(self._seconds, end)

    async def until_asleep(self, count: int = 1) -> None:
        """Return when at least *count* tasks sleep. It has no deadline of its own."""
        while len(self._sleepers) < count:
            watcher = Gate()
            self._watchers.append(watcher)
            try:
                await watcher.wait()
            finally:
                self._watchers.remove(watcher)

    def _after(self, seconds: float) -> float:
        if not seconds:
            return self._seconds
        exact = self._seconds + seconds
        written = round(exact, _DIGITS)
        if isclose(written, exact, rel_tol=_NOISE, abs_tol=_NOISE_S) and written > self._seconds:
            return written
        # Not rounded, else nobody who waits for a moment that was drawn by lot could rely on having come to it; and
        # some time does pass, else one who waits for what is left of it would never come to its end.
        return max(exact, nextafter(self._seconds, inf))


class _Sleeper:
    """A task that sleeps. Of two whose time comes at once, the one that asked first is woken first."""

    def __init__(self, until: float, turn: int) -> None:
        self.until = until
        self.turn = turn
        self.alarm = Gate()
        self.awake = Gate()

    def __lt__(self, other: _Sleeper) -> bool:
        return (self.until, self.turn) < (other.until, other.turn)
