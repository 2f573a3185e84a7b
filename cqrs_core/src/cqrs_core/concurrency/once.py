"""Steps that must have been done before the first message, whoever comes first."""

from __future__ import annotations

from collections import deque
from contextvars import ContextVar
from typing import TYPE_CHECKING

from cqrs_core.concurrency.loops import Gate

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

#: What the current task has entered, through whatever calls.
_entered: ContextVar[tuple[Once, ...]] = ContextVar("_entered", default=())


class Once:
    """
    Steps that must have succeeded, in order, before the first message goes on its way.

    Whoever comes first runs them while others wait. A step that raises, or whose runner is cancelled, is run again by
    the next who comes; steps that succeeded are not. Threads cannot wait for each other's loops: of two that come at
    the same time, both may run a step.
    """

    def __init__(self, steps: Iterable[Callable[[], Awaitable[object]]]) -> None:
        self._steps = deque(steps)
        self._runner: Gate | None = None

    @property
    def is_done(self) -> bool:
        """Whether every step has succeeded."""
        return not self._steps

    @property
    def is_entered(self) -> bool:
        """Whether a step of this is what is running here: then waiting for it would never end."""
        return self in _entered.get()

    async def run(self) -> None:
        """
        Return when every step has succeeded; at once, if one of them is what is running here.

        Raises:
            Exception: What the first step that failed raised, to the one who ran it.
        """
        while self._steps and not self.is_entered:
            gate = self._runner
            if gate is not None and gate.is_of_this_loop():
                await gate.wait()
                continue
            # A gate of another loop belongs to a loop that was ended in the middle of a step.
            self._runner = gate = Gate()
            token = _entered.set((*_entered.get(), self))
            try:
                while self._steps:
                    step = self._steps[0]
                    await step()
                    if self._steps and self._steps[0] is step:  # else another thread has been here
                        self._steps.popleft()
            finally:
                _entered.reset(token)
                if self._runner is gate:
                    self._runner = None
                gate.open()
