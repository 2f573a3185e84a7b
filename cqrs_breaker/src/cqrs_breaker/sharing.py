"""
Keeps circuits in step with those of other processes, in a thread, so that no event loop waits for a server.

Four times a second the thread tells the server what happened here, and asks what happened elsewhere. Calls read what it
found. They wait for it, :data:`ANSWER_WITHIN_S` at most, when a circuit is new, and when a probe is due, which only one
of all processes should make. While the server does not answer, each process goes on alone.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING
from weakref import WeakSet

from cqrs_breaker.round_trips import converse
from cqrs_core.concurrency import Gate, run_within, sleep
from cqrs_core.concurrency.loops import running_trio

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import Future

    from cqrs_breaker.link import Link
    from cqrs_breaker.round_trips import RedisClient

logger = logging.getLogger(__name__)

#: How old, in seconds, what a process knows of the others may be.
REFRESH_S = 0.25
#: Seconds between two attempts to reach a server that does not answer.
RETRY_S = 1.0
#: How long a call waits for an answer, in seconds, before its process decides alone.
ANSWER_WITHIN_S = 0.05
#: After so many seconds, at the latest, it is asked again whether somebody else still makes the probe.
PROBE_RECHECK_S = 1.0
#: How many circuits go to a server at once. What becomes urgent meanwhile waits for so many.
BATCH = 200


class Server:
    """The circuits of one breaker that are on one server. All but :meth:`add` is for the thread."""

    def __init__(self, client: RedisClient) -> None:
        self._client = client
        self._links: tuple[Link, ...] = ()
        #: Those about which the server answers with an error.
        self._refused: set[Link] = set()
        self._is_away = False
        self._look_at = 0.0

    @property
    def has_news(self) -> bool:
        """Whether there is something to tell, and it is likely to be heard."""
        return any(link.has_news for link in self._links)

    @property
    def next_look_s(self) -> float:
        """In how many seconds all circuits are to be looked at again, also if the server is away."""
        return max(self._look_at - time.monotonic(), 0.0)

    def add(self, link: Link) -> None:
        """Serve one more circuit."""
        link.may_answer = not self._is_away
        self._links = (*self._links, link)

    def serve(self) -> None:
        """Do what is urgent, and look at all circuits if it is time."""
        if self.next_look_s:
            self.serve_urgent()
            return
        self._look_at = time.monotonic() + REFRESH_S
        was_away, links = self._is_away, self._links
        for first in range(0, len(links), BATCH):
            if not was_away:
                self.serve_urgent()
            if not self._exchange(links[first : first + BATCH]):
                return

    def serve_urgent(self) -> None:
        """Answer calls that wait, and tell what there is to tell; without a server, that there is no answer."""
        urgent = [link for link in self._links if link.is_urgent]
        if self._is_away:
            for link in urgent:
                link.lose()
        elif urgent:
            self._exchange(urgent)

    def lose(self, error: Exception) -> None:
        """Leave all circuits to this process, for a time; said once."""
        was_away, self._is_away = self._is_away, True
        self._look_at = time.monotonic() + RETRY_S
        for link in self._links:
            link.lose()
        if not was_away:
            text = "Redis does not answer (%s: %s): until it does, circuits are kept in this process alone."
            logger.warning(text, type(error).__name__, error)

    def start_anew(self) -> None:
        """Know nothing of the server and of others: this process was forked from the one that did."""
        self._is_away = False
        self._look_at = 0.0
        for link in self._links:
            link.start_anew()

    def end(self) -> None:
        """Exchange nothing any more."""
        for link in self._links:
            link.shared.hang_up()

    def _exchange(self, links: Sequence[Link]) -> bool:
        """Exchange what is known of some circuits, and tell whether the server answered."""
        try:
            failed = converse(self._client, {link: link.exchange() for link in links})
        except Exception as error:  # noqa: BLE001 - clients have errors of their own, and no call may fail of them
            self.lose(error)
            return False
        if self._is_away:
            self._is_away = False
            logger.info("Redis answers again: circuits are shared.")
        for link in failed:
            link.lose()
        self._complain(failed)
        self._refused.difference_update(links)
        self._refused.update(failed)
        return True

    def _complain(self, failed: Mapping[Link, Exception]) -> None:
        """Tell, once, of circuits that are not shared, though the server answers."""
        new = [link for link in failed if link not in self._refused]
        if new:
            text = "Redis refuses to share %s (%s: %s): until it does, what it refuses is kept in this process alone."
            names = new[0].name if len(new) == 1 else f"{new[0].name} and {len(new) - 1} more circuits"
            error = failed[new[0]]
            logger.warning(text, names, type(error).__name__, error)


class Worker:
    """The thread that serves all links of one breaker; it begins with the first, and ends with :meth:`stop`."""

    def __init__(self) -> None:
        self._servers: dict[int, Server] = {}
        self._wake = threading.Event()
        self._is_stopped = False
        self._thread: threading.Thread | None = None

    @property
    def has_news(self) -> bool:
        """Whether there is something to tell."""
        return any(server.has_news for server in self._servers.values())

    def add(self, link: Link) -> None:
        """Serve one more circuit."""
        client = link.shared.client
        if id(client) not in self._servers:
            self._servers = {**self._servers, id(client): Server(client)}
        self._servers[id(client)].add(link)
        self.wake()

    def wake(self) -> None:
        """Do not wait for the next round; called from the loop."""
        if self._thread is None and self._servers and not self._is_stopped:
            self._start()
        self._wake.set()

    def stop(self) -> None:
        """End the thread, as soon as it has told what there was to tell; called from any thread."""
        self._is_stopped = True
        self._wake.set()

    def join(self, timeout_s: float) -> None:
        """Wait until the thread has ended."""
        if self._thread is not None:
            self._thread.join(timeout_s)

    def start_anew(self) -> None:
        """Have no thread, until the next call: this process was forked from the one that had it."""
        self._thread = None
        self._wake = threading.Event()  # somebody may have held the other one's lock
        for server in self._servers.values():
            server.start_anew()

    def _start(self) -> None:
        _register_hooks()
        _workers.add(self)
        # A daemon: a server that does not answer must not keep the program from ending.
        thread = threading.Thread(target=self._run, name="cqrs_breaker", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # there are too many, or the program ends: no reason for a call to fail
            for server in self._servers.values():
                server.lose(error)
        else:
            self._thread = thread

    def _run(self) -> None:
        while not self._is_stopped:
            for server in self._servers.values():
                server.serve()
            self._wake.wait(min(server.next_look_s for server in self._servers.values()))
            self._wake.clear()
        for server in self._servers.values():
            server.serve_urgent()
            server.end()


#: Those that have had a thread.
_workers: WeakSet[Worker] = WeakSet()


@cache
def _register_hooks() -> None:
    """See to what happens to threads at a fork, and at the end; once, when there is the first."""
    atexit.register(_tell_at_exit)
    if hasattr(os, "register_at_fork"):  # not on Windows
        os.register_at_fork(after_in_child=_start_anew_after_fork)


def _tell_at_exit() -> None:
    """Let others know what happened at the very end, which would end with the threads; no longer than a call waits."""
    until = time.monotonic() + ANSWER_WITHIN_S
    speaking = [worker for worker in _workers if worker.has_news]
    for worker in speaking:
        worker.stop()
    for worker in speaking:
        worker.join(max(until - time.monotonic(), 0.0))


def _start_anew_after_fork() -> None:
    for worker in _workers:
        worker.start_anew()


async def wait_for(answer: Future[float | None]) -> float | None:
    """Wait, on the loop that is running, for the answer of a thread; ``None`` if it did not come in time."""
    gate = Gate()
    call_soon = _call_soon()

    def open_gate(_: object) -> None:
        with suppress(RuntimeError):  # the loop has ended, and nobody waits
            call_soon(gate.open)

    answer.add_done_callback(open_gate)
    try:
        is_answered = await run_within(ANSWER_WITHIN_S, gate.wait, sleep)
    except BaseException:
        answer.cancel()
        raise
    return answer.result() if is_answered else None


def _call_soon() -> Callable[[Callable[[], object]], object]:
    """Give what lets another thread call a function on the loop that is running."""
    trio = running_trio()
    if trio is not None:
        run_soon: Callable[[Callable[[], object]], object] = trio.lowlevel.current_trio_token().run_sync_soon
        return run_soon
    import asyncio  # noqa: PLC0415 - it is running, so this costs a look-up

    return asyncio.get_running_loop().call_soon_threadsafe
