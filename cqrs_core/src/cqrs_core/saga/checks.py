"""What can be wrong with a saga as it is written: everything, one sentence each, so that all is told at once."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, get_origin

from cqrs_core.envelope import is_text
from cqrs_core.errors import name_of
from cqrs_core.resilience import Policies
from cqrs_core.saga.listed_steps import argument_of, handler_of, id_of, option_of, sides_of
from cqrs_core.saga.plan import StepKind
from cqrs_core.saga.steps import Fallback, SagaStepHandler
from cqrs_core.type_arguments import MISSING

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence


def saga_problems(saga: Any, context_type: Any) -> Iterator[str]:  # noqa: ANN401 - a class of sagas; what a program wrote
    """Tell everything that is wrong with a class, but for what is not known before it is used."""
    for listed in ("steps", "retired_steps"):
        if not isinstance(getattr(saga, listed), (list, tuple)):
            yield f"Its {listed} are no list."
            return
    if not _can_be_kept(saga.name):
        yield f"Its name is {saga.name!r}: it must be {_KEPT}."
    ids: dict[str, int] = {}
    for given in (*saga.steps, *saga.retired_steps):
        found = [fault for side in sides_of(given) for fault in _side_problems(side, context_type)]
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
    declared = argument_of(handler, SagaStepHandler)
    if MISSING not in (declared, context_type) and not _takes(declared, context_type):
        yield f"{name} works on {name_of(declared)}, and the saga on {name_of(context_type)}."
    yield from _option_problems(given, name)


def _takes(declared: Any, context_type: Any) -> bool:  # noqa: ANN401 - as above
    if not (isinstance(declared, type) and isinstance(context_type, type)):
        return bool(declared == context_type)
    return issubclass(context_type, declared)


def _option_problems(given: Any, name: str) -> Iterator[str]:  # noqa: ANN401 - as above
    step_id = option_of(given, "step_id")
    if not _can_be_kept(step_id):
        yield f"{name} has the step_id {step_id!r}: it must be {_KEPT}."
    if not isinstance(option_of(given, "kind"), StepKind):
        yield f"{name} has the kind {option_of(given, 'kind')!r}: it must be a StepKind."
    for retry in ("retry", "compensation_retry"):
        policies = Policies(option_of(given, retry), option_of(given, "timeout_s") if retry == "retry" else None)
        yield from (f"{name}: {error}" for error in policies.problems())
    classes = option_of(given, "in_doubt_on")
    if not isinstance(classes, tuple) or not all(isinstance(c, type) and issubclass(c, Exception) for c in classes):
        yield f"{name} has in_doubt_on {classes!r}: it must be a tuple of classes of exceptions."


def _order_problems(steps: Sequence[Any]) -> Iterator[str]:
    last: str | None = None
    for given in steps:
        kinds = [option_of(side, "kind") for side in sides_of(given)]
        name = name_of(handler_of(sides_of(given)[0]))
        if len(set(kinds)) > 1:
            yield f"{name} and its fallback are of different kinds: {kinds[0]} and {kinds[1]}."
        if last is not None and kinds[0] is not StepKind.RETRIABLE:
            yield f"{name} stands behind {last}, after which there is no way back: only retriable steps can."
        if kinds[0] in (StepKind.PIVOT, StepKind.RETRIABLE):
            last = name


#: What fits into a column, and into a log line; and what every database can keep.
_LONGEST_ID = 200
_KEPT = f"a text of at most {_LONGEST_ID} characters, without NUL and surrogates"


def _can_be_kept(text: object) -> bool:
    return isinstance(text, str) and len(text) <= _LONGEST_ID and "\0" not in text and is_text(text)
