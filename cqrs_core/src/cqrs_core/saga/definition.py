"""What a saga is made of: its class, as programs write it, and the definition that is read from it once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic

from cqrs_core.errors import InvalidSaga, name_of
from cqrs_core.saga.checks import saga_problems
from cqrs_core.saga.listed_steps import argument_of, handler_of, id_of, option_of
from cqrs_core.saga.log import Branch, SagaStatus
from cqrs_core.saga.plan import StepKind
from cqrs_core.saga.steps import Ctx, Fallback, SagaContext, SagaStepHandler

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cqrs_core.resilience import RetryPolicy
    from cqrs_core.saga.plan import Standing


class Saga(Generic[Ctx]):
    """
    Steps that are all done in the end, or all undone: derive from it, and list them.

    .. code-block:: python

        class OrderSaga(Saga[OrderContext]):
            steps = [ReserveStock, Fallback(TakePayment, SendInvoice), Step(Notify, id="notify_again")]

    The class is checked when it is written: everything that is wrong with it is told at once, as :class:`InvalidSaga`.

    Attributes:
        steps: In order: handler classes, ``Step`` and ``Fallback``.
        name: What stored sagas know it by; the name of the class unless given.
        aliases: The ids that steps have now, by those that they had when sagas were started that are still going.
        retired_steps: Handlers of steps that are no longer done, for sagas that did them and may have to undo them.
    """

    steps: ClassVar[Sequence[Any]] = ()
    name: ClassVar[str] = ""
    aliases: ClassVar[Mapping[str, str]] = {}
    retired_steps: ClassVar[Sequence[Any]] = ()

    def __init_subclass__(cls, **others: object) -> None:
        super().__init_subclass__(**others)
        if "steps" in vars(cls):
            problems = list(saga_problems(cls, context_of(cls)))
            if problems:
                raise InvalidSaga(cls, problems)


@dataclass(frozen=True)
class Side:
    """
    One handler of a step: the step itself, or what is done in its place.

    Attributes:
        handler: Its class.
        branch: Which side it is.
        timeout_s: As for :class:`SagaStepHandler`; so are the others.
    """

    handler: type[SagaStepHandler[Any, Any]]
    branch: Branch
    timeout_s: float | None
    retry: RetryPolicy | None
    compensation_retry: RetryPolicy | None
    in_doubt_on: tuple[type[Exception], ...]
    is_transactional: bool


@dataclass(frozen=True)
class StepDefinition:
    """
    One step, as it stands in a saga.

    Attributes:
        id: By which stored sagas know it.
        kind: Whether it can be undone.
        primary: What is done.
        fallback: What is done if that fails.
        rules: For which errors it is, and what spares *primary*.
    """

    id: str
    kind: StepKind
    primary: Side
    fallback: Side | None = None
    rules: Fallback | None = None

    @property
    def sides(self) -> tuple[Side, ...]:
        """Both, or the only one."""
        return (self.primary,) if self.fallback is None else (self.primary, self.fallback)

    @property
    def circuit(self) -> str:
        """What a circuit breaker knows *primary* by."""
        return f"{self.primary.handler.__module__}.{self.primary.handler.__qualname__}"


@dataclass(frozen=True)
class Definition:
    """
    A saga, read from its class.

    Attributes:
        saga: The class.
        name: What stored sagas know it by.
        context_type: Of its context.
        steps: In order.
        kinds: Theirs.
        fingerprint: The same for all versions of the class whose steps have the same ids, kinds and sides, in the same
            order: 16 characters.
        retired: Steps that are no longer done, and may have to be undone.
    """

    saga: type[Saga[Any]]
    name: str
    context_type: type[SagaContext]
    steps: tuple[StepDefinition, ...]
    kinds: tuple[StepKind, ...]
    fingerprint: str
    retired: tuple[StepDefinition, ...] = ()

    def current_id(self, step_id: str) -> str:
        """Give the id that a step has now which was once known by *step_id*."""
        return self.saga.aliases.get(step_id, step_id)

    def is_retired(self, step_id: str) -> bool:
        """Tell whether a step is no longer done."""
        return any(step.id == self.current_id(step_id) for step in self.retired)

    def must_be_undone(self, step_id: str) -> bool:
        """Tell whether a step that is done has to be undone if the saga turns round."""
        kinds = {step.id: step.kind for step in (*self.steps, *self.retired)}
        return kinds.get(self.current_id(step_id), StepKind.COMPENSABLE) is StepKind.COMPENSABLE

    def cursor_after(self, done: Sequence[str]) -> int:
        """Count how many of the steps of this version are done, when those of the ids *done* are."""
        return sum(not self.is_retired(step_id) for step_id in done)

    def step_at_work(self, standing: Standing) -> str:
        """Give the id of the step that is at work where a saga stands; none, if none is."""
        forward = (standing.suspended_from or standing.status) in _FORWARD
        return self.steps[standing.cursor].id if forward and standing.cursor < len(self.steps) else ""

    def misfit(self, done: Sequence[str], at_work: str | None) -> str | None:
        """
        Tell why a saga that another version of the class has begun cannot go on with this one; ``None``: it can.

        Args:
            done: The ids of the steps that it has done, in order.
            at_work: The id of the step that may have been begun.
        """
        was = [self.current_id(step_id) for step_id in done if not self.is_retired(step_id)]
        now = [step.id for step in self.steps]
        if was != now[: len(was)]:
            return f"it has done {_listed(was)}, and {self.name} begins with {_listed(now[: len(was)])}"
        following = now[len(was)] if len(was) < len(now) else None
        if at_work is not None and self.current_id(at_work) != following:
            return f"the step {at_work!r} may have been begun, and {self.name} goes on with {following!r}"
        return None


_FORWARD = (SagaStatus.PENDING, SagaStatus.RUNNING)


def definition_of(saga: type[Saga[Any]] | Saga[Any]) -> Definition:
    """
    Read a saga, given as its class or as an object of it.

    Raises:
        InvalidSaga: It cannot work.
    """
    cls: Any = saga if isinstance(saga, type) else type(saga)
    known: Definition | None = _definitions.get(cls)
    if known is not None:
        return known
    if not (isinstance(cls, type) and issubclass(cls, Saga)):
        raise InvalidSaga(cls, [f"{name_of(saga)} does not derive from Saga."])
    context_type = context_of(cls, must_resolve=True)
    problems = list(saga_problems(cls, context_type))
    if not cls.steps:
        problems.append("It has no steps: list them in `steps`.")
    if not (isinstance(context_type, type) and issubclass(context_type, SagaContext)):
        problems.append("Its context is not said: derive from Saga[YourContext], and YourContext from SagaContext.")
    elif "__dataclass_fields__" not in vars(context_type):  # of its own: SagaContext has some, which are none
        problems.append(f"Its context, {name_of(context_type)}, is no dataclass: let it make no instances of its own.")
    if problems:
        raise InvalidSaga(cls, problems)
    steps = tuple(_step_of(given) for given in cls.steps)
    definition = _definitions[cls] = Definition(
        saga=cls,
        name=vars(cls).get("name") or cls.__name__,
        context_type=context_type,
        steps=steps,
        kinds=tuple(step.kind for step in steps),
        fingerprint=_fingerprint(steps),
        retired=tuple(map(_step_of, cls.retired_steps)),
    )
    return definition


#: By class; classes are not made while a program runs.
_definitions: dict[type, Definition] = {}


def context_of(saga: type, *, must_resolve: bool = False) -> Any:  # noqa: ANN401 - what a program wrote
    """
    Tell the class of a saga's context; ``MISSING`` if that was not said, or cannot be told yet.

    Raises:
        UnresolvedAnnotation: It is a forward reference that its module does not define, and *must_resolve*.
    """
    return argument_of(saga, Saga, must_resolve=must_resolve)


def _step_of(given: Any) -> StepDefinition:  # noqa: ANN401 - a class, a Step or a Fallback
    if isinstance(given, Fallback):
        primary = _side(given.primary, Branch.PRIMARY)
        return StepDefinition(
            id_of(given), option_of(given.primary, "kind"), primary, _side(given.fallback, Branch.FALLBACK), given
        )
    return StepDefinition(id_of(given), option_of(given, "kind"), _side(given, Branch.PRIMARY))


def _side(given: Any, branch: Branch) -> Side:  # noqa: ANN401 - a class or a Step
    return Side(
        handler=handler_of(given),
        branch=branch,
        timeout_s=option_of(given, "timeout_s"),
        retry=option_of(given, "retry"),
        compensation_retry=option_of(given, "compensation_retry"),
        in_doubt_on=option_of(given, "in_doubt_on"),
        is_transactional=option_of(given, "transactional"),
    )


def _fingerprint(steps: Sequence[StepDefinition]) -> str:
    import hashlib  # noqa: PLC0415 - only who has sagas needs it

    shape = "\n".join(f"{step.id}\t{step.kind}\t{len(step.sides)}" for step in steps)
    return hashlib.sha256(shape.encode()).hexdigest()[:16]


def _listed(ids: Sequence[str]) -> str:
    return ", ".join(ids) or "nothing"
