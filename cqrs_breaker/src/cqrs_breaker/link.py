"""What one circuit tells those of other processes, and what it finds out about them."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING

from cqrs_breaker.circuit import View
from cqrs_breaker.storage import Found

if TYPE_CHECKING:
    from cqrs_breaker.circuit import Circuit, Statement
    from cqrs_breaker.round_trips import Conversation
    from cqrs_breaker.storage import SharedState


class Link:
    """
    Connects a circuit with the state that processes share of it.

    The loop calls :meth:`ask` and reads the attributes; all else is called by the thread of the worker, which reads the
    circuit's last statement and changes nothing of the circuit.

    Attributes:
        shared: That state.
        view: What was found last; ``None`` while nothing is known.
        may_answer: Whether it is worth waiting for: the server answered the last time, or was not asked yet.
    """

    def __init__(self, circuit: Circuit, shared: SharedState) -> None:
        self.shared = shared
        self.view: View | None = None
        self.may_answer = True
        self._circuit = circuit
        self._told = 0
        self._asked: deque[tuple[Future[float | None], bool]] = deque()

    @property
    def name(self) -> str:
        """That of the circuit."""
        return self._circuit.name

    @property
    def has_news(self) -> bool:
        """Whether there is something to tell, and it is likely to be heard."""
        return self.may_answer and self._circuit.statement.number > self._told

    @property
    def is_urgent(self) -> bool:
        """Whether a call waits for an answer, or there is something to tell."""
        return bool(self._asked) or self.has_news

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

    def exchange(self) -> Conversation[None]:
        """Tell what happened here, and find out what happened elsewhere."""
        popped = [self._asked.popleft() for _ in range(len(self._asked))]
        # Who was cancelled meanwhile would not make the probe.
        asked = [(answer, for_probe) for answer, for_probe in popped if answer.set_running_or_notify_cancel()]
        try:
            statement = self._circuit.statement
            found = yield from self._publish(statement, (yield from self.shared.look()))
            self._told = statement.number
            until = self._circuit.rules.monotonic() + found.left_s if found.state == "tripped" else None
            self.view = View(statement.number, found.state == "closed", until)
            self.may_answer = True
            for answer, for_probe in asked:
                is_due = for_probe and not found.left_s and found.state == "tripped"
                wait_s = found.left_s
                if is_due:
                    wait_s = yield from self.shared.claim_probe(self._circuit.rules.open_for_s)
                answer.set_result(wait_s)
        finally:
            for answer, _ in asked:
                if not answer.done():
                    answer.set_result(None)

    def lose(self) -> None:
        """Forget what others know: the server does not answer."""
        self.view = None
        self.may_answer = False
        for _ in range(len(self._asked)):
            answer, _for_probe = self._asked.popleft()
            if answer.set_running_or_notify_cancel():
                answer.set_result(None)

    def start_anew(self) -> None:
        """Forget what others know, and who waits: this process was forked from the one where that was so."""
        self.view = None
        self.may_answer = True
        self._asked.clear()
        self.shared.become_another()

    def _publish(self, statement: Statement, found: Found) -> Conversation[Found]:
        """Tell what the server has to know, and give what it knows then."""
        is_new = statement.number > self._told
        if statement.until is None:
            if not is_new:
                return found
            yield from self.shared.close()
            return Found("closed")
        if is_to_trip(statement, found, is_new=is_new):
            found = Found("tripped", max(statement.until - self._circuit.rules.monotonic(), 0.0))
            yield from self.shared.trip(found.left_s)
        if is_new and statement.ends_probe:
            yield from self.shared.release_probe()
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
