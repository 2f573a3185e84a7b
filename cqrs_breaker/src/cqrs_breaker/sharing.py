"""
Keeps circuits in step with those of other processes, in a thread, so that no event loop waits for a server.

Four times a second the thread tells the server what happened here, and asks what happened elsewhere. Calls read what it
found. They wait for it, :data:`ANSWER_WITHIN_S` at most, when a circuit is new, and when a probe is due, which only one
of all processes should make. While the server does not answer, each process goes on alone.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING

from cqrs_breaker.circuit import View
from cqrs_breaker.storage import Found
from cqrs_core.concurrency import Gate, run_within, sleep
from cqrs_core.concurrency.loops import running_trio

if TYPE_CHECKING:
    from collections.abc import Callable

    from cqrs_breaker.circuit import Circuit, Statement
    from cqrs_breaker.storage import SharedState

logger = logging.getLogger(__name__)

#: How old, in seconds, what a process knows of the others may be.
REFRESH_S = 0.25
#: Seconds between two attempts to reach a server that does not answer.
RETRY_S = 1.0
#: How long a call waits for an answer, in seconds, before its process decides alone.
ANSWER_WITHIN_S = 0.05
#: After so many seconds, at the latest, it is asked again whether somebody else still makes the probe.
PROBE_RECHECK_S = 1.0


class Link:
    """
    Connects a circuit with the state that processes share of it.

    The loop calls :meth:`ask` and reads :attr:`view`; all else is called by the thread of the worker, which reads the
    circuit's last statement and changes nothing of the circuit.

    Attributes:
        view: What was found last; ``None`` while nothing is known.
    """

    def __init__(self, circuit: Circuit, shared: SharedState) -> None:
        self.view: View | None = None
        self._circuit = circuit
        self._shared = shared
        self._told = 0
        self._asked: deque[tuple[Future[float | None], bool]] = deque()

    @property
    def is_asked(self) -> bool:
        """Whether a call waits for an answer."""
        return bool(self._asked)

    def ask(self, *, for_probe: bool) -> Future[float | None]:
        """
        Ask for a new view, and perhaps for the right to make the probe.

        Returns:
            The seconds after which to ask again for the probe; 0 if it may be made, or was not asked for; ``None`` if
            the server did not answer.
        """
        answer: Future[float | None] = Future()
        self._asked.append((answer, for_probe))
        return answer

    def exchange(self) -> None:
        """Tell what happened here, and find out what happened elsewhere; raises what the client raises."""
        popped = [self._asked.popleft() for _ in range(len(self._asked))]
        # Who was cancelled meanwhile would not make the probe.
        asked = [(answer, for_probe) for answer, for_probe in popped if answer.set_running_or_notify_cancel()]
        try:
            statement = self._circuit.statement
            found = self._publish(statement, self._shared.look())
            self._told = statement.number
            until = self._circuit.rules.monotonic() + found.left_s if found.state == "tripped" else None
            self.view = View(statement.number, found.state == "closed", until)
            for answer, for_probe in asked:
                is_due = for_probe and not found.left_s and found.state == "tripped"
                wait_s = self._shared.claim_probe(self._circuit.rules.open_for_s) if is_due else found.left_s
                answer.set_result(wait_s)
        except Exception:
            for answer, _ in asked:
                if not answer.done():
                    answer.set_result(None)
            raise

    def lose(self) -> None:
        """Forget what others know: the server does not answer."""
        self.view = None
        for _ in range(len(self._asked)):
            answer, _for_probe = self._asked.popleft()
            if answer.set_running_or_notify_cancel():
                answer.set_result(None)

    def end(self) -> None:
        """Exchange nothing any more."""
        self._shared.hang_up()

    def _publish(self, statement: Statement, found: Found) -> Found:
        """Tell what the server has to know, and give what it knows then."""
        is_new = statement.number > self._told
        if statement.until is None:
            if not is_new:
                return found
            self._shared.close()
            return Found("closed")
        if is_to_trip(statement, found, is_new=is_new):
            found = Found("tripped", max(statement.until - self._circuit.rules.monotonic(), 0.0))
            self._shared.trip(found.left_s)
        if is_new and statement.ends_probe:
            self._shared.release_probe()
        return found


def is_to_trip(statement: Statement, found: Found, *, is_new: bool) -> bool:
    """
    Decide whether a server is to be told that a circuit is not closed, as a process says.

    A server that knows nothing is told, for it may have forgotten. Against what it knows, only what is new counts: a
    probe that failed always does; too many failures do if the circuit is closed there, for if it is open, its time
    began before; a probe that was cancelled is no news about the circuit.
    """
    if found.state == "unknown":
        return True
    return is_new and (statement.is_newest or (found.state == "closed" and not statement.ends_probe))


class Worker:
    """
    The thread that serves all links of one breaker; it begins with the first, and ends with :meth:`stop`.

    Attributes:
        may_answer: Whether it is worth waiting for: the servers answered the last time, or were not asked yet.
    """

    def __init__(self) -> None:
        self.may_answer = True
        self._links: list[Link] = []
        self._wake = threading.Event()
        self._is_stopped = False
        self._thread: threading.Thread | None = None

    def add(self, link: Link) -> None:
        """Serve one more circuit."""
        self._links = [*self._links, link]
        if self._thread is None:
            # A daemon: a server that does not answer must not keep the program from ending.
            self._thread = threading.Thread(target=self._run, name="cqrs_breaker", daemon=True)
            self._thread.start()
        self.wake()

    def wake(self) -> None:
        """Do not wait for the next round; called from any thread."""
        self._wake.set()

    def stop(self) -> None:
        """End the thread, soon; called from any thread."""
        self._is_stopped = True
        self._wake.set()

    def _run(self) -> None:
        while True:
            is_last = self._is_stopped
            self._serve()
            if is_last:  # and what was there to tell before has been told
                break
            self._wake.wait(REFRESH_S if self.may_answer else RETRY_S)
            self._wake.clear()
        for link in self._links:
            link.end()

    def _serve(self) -> None:
        links = self._links
        try:
            for link in sorted(links, key=lambda link: not link.is_asked):
                link.exchange()
        except Exception as error:  # noqa: BLE001 - clients have errors of their own, and no call may fail of them
            had_answered, self.may_answer = self.may_answer, False
            for link in links:
                link.lose()
            if had_answered and not self._is_stopped:
                text = "Redis does not answer (%s: %s): until it does, circuits are kept in this process alone."
                logger.warning(text, type(error).__name__, error)
            return
        if not self.may_answer:
            self.may_answer = True
            logger.info("Redis answers again: circuits are shared.")


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
