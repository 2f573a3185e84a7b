"""Errors while messages are handled."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from cqrs_core.errors.base import CqrsError, name_of

if TYPE_CHECKING:
    from collections.abc import Sequence

if sys.version_info >= (3, 11):
    _Group = ExceptionGroup
else:

    class _Group(Exception):
        """What :class:`EventHandlersFailed` needs of ``ExceptionGroup``, which Python 3.10 lacks."""

        def __init__(self, message: str, exceptions: Sequence[Exception]) -> None:
            super().__init__(message, exceptions)
            self.message = message
            self.exceptions = tuple(exceptions)


class HandlerNotFound(CqrsError, LookupError):
    """
    No handler is bound to the request that was sent.

    Attributes:
        request_type: The class of what was sent.
    """

    def __init__(self, request_type: type, hint: str = "") -> None:
        self.request_type = request_type
        name = name_of(request_type)
        cure = hint or f"Bind one before the mediator is built: RequestMap.bind({name}, YourHandler)."
        super().__init__(f"No handler is bound to {name}. {cure}")


class EventHandlersFailed(CqrsError, _Group):
    """
    Handlers of events failed.

    Without a unit of work all others ran, and the command that emitted the events has taken effect: do not retry it. In
    a unit of work the first error ended it, and everything was rolled back. On Python 3.11 and later this is an
    ``ExceptionGroup``.

    Attributes:
        errors: What the handlers raised, in the order in which they failed.
        response: What the command's handler answered; ``None`` if no command was under way, or if it was rolled back.
        is_rolled_back: Whether nothing has taken effect, the command neither.
    """

    response: object

    def __new__(
        cls,
        errors: Sequence[Exception],
        response: object = None,  # noqa: ARG004 - for __init__
        *,
        is_rolled_back: bool = False,
    ) -> EventHandlersFailed:
        """Make the group: a message and a list are what ``ExceptionGroup`` wants to be given here."""
        if sys.version_info >= (3, 11):
            return super().__new__(cls, _describe(errors, is_rolled_back=is_rolled_back), list(errors))
        else:  # noqa: RET505 - type checkers understand an else
            return super().__new__(cls)

    def __init__(self, errors: Sequence[Exception], response: object = None, *, is_rolled_back: bool = False) -> None:
        self.errors = tuple(errors)
        self.response = response
        self.is_rolled_back = is_rolled_back
        _Group.__init__(self, _describe(errors, is_rolled_back=is_rolled_back), list(errors))

    def derive(  # type: ignore[override, unused-ignore]  # of exceptions only; on 3.10 there is nothing to override
        self, excs: Sequence[Exception], /
    ) -> EventHandlersFailed:
        """Keep the class and the facts when ``except*`` splits the group."""
        return EventHandlersFailed(excs, self.response, is_rolled_back=self.is_rolled_back)


class EventCascadeTooDeep(CqrsError, RecursionError):
    """
    Events made handlers emit events, and so on, further than is allowed: as a rule, a circle.

    Attributes:
        chain: The classes of the events from the first to the one that was not handled any more.
        max_event_depth: The limit, in events after the first.
    """

    def __init__(self, chain: Sequence[type], max_event_depth: int) -> None:
        self.chain = tuple(chain)
        self.max_event_depth = max_event_depth
        super().__init__(
            f"Events led to events more than {max_event_depth} times: {_shorten(self.chain)}. The last was not "
            "handled. Break the circle, or raise max_event_depth if the cascade is meant."
        )


class NoPublisher(CqrsError, RuntimeError):
    """
    A notification was emitted, and there is no broker that could take it to other processes.

    Attributes:
        event_type: The class of the event.
    """

    def __init__(self, event_type: type) -> None:
        self.event_type = event_type
        super().__init__(
            f"{name_of(event_type)} is a notification for other processes, but no broker was given, so it would be "
            "lost. Give one (bootstrap(..., message_broker=...)), or emit a DomainEvent for handlers of this process."
        )


class HandlerTimedOut(CqrsError, TimeoutError):
    """
    A handler did not end in time, and was cancelled. What it had begun may have taken effect.

    Attributes:
        handler: Its class.
        timeout_s: How many seconds it had.
    """

    def __init__(self, handler: type, timeout_s: float) -> None:
        self.handler = handler
        self.timeout_s = timeout_s
        super().__init__(
            f"{name_of(handler)} did not end within {timeout_s:g} s, and was cancelled. Give it more time (timeout_s), "
            "or find out what it waits for."
        )


class StrayCancellation(CqrsError, RuntimeError):
    """
    Something that was waited for was cancelled, and not by whoever ends what waits: it is a failure, not an end.

    The ``CancelledError`` of asyncio is its ``__cause__``.
    """

    def __init__(self) -> None:
        super().__init__(
            "Something that was waited for was cancelled by somebody else, as when the task of a shared connection "
            "ends. See the cause for where."
        )


class NoEventLoop(CqrsError, RuntimeError):
    """Something had to wait, or to run side by side, outside asyncio and trio."""

    def __init__(self) -> None:
        super().__init__("Neither asyncio nor trio is running. Call this from a coroutine that one of them runs.")


class TaskGroupClosed(CqrsError, RuntimeError):
    """A task was to be started in a group whose block has been left."""

    def __init__(self) -> None:
        super().__init__("The task group is closed: start tasks before its block is left.")


class AppNotStarted(CqrsError, RuntimeError):
    """
    An App was used before it was started, or after it was stopped.

    Attributes:
        app_name: The name of the App.
    """

    def __init__(self, app_name: str) -> None:
        self.app_name = app_name
        super().__init__(f"The App {app_name!r} is not started. Use it inside `async with app:`.")


class AppStarted(CqrsError, RuntimeError):
    """
    An App was started, or changed, while it was already running, or while its sagas are looked after outside of that.

    Attributes:
        app_name: The name of the App.
    """

    def __init__(self, app_name: str) -> None:
        self.app_name = app_name
        super().__init__(
            f"The App {app_name!r} is already started, or its sagas are looked after. Leave the first "
            "`async with app:`, or `async with app.saga_administration():`, before."
        )


def _describe(errors: Sequence[Exception], *, is_rolled_back: bool) -> str:
    count = "1 event handler" if len(errors) == 1 else f"{len(errors)} event handlers"
    kinds = ", ".join(dict.fromkeys(type(error).__qualname__ for error in errors))
    if is_rolled_back:
        return f"{count} failed ({kinds}), and everything in the unit of work was rolled back. See .errors."
    return (
        f"{count} failed ({kinds}); the others ran, and what was commanded has taken effect. "
        "See .errors, and do not repeat the command because of it."
    )


def _shorten(chain: Sequence[type]) -> str:
    """Write a chain of classes; of a long one, which is a circle as a rule, both ends."""
    names = [name_of(step) for step in chain]
    if len(names) > 12:  # noqa: PLR2004 - what fits on two lines
        names = [*names[:6], "...", *names[-5:]]
    return " -> ".join(names)
