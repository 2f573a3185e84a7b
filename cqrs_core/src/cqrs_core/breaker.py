"""The contract of circuit breakers, which spare a service that keeps failing; and one for a single process."""

from __future__ import annotations

import inspect
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from cqrs_core.clock import SystemClock
from cqrs_core.durations import check_duration
from cqrs_core.errors import CircuitOpen, InvalidOption, name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cqrs_core.clock import Clock

logger = logging.getLogger(__name__)


class Permit(Protocol):
    """The right to make one call. When that has ended, exactly one of the three is called, once."""

    async def succeeded(self) -> None:
        """Tell that the call returned."""
        ...

    async def failed(self, error: Exception) -> None:
        """
        Tell that the call raised *error*; whether that counts is for the breaker to decide.

        It raises nothing itself: the caller of the call sees *error*, and nothing else.
        """
        ...

    def abandoned(self) -> None:
        """Tell that the call was cancelled, and proves nothing. Not async: it must work while a task is cancelled."""
        ...


class CircuitBreaker(Protocol):
    """
    Lets calls through, or refuses them. What an author writes; ``cqrs_core.testing.conformance`` checks it.

    One breaker serves many circuits, each known by its name, and each in one of three states. *Closed*: calls pass, and
    failures are counted. *Open*: after too many failures every call is refused, for a time. *Half-open*: that time is
    over, and one call passes, as a probe; if it succeeds, the circuit is closed, if it fails, open again.

    What a call proves counts for the state in which it was let through: an outcome that comes when the circuit has
    moved on is dropped. A probe that does not come back loses its turn to another one, in the end.
    """

    async def acquire(self, circuit: str) -> Permit:
        """
        Ask for one call on *circuit*, and make the circuit if there is none of that name.

        Raises:
            CircuitOpen: The call must not be made; try after its ``retry_after_s``, or do something else.
        """
        ...


def missing_breaker_methods(thing: object) -> list[str]:
    """List what *thing* lacks of a :class:`CircuitBreaker`; a lock has an ``acquire`` too, but not for a circuit."""
    acquire = getattr(thing, "acquire", None)
    if isinstance(thing, type) or not callable(acquire):
        return ["acquire"]
    try:
        inspect.signature(acquire).bind("circuit")
    except TypeError:
        return ["acquire"]
    except ValueError:  # some that are written in C do not tell what they take
        pass
    return []


class LocalCircuitBreaker:
    """
    A circuit breaker that counts consecutive failures, in this process.

    Nothing in it awaits, so that on one event loop each step is atomic, and there is nothing to lock. Give each thread
    a breaker of its own.

    Args:
        fail_max: How many failures in a row open a circuit; at least 1.
        open_for_s: Seconds that it stays open before one call is let through. If that one does not come back within
            the same time, another one is let through: a call that hangs does not keep a circuit open for ever.
        exclude: Errors that are answers, such as "no such order". They neither count nor end a row of failures. From
            a probe, such an error closes the circuit: whatever answers is there. Were it no verdict, a service that is
            well would stay shut off for as long as its answers happen to be such errors, while to close too early
            costs no more than *fail_max* failed calls.
        clock: Whose :meth:`Clock.monotonic` is asked.

    Raises:
        InvalidOption: A number is outside its bounds, or a class is no class of exceptions.

    Source:
        M. Nygard, "Release It!", 2007, chapter 5: the three states.
    """

    def __init__(
        self,
        *,
        fail_max: int = 5,
        open_for_s: float = 60.0,
        exclude: Sequence[type[Exception]] = (),
        clock: Clock | None = None,
    ) -> None:
        check_fail_max(fail_max)
        check_duration("open_for_s", open_for_s)
        check_exclude(exclude)
        monotonic = (clock or SystemClock()).monotonic
        self._rules = _Rules(fail_max, open_for_s, tuple(exclude), monotonic)
        self._circuits: dict[str, _Circuit] = {}

    async def acquire(self, circuit: str) -> Permit:
        """As :meth:`CircuitBreaker.acquire`; it never suspends, and no more do its permits."""
        found = self._circuits.get(circuit)
        if found is None:
            found = self._circuits[circuit] = _Circuit(circuit, self._rules)
        return found.closed or found.probe()


