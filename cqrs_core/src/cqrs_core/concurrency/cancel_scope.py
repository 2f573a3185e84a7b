"""A block that somebody else can end, without ending the task that is in it."""

from __future__ import annotations

import abc
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cqrs_core.concurrency.cancellations import ask_to_end, asked_to_end, take_back
from cqrs_core.concurrency.loops import running_trio

if TYPE_CHECKING:
    from collections.abc import Iterator


class CancelScope(abc.ABC):
    """A block that can be ended from outside; see :func:`open_cancel_scope`."""

    is_cancelled = False

    def cancel(self) -> None:
        """End the block where it next awaits, without an error; to be called while it is open, and from its loop."""
        if not self.is_cancelled:
            self.is_cancelled = True
            self._end()

    @abc.abstractmethod
    def _end(self) -> None: ...

    @abc.abstractmethod
    def __enter__(self) -> CancelScope: ...

    @abc.abstractmethod
    def __exit__(self, error_type: object, error: BaseException | None, traceback: object) -> bool | None: ...


def open_cancel_scope() -> CancelScope:
    """Open a block that others may end, by ``with``; it costs little, and starts no task."""
    trio = running_trio()
    return _AsyncioScope() if trio is None else _TrioScope(trio.CancelScope())


class _TrioScope(CancelScope):
    def __init__(self, inner: Any) -> None:  # noqa: ANN401 - of trio, which the core does not import
        self._inner = inner

    def _end(self) -> None:
        self._inner.cancel()

    def __enter__(self) -> CancelScope:
        self._inner.__enter__()
        return self

    def __exit__(self, *about: object) -> bool | None:
        answer: bool | None = self._inner.__exit__(*about)
        return answer


class _AsyncioScope(CancelScope):
    # Not by @contextmanager: it is opened around every step of a saga, and that would cost more than the rest of it.
    def _end(self) -> None:
        ask_to_end(self._owner)

    def __enter__(self) -> CancelScope:
        import asyncio  # noqa: PLC0415 - it is running, so this costs a look-up

        self._owner = asyncio.current_task()
        self._asked_before = asked_to_end(self._owner)
        return self

    def __exit__(self, error_type: object, error: BaseException | None, traceback: object) -> bool:
        if not self.is_cancelled:
            return False
        import asyncio  # noqa: PLC0415 - as above

        is_own = take_back(self._owner) <= self._asked_before
        return is_own and isinstance(error, asyncio.CancelledError)


@contextmanager
def move_on_after(seconds: float) -> Iterator[CancelScope]:
    """Open a block that is ended when *seconds* of real time have passed; ``is_cancelled`` tells whether it was."""
    trio = running_trio()
    if trio is not None:
        with trio.move_on_after(seconds) as inner:
            scope = _TrioScope(inner)
            yield scope
        scope.is_cancelled = inner.cancelled_caught
        return
    import asyncio  # noqa: PLC0415 - as above

    with open_cancel_scope() as opened:
        timer = asyncio.get_running_loop().call_later(seconds, opened.cancel)
        try:
            yield opened
        finally:
            timer.cancel()
