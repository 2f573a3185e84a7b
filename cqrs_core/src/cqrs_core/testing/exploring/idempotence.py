"""Whether a step can be done, and undone, more than once, as it is after a crash."""

from __future__ import annotations

import asyncio
import copy
import uuid
from typing import TYPE_CHECKING, Any

from cqrs_core.errors import name_of
from cqrs_core.saga.current import CurrentStep, running_step
from cqrs_core.saga.log import Branch, SagaAction
from cqrs_core.testing.exploring.stage import container_of
from cqrs_core.wiring import HandlerSource

if TYPE_CHECKING:
    from collections.abc import Callable

    from cqrs_core.saga.steps import Ctx, SagaContext, SagaStepHandler

_SAGA_ID = uuid.UUID(int=9)


def assert_idempotent(
    step: type[SagaStepHandler[Ctx, Any]],
    *,
    context: Callable[[], SagaContext],
    world: Callable[[], Any],
    observe: Callable[[Any], object],
) -> None:
    """
    Check that *step* does the same to the world when it is done, or undone, twice with the same key.

    And that it can be undone when it was never done, as after a crash before it began: once, and twice.

    Args:
        step: The class.
        context: Makes the context, anew for each play.
        world: Makes what the step works with, anew for each play: a container, or an object with a ``container``.
        observe: Tells the state of a world: something that can be compared.

    Raises:
        AssertionError: It does not.
        InvalidOption: *world* makes something that neither is a container nor has one.
        WiringError: The step needs what the world does not have.
        Exception: What the step itself raises, which it must not: not the second time either, nor undone before it was
            ever done.
    """

    def state_after(*calls: str) -> object:
        made = world()
        asyncio.run(_call(step, container_of(made), context(), calls))
        return observe(made)

    name = name_of(step)
    _compare(f"{name}.act, done twice,", state_after("act"), state_after("act", "act"))
    once = state_after("act", "compensate")
    _compare(f"{name}.compensate, done twice,", once, state_after("act", "compensate", "compensate"))
    _compare(f"{name}.compensate, after act was done twice,", once, state_after("act", "act", "compensate"))
    never = state_after("compensate")
    _compare(f"{name}.compensate, done twice without act,", never, state_after("compensate", "compensate"))


def _compare(what: str, once: object, again: object) -> None:
    if once != again:
        raise AssertionError(f"{what} leaves {again!r}, and done once {once!r}.")


async def _call(step: type, container: Any, context: Any, calls: tuple[str, ...]) -> None:  # noqa: ANN401 - of any program
    source = HandlerSource(container)
    problems = source.admit(step)
    if problems:
        raise problems[0]
    kept = context
    for call in calls:
        action = SagaAction(call)
        step_id = getattr(step, "step_id", "") or step.__name__
        token = running_step.set(CurrentStep(_SAGA_ID, step_id, Branch.PRIMARY, action, 1, 1))
        try:
            async with source.resolving() as resolve:
                handler = await resolve(step)
                # Each attempt at acting finds the context as it was before; undoing finds what acting has left.
                given = copy.deepcopy(context if action is SagaAction.ACT else kept)
                await getattr(handler, call)(given)
                kept = given if action is SagaAction.ACT else kept
        finally:
            running_step.reset(token)
