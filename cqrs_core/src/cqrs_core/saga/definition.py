"""What a saga is made of: its class, as programs write it, and the definition that is read from it once."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, get_origin

from cqrs_core.errors import InvalidSaga, UnresolvedAnnotation, name_of
from cqrs_core.resilience import Policies, RetryPolicy
from cqrs_core.saga.log import Branch
from cqrs_core.saga.plan import StepKind
from cqrs_core.saga.steps import Ctx, Fallback, SagaContext, SagaStepHandler, Step
from cqrs_core.type_arguments import MISSING, type_argument

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence


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
            problems = list(_problems(cls, context_of(cls)))
            if problems:
                raise InvalidSaga(cls, problems)

    @property
    def steps_count(self) -> int:
        """How many steps there are."""
        return len(self.steps)


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
    problems = list(_problems(cls, context_type))
    if not cls.steps:
        problems.append("It has no steps: list them in `steps`.")
    if not (isinstance(context_type, type) and issubclass(context_type, SagaContext)):
        problems.append("Its context is not said: derive from Saga[YourContext], and YourContext from SagaContext.")
    if problems:
        raise InvalidSaga(cls, problems)
    steps = tuple(_step_of(given) for given in cls.steps)
    definition = _definitions[cls] = Definition(
        saga=cls,
        name=name_given(cls),
        context_type=context_type,
        steps=steps,
        kinds=tuple(step.kind for step in steps),
        fingerprint=_fingerprint(steps),
        retired=tuple(map(_step_of, cls.retired_steps)),
    )
    return definition


#: By class; classes are not made while a program runs.
_definitions: dict[type, Definition] = {}


def name_given(saga: type[Saga[Any]]) -> str:
    """Tell what stored sagas know the class by."""
    return vars(saga).get("name") or saga.__name__


def context_of(saga: type, *, must_resolve: bool = False) -> Any:  # noqa: ANN401 - what a program wrote
    """
    Tell the class of a saga's context; ``MISSING`` if that was not said, or cannot be told yet.

    Raises:
        UnresolvedAnnotation: It is a forward reference that its module does not define, and *must_resolve*.
    """
    return _argument(saga, Saga, must_resolve=must_resolve)


def _argument(cls: type, base: type, *, must_resolve: bool = False) -> Any:  # noqa: ANN401 - as above
    try:
        found = type_argument(cls, base)
    except UnresolvedAnnotation:
        if must_resolve:
            raise
        return MISSING
    return MISSING if isinstance(found, TypeVar) else found


def _step_of(given: Any) -> StepDefinition:  # noqa: ANN401 - a class, a Step or a Fallback
    if isinstance(given, Fallback):
        primary = _side(given.primary, Branch.PRIMARY)
        return StepDefinition(
            id_of(given), _option(given.primary, "kind"), primary, _side(given.fallback, Branch.FALLBACK), given
        )
    return StepDefinition(id_of(given), _option(given, "kind"), _side(given, Branch.PRIMARY))


def _side(given: Any, branch: Branch) -> Side:  # noqa: ANN401 - a class or a Step
    return Side(
        handler=handler_of(given),
        branch=branch,
        timeout_s=_option(given, "timeout_s"),
        retry=_option(given, "retry"),
        compensation_retry=_option(given, "compensation_retry"),
        in_doubt_on=_option(given, "in_doubt_on"),
        is_transactional=_option(given, "transactional"),
    )


def handler_of(given: Any) -> Any:  # noqa: ANN401 - as above
    """Give the handler class of what stands for one."""
    return given.handler if isinstance(given, Step) else given


def id_of(given: Any) -> str:  # noqa: ANN401 - as above
    """Give the id of a step: what was said, or the name of its class."""
    if isinstance(given, Fallback):
        return id_of(given.primary)
    step_id = _option(given, "step_id") or getattr(handler_of(given), "__name__", "")
    return step_id if isinstance(step_id, str) else ""


def _option(given: Any, name: str) -> Any:  # noqa: ANN401 - as above
    if isinstance(given, Step) and name in given.options:
        return given.options[name]
    return getattr(handler_of(given), name, None)


def _fingerprint(steps: Sequence[StepDefinition]) -> str:
    import hashlib  # noqa: PLC0415 - only who has sagas needs it

    shape = "\n".join(f"{step.id}\t{step.kind}\t{len(step.sides)}" for step in steps)
    return hashlib.sha256(shape.encode()).hexdigest()[:16]


# What can be wrong with a class --------------------------------------------------------------------------------------


def _problems(saga: type[Saga[Any]], context_type: Any) -> Iterator[str]:  # noqa: ANN401 - as above
    for listed in ("steps", "retired_steps"):
        if not isinstance(getattr(saga, listed), (list, tuple)):
            yield f"Its {listed} are no list."
            return
    ids: dict[str, int] = {}
    for given in (*saga.steps, *saga.retired_steps):
        found = [fault for side in _sides(given) for fault in _side_problems(side, context_type)]
        if isinstance(given, Fallback):
            found += [str(error) for error in Policies(rules=given).problems()]
        yield from found
        if not found:
            ids[id_of(given)] = ids.get(id_of(given), 0) + 1
    for step_id, count in ids.items():
        if count > 1:
            yield f"{count} steps have the id {step_id!r}: tell them apart by Step(Handler, id=...)."
    yield from _alias_problems(saga.aliases, ids)
    yield from _order_problems(saga.steps)


def _alias_problems(aliases: Any, ids: Container[str]) -> Iterator[str]:  # noqa: ANN401 - as above
    if not isinstance(aliases, Mapping) or not all(isinstance(text, str) for pair in aliases.items() for text in pair):
        yield "Its aliases are no dict of new ids by old ones."
        return
    for old, new in aliases.items():
        if new not in ids:
            yield f"Its alias {old!r} leads to {new!r}, which is no step of it."
        if old in ids:
            yield f"Its alias {old!r} is the id of a step that it has."


def _sides(given: Any) -> tuple[Any, ...]:  # noqa: ANN401 - as above
    return (given.primary, given.fallback) if isinstance(given, Fallback) else (given,)


def _side_problems(given: Any, context_type: Any) -> Iterator[str]:  # noqa: ANN401 - as above
    handler = handler_of(given)
    if not (isinstance(handler, type) and get_origin(handler) is None and issubclass(handler, SagaStepHandler)):
        yield f"{name_of(handler)} is no step: list classes that derive from SagaStepHandler, Step or Fallback."
        return
    name = name_of(handler)
    if inspect.isabstract(handler):
        missing = ", ".join(sorted(getattr(handler, "__abstractmethods__", ())))
        yield f"{name} does not define {missing}."
    for method in ("act", "compensate"):
        if not inspect.iscoroutinefunction(inspect.unwrap(getattr(handler, method))):
            yield f"{name}.{method} must be an `async def`."
    declared = _argument(handler, SagaStepHandler)
    if MISSING not in (declared, context_type) and not _takes(declared, context_type):
        yield f"{name} works on {name_of(declared)}, and the saga on {name_of(context_type)}."
    yield from _option_problems(given, name)


def _takes(declared: Any, context_type: Any) -> bool:  # noqa: ANN401 - as above
    if not (isinstance(declared, type) and isinstance(context_type, type)):
        return bool(declared == context_type)
    return issubclass(context_type, declared)


def _option_problems(given: Any, name: str) -> Iterator[str]:  # noqa: ANN401 - as above
    step_id = _option(given, "step_id")
    if not isinstance(step_id, str) or len(step_id) > _LONGEST_ID:
        yield f"{name} has the step_id {step_id!r}: it must be a text of at most {_LONGEST_ID} characters."
    if not isinstance(_option(given, "kind"), StepKind):
        yield f"{name} has the kind {_option(given, 'kind')!r}: it must be a StepKind."
    for retry in ("retry", "compensation_retry"):
        policies = Policies(_option(given, retry), _option(given, "timeout_s") if retry == "retry" else None)
        yield from (f"{name}: {error}" for error in policies.problems())
    classes = _option(given, "in_doubt_on")
    if not isinstance(classes, tuple) or not all(isinstance(c, type) and issubclass(c, Exception) for c in classes):
        yield f"{name} has in_doubt_on {classes!r}: it must be a tuple of classes of exceptions."


def _order_problems(steps: Sequence[Any]) -> Iterator[str]:
    last: str | None = None
    for given in steps:
        kinds = [_option(side, "kind") for side in _sides(given)]
        name = name_of(handler_of(_sides(given)[0]))
        if len(set(kinds)) > 1:
            yield f"{name} and its fallback are of different kinds: {kinds[0]} and {kinds[1]}."
        if last is not None and kinds[0] is not StepKind.RETRIABLE:
            yield f"{name} stands behind {last}, after which there is no way back: only retriable steps can."
        if kinds[0] in (StepKind.PIVOT, StepKind.RETRIABLE):
            last = name


def _listed(ids: Sequence[str]) -> str:
    return ", ".join(ids) or "nothing"


#: What fits into a column, and into a log line.
_LONGEST_ID = 200