@dataclass(frozen=True, slots=True)
class _Rules:
    fail_max: int
    open_for_s: float
    exclude: tuple[type[Exception], ...]
    monotonic: Callable[[], float]


class _Circuit:
    """
    One circuit. Its state is the permit that it gives: outcomes of a permit that it no longer gives come too late.

    Attributes:
        closed: The permit of all calls while it is closed, with their count of failures; else ``None``.
        trial: While it is not closed: the permit of the latest probe, even before there was one.
        until: While it is not closed: when the next probe is let through.
    """

    __slots__ = ("closed", "name", "rules", "trial", "until")

    def __init__(self, name: str, rules: _Rules) -> None:
        self.name = name
        self.rules = rules
        self.closed: _Closed | None = _Closed(self)
        self.trial: _Probe | None = None
        self.until = 0.0

    def probe(self) -> Permit:
        """Let one call through if it is time, and no other until it has had as much time again."""
        now = self.rules.monotonic()
        if now < self.until:
            raise CircuitOpen(self.name, self.until - now)
        self.until = now + self.rules.open_for_s
        self.trial = _Probe(self)
        return self.trial

    def open(self, error: Exception) -> None:
        """Refuse calls from now on."""
        self.closed = self.trial = None
        self.until = self.rules.monotonic() + self.rules.open_for_s
        # Not the error itself: its text may quote what is in a message.
        text = "The circuit of %s is open for %g s: the last error was of type %s."
        logger.warning(text, self.name, self.rules.open_for_s, name_of(type(error)), extra={"circuit": self.name})

    def close(self) -> None:
        """Let calls through, and count failures from none."""
        self.trial = None
        self.closed = _Closed(self)
        logger.info("The circuit of %s is closed again.", self.name, extra={"circuit": self.name})


class _Closed:
    """A permit, the same for all calls in one closed period: so a call costs no new object."""

    __slots__ = ("_circuit", "_failures")

    def __init__(self, circuit: _Circuit) -> None:
        self._circuit = circuit
        self._failures = 0

    async def succeeded(self) -> None:
        """End a row of failures."""
        self._failures = 0

    async def failed(self, error: Exception) -> None:
        """Count, and open the circuit when there were enough."""
        circuit = self._circuit
        if circuit.closed is not self or isinstance(error, circuit.rules.exclude):
            return
        self._failures += 1
        if self._failures >= circuit.rules.fail_max:
            circuit.open(error)

    def abandoned(self) -> None:
        """Neither count nor end a row of failures."""


class _Probe:
    """The permit of the one call that finds out whether the service is well again."""

    __slots__ = ("_circuit",)

    def __init__(self, circuit: _Circuit) -> None:
        self._circuit = circuit

    async def succeeded(self) -> None:
        """Close the circuit."""
        if self._circuit.trial is self:
            self._circuit.close()

    async def failed(self, error: Exception) -> None:
        """Open the circuit again, unless the error is an answer."""
        if isinstance(error, self._circuit.rules.exclude):
            await self.succeeded()
        elif self._circuit.trial is self:
            self._circuit.open(error)

    def abandoned(self) -> None:
        """Let the next call be the probe."""
        if self._circuit.trial is self:
            self._circuit.trial = None
            self._circuit.until = self._circuit.rules.monotonic()


def check_fail_max(fail_max: object) -> None:
    """
    Refuse what is no number of failures.

    Raises:
        InvalidOption: It is no whole number, or less than 1.
    """
    if not isinstance(fail_max, int) or isinstance(fail_max, bool) or fail_max < 1:
        raise InvalidOption("fail_max", fail_max, "a whole number, at least 1")


def check_exclude(exclude: object) -> None:
    """
    Refuse what does not say which errors are answers.

    Raises:
        InvalidOption: It is no list or tuple, or one of its members is no class of exceptions.
    """
    if not isinstance(exclude, (list, tuple)) or not all(_is_exception_class(member) for member in exclude):
        raise InvalidOption("exclude", exclude, "a list or tuple of classes of exceptions")


def _is_exception_class(thing: object) -> bool:
    return isinstance(thing, type) and issubclass(thing, Exception)
