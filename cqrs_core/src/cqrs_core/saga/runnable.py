"""A definition with everything that it takes to run it: attempts, policies, the form of the context."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from cqrs_core.errors import CqrsError, InvalidOption, WiringError
from cqrs_core.resilience import Policies, RetryPolicy
from cqrs_core.saga.attempt import step_attempt
from cqrs_core.saga.contexts import ContextForm
from cqrs_core.saga.log import Branch, Done, SagaStatus
from cqrs_core.saga.plan import Happened, Standing, StepKind, follow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from cqrs_core.breaker import CircuitBreaker
    from cqrs_core.emitter import EventEmitter
    from cqrs_core.resilience.guards import Guards
    from cqrs_core.saga.attempt import Attempt
    from cqrs_core.saga.definition import Definition, Side, StepDefinition
    from cqrs_core.saga.steps import Fallback
    from cqrs_core.units import Units
    from cqrs_core.wiring import HandlerSource


class RunnableSide(NamedTuple):
    """
    One handler of a step.

    Attributes:
        step_id: Of which step.
        branch: Which side it is.
        done: What it is when it is done.
        handler: Its class.
        name: The name of that.
        act: One attempt at it.
        undo: One attempt at undoing it.
        retry: When *act* is repeated; ``None``: never.
        compensation_retry: When *undo* is.
        in_doubt_on: Errors of *act* after which it may have taken effect.
        is_transactional: Whether the record of it is written in its unit of work.
        is_plain: Whether one attempt is all there is to it.
    """

    step_id: str
    branch: Branch
    done: Done
    handler: type
    name: str
    act: Attempt
    undo: Attempt
    retry: RetryPolicy | None
    compensation_retry: RetryPolicy | None
    in_doubt_on: tuple[type[Exception], ...]
    is_transactional: bool
    is_plain: bool


class RunnableStep(NamedTuple):
    """
    One step.

    Attributes:
        id: By which stored sagas know it.
        primary: What is done.
        fallback: What is done if that fails.
        rules: For which errors it is.
        breaker: What spares *primary*.
        circuit: What *breaker* knows it by.
    """

    id: str
    primary: RunnableSide
    fallback: RunnableSide | None
    rules: Fallback | None
    breaker: CircuitBreaker | None
    circuit: str


class RunnableSaga:
    """
    A saga that can be run.

    Attributes:
        definition: What it is made of.
        steps: In order.
        kinds: Those of the steps.
        form: How its contexts are kept.
        after: By the number of a step: where the saga stands when it is done, and which step is at work then.
    """

    def __init__(
        self,
        definition: Definition,
        steps: tuple[RunnableStep, ...],
        undoable: Mapping[Done, RunnableSide],
        form: ContextForm,
    ) -> None:
        self.definition = definition
        self.steps = steps
        self.kinds = definition.kinds
        self.form = form
        self._undoable = undoable
        running = (Standing(SagaStatus.RUNNING, number, Branch.PRIMARY, 1) for number in range(len(steps)))
        standings = [follow(standing, Happened.ACTED, self.kinds) for standing in running]
        self.after = tuple((standing, definition.step_at_work(standing)) for standing in standings)

    def undoing(self, done: Done) -> RunnableSide | None:
        """Find what undoes something that was done; ``None``: nothing here does."""
        return self._undoable.get(Done(self.definition.current_id(done.step_id), done.branch))


class RunnableSagas:
    """Puts sagas together with the parts of a program."""

    def __init__(self, source: HandlerSource, emitter: EventEmitter, units: Units, guards: Guards) -> None:
        """
        Take what they need.

        Args:
            source: Makes the handlers.
            emitter: Takes their events on.
            units: Gives each attempt its unit of work, if there is a storage.
            guards: Knows the clock, and opens breakers.
        """
        self._source = source
        self._emitter = emitter
        self._units = units
        self._guards = guards

    def problems(self, definition: Definition) -> Iterator[CqrsError]:
        """Tell what is in the way of running a saga: errors, none of them raised. Handlers are admitted."""
        for step in _all_steps(definition):
            for side in step.sides:
                yield from self._source.admit(side.handler)
                if side.is_transactional and not self._units.are_used:
                    yield InvalidOption("transactional", True, "left out: there is no storage with units of work")
            if step.rules is not None:
                yield from self._guards.problems(Policies(rules=step.rules))
        try:
            ContextForm(definition.context_type)
        except CqrsError as error:
            yield error

    def make(self, definition: Definition, build: Callable[[dict[str, Any]], Any] | None = None) -> RunnableSaga:
        """
        Put *definition* together.

        Args:
            build: Makes a context of a dict, in place of its class.

        Raises:
            WiringError: It cannot be run; with everything that is in the way.
        """
        problems = list(self.problems(definition))
        if problems:
            raise WiringError(problems)
        made = [(step, self._step(step)) for step in _all_steps(definition)]
        undoable = {
            side.done: side
            for step, runnable in made
            for side in (runnable.primary, runnable.fallback)
            if side is not None and step.kind is StepKind.COMPENSABLE
        }
        steps = tuple(runnable for _, runnable in made[: len(definition.steps)])
        return RunnableSaga(definition, steps, undoable, ContextForm(definition.context_type, build))

    def _step(self, step: StepDefinition) -> RunnableStep:
        breaker = None if step.rules is None else self._guards.breaker_of(Policies(rules=step.rules))
        fallback = None if step.fallback is None else self.side(step, step.fallback)
        return RunnableStep(step.id, self.side(step, step.primary), fallback, step.rules, breaker, step.circuit)

    def side(self, step: StepDefinition, side: Side) -> RunnableSide:
        """Put one side of a step together; those who watch what it does change this."""
        deadline = self._guards.deadline(Policies(timeout_s=side.timeout_s))
        act, undo = (
            step_attempt(
                side.handler,
                method,
                source=self._source,
                emitter=self._emitter,
                units=self._units,
                deadline=deadline,
            )
            for method in ("act", "compensate")
        )
        return RunnableSide(
            step.id,
            side.branch,
            Done(step.id, side.branch),
            side.handler,
            side.handler.__name__,
            act,
            undo,
            side.retry,
            side.compensation_retry,
            side.in_doubt_on,
            side.is_transactional,
            side.retry is None and not side.is_transactional and step.rules is None,
        )


def _all_steps(definition: Definition) -> tuple[StepDefinition, ...]:
    return (*definition.steps, *definition.retired)
