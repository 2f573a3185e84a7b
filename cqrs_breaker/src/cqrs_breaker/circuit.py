"""One circuit: which calls pass, and whose outcome counts. What others do with the same circuit is taken over."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cqrs_core.errors import CircuitOpen, name_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from cqrs_breaker.engine import Engine
    from cqrs_core.breaker import Permit

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Statement:
    """
    What this process last had to say about a circuit.

    Attributes:
        number: How many there were before; 0 means that nothing was said yet.
        until: When the next probe may be made, by the clock of this process; ``None`` if the circuit is closed.
        is_newest: Whether it comes from a probe, and so counts whatever others have said.
        ends_probe: Whether a probe that was under way here is over.
    """

    number: int = 0
    until: float | None = None
    is_newest: bool = False
    ends_probe: bool = False


@dataclass(frozen=True, slots=True)
class View:
    """
    What all processes together know about a circuit.

    Attributes:
        as_of: The number of the last statement of this process that is part of it.
        is_closed: Whether somebody said that the circuit closed.
        until: When the next probe may be made, by the clock of this process; ``None`` if nobody said that it is open.
    """

    as_of: int
    is_closed: bool = False
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """What the circuits of one breaker have in common."""

    open_for_s: float
    exclude: tuple[type[Exception], ...]
    monotonic: Callable[[], float]


class Circuit:
    """
    One circuit in this process. aiobreaker counts; who passes, and which outcomes are too late, is decided here.

    Its state is the permit that it gives: an outcome of a permit that it no longer gives is dropped.

    Attributes:
        closed: The permit of all calls while it is closed, else ``None``.
        trial: The permit of the probe that is under way, if any.
        until: While it is not closed: when the next probe may be made.
        statement: What it last had to say to others; they are told by *on_statement*.
        seen: The last view that it took over.
    """

    def __init__(self, name: str, engine: Engine, rules: Rules, on_statement: Callable[[], None]) -> None:
        self.name = name
        self.engine = engine
        self.rules = rules
        self.closed: _Closed | None = _Closed(self) if engine.is_closed else None
        self.trial: _Probe | None = None
        self.until = 0.0 if self.closed else rules.monotonic() + rules.open_for_s
        self.statement = Statement()
        self.seen: View | None = None
        self._on_statement = on_statement

    # Of this process -------------------------------------------------------------------------------------------------

    def probe(self) -> Permit:
        """
        Let one call through if it is time, and no other until it has had as much time again.

        Raises:
            CircuitOpen: It is not time.
        """
        now = self.rules.monotonic()
        if now < self.until:
            raise CircuitOpen(self.name, self.until - now)
        self.engine.half_open()
        self.until = now + self.rules.open_for_s
        self.trial = _Probe(self)
        return self.trial

    def withdraw(self, permit: Permit, *, wait_s: float) -> None:
        """Take back a probe's permit that was not used, because somebody else makes the probe."""
        if self.trial is permit:
            self.trial = None
            self.until = self.rules.monotonic() + wait_s

    def opened(self, error: Exception) -> None:
        """Refuse calls from now on: there were too many failures, or a probe failed."""
        was_probe = self.trial is not None
        self._refuse_until(self.rules.monotonic() + self.rules.open_for_s)
        # Not the error itself: its text may quote what is in a message.
        text = "The circuit of %s is open for %g s: the last error was of type %s."
        logger.warning(text, self.name, self.rules.open_for_s, name_of(type(error)), extra={"circuit": self.name})
        self._say(self.until, is_newest=was_probe, ends_probe=was_probe)

    def recovered(self) -> None:
        """Let calls through: a probe was answered."""
        self._let_through()
        self._say(None, ends_probe=True)

    def released(self) -> None:
        """Let the next call be the probe: the one before it was cancelled."""
        self.trial = None
        self.until = self.rules.monotonic()
        self._say(self.until, ends_probe=True)

    # Of others -------------------------------------------------------------------------------------------------------

    def adopt(self, view: View) -> None:
        """Take over what others know, unless they have not heard yet what this process knows."""
        self.seen = view
        if view.as_of != self.statement.number:
            return
        if view.is_closed and self.closed is None:
            self.engine.close()
            self._let_through()
        elif view.until is not None and self.closed is not None:
            self.engine.open()
            self._refuse_until(view.until)
            text = "The circuit of %s is open: another process opened it."
            logger.warning(text, self.name, extra={"circuit": self.name})
        elif view.until is not None and view.until > self.rules.monotonic():
            self._refuse_until(view.until)
        # Known already: it is repeated only to a server that forgot it.
        self.statement = Statement(view.as_of, None if self.closed is not None else self.until)

    def _refuse_until(self, until: float) -> None:
        self.closed = self.trial = None
        self.until = until

    def _let_through(self) -> None:
        self.trial = None
        self.closed = _Closed(self)
        logger.info("The circuit of %s is closed again.", self.name, extra={"circuit": self.name})

    def _say(self, until: float | None, *, is_newest: bool = False, ends_probe: bool = False) -> None:
        self.statement = Statement(self.statement.number + 1, until, is_newest, ends_probe)
        self._on_statement()


class _Closed:
    """A permit, the same for all calls in one closed period."""

    __slots__ = ("_circuit",)

    def __init__(self, circuit: Circuit) -> None:
        self._circuit = circuit

    async def succeeded(self) -> None:
        """End a row of failures."""
        circuit = self._circuit
        if circuit.closed is self:
            circuit.engine.succeeded()

    async def failed(self, error: Exception) -> None:
        """Count, and open the circuit when there were enough."""
        circuit = self._circuit
        if circuit.closed is not self or isinstance(error, circuit.rules.exclude):
            return
        circuit.engine.failed(error)
        if not circuit.engine.is_closed:
            circuit.opened(error)

    def abandoned(self) -> None:
        """Neither count nor end a row of failures."""


class _Probe:
    """The permit of the one call that finds out whether the service is well again."""

    __slots__ = ("_circuit",)

    def __init__(self, circuit: Circuit) -> None:
        self._circuit = circuit

    async def succeeded(self) -> None:
        """Close the circuit."""
        circuit = self._circuit
        if circuit.trial is self:
            circuit.engine.succeeded()
            circuit.recovered()

    async def failed(self, error: Exception) -> None:
        """Open the circuit again; an error that is excluded is an answer, and closes it."""
        circuit = self._circuit
        if circuit.trial is not self:
            return
        if isinstance(error, circuit.rules.exclude):
            circuit.engine.close()
            circuit.recovered()
        else:
            circuit.engine.failed(error)
            circuit.opened(error)

    def abandoned(self) -> None:
        """Let the next call be the probe."""
        if self._circuit.trial is self:
            self._circuit.released()
