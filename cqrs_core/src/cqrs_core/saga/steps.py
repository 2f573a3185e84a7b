"""What sagas are written with: contexts, step handlers, and what is said about a step where it stands in a saga."""

from __future__ import annotations

import abc
from dataclasses import Field, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from cqrs_core.handlers import EventSource
from cqrs_core.messages import Message
from cqrs_core.resilience import HandlerFallback, RetryPolicy
from cqrs_core.saga.current import running_step
from cqrs_core.saga.plan import StepKind

if TYPE_CHECKING:
    import uuid
    from collections.abc import Mapping, Sequence

    from typing_extensions import Self, dataclass_transform

    from cqrs_core.breaker import CircuitBreaker
else:
    from cqrs_core.messages import dataclass_transform


@dataclass_transform(field_specifiers=(field, Field))
class SagaContext(Message):
    """
    What the steps of a saga know, and tell each other: a dataclass, decorated or not.

    It is kept as JSON with every step that is done, so that whoever goes on with the saga finds it. Steps change it;
    what a step that fails has changed is undone.
    """

    def model_dump(self) -> dict[str, Any]:
        """As :meth:`to_dict`, for programs of python-cqrs."""
        return self.to_dict()

    @classmethod
    def from_dict(cls, data: Mapping[str, Any] | None = None, /, **fields: Any) -> Self:  # noqa: ANN401 - as in Message
        """Make a context of what ``to_dict`` gave, as one dict or as named arguments."""
        return super().from_dict(**{**(data or {}), **fields})


Ctx = TypeVar("Ctx", bound=SagaContext)
Resp = TypeVar("Resp", covariant=True)


@dataclass(frozen=True)
class SagaStepResult(Generic[Ctx, Resp]):
    """
    What a step has brought, handed out when it is durable.

    Attributes:
        response: What the step answers.
        step_type: The class of the handler that did it: of a step with a fallback, the one that succeeded.
        with_error: For steps that want to tell of an error and go on; nothing is undone because of it.
        error_message: As the step gave it; so are the others.
        saga_id: Which saga.
    """

    response: Resp
    step_type: type[SagaStepHandler[Ctx, Resp]]
    with_error: bool = False
    error_message: str | None = None
    error_traceback: list[str] | None = None
    error_type: type[Exception] | None = None
    saga_id: uuid.UUID | None = None

    def __init__(  # noqa: PLR0917 - as below
        self,
        response: Resp,
        step_type: type[SagaStepHandler[Ctx, Resp]],
        with_error: bool = False,  # noqa: FBT001, FBT002 - a dataclass of python-cqrs, whose fields have an order
        error_message: str | None = None,
        error_traceback: list[str] | None = None,
        error_type: type[Exception] | None = None,
        saga_id: uuid.UUID | None = None,
    ) -> None:
        # One is made for every step: what is frozen stores field by field, which takes four times as long. What is as
        # the class has it need not be stored.
        fields = self.__dict__
        fields["response"] = response
        fields["step_type"] = step_type
        if saga_id is not None:
            fields["saga_id"] = saga_id
        if with_error or error_message or error_traceback or error_type:
            fields["with_error"] = with_error
            fields["error_message"] = error_message
            fields["error_traceback"] = error_traceback
            fields["error_type"] = error_type


class SagaStepHandler(EventSource, abc.ABC, Generic[Ctx, Resp]):
    """
    One step of a saga, and how it is undone.

    Both methods may be called more than once, as after a crash: ``current_step().idempotency_key`` is then the same.
    Events go to ``self.events``: those for this process are handled within the step, and notifications are sent if,
    and only if, the step is durable.

    Attributes:
        step_id: What the step is known by in stored sagas; the name of the class unless given.
        kind: Whether it can be undone (``COMPENSABLE``), is the point of no return (``PIVOT``), or stands behind that
            and has to succeed at last (``RETRIABLE``).
        timeout_s: Seconds for one attempt at acting, or at undoing; ``None``: no limit. An attempt that ran into it is
            in doubt.
        retry: When an attempt at acting is repeated, before the saga is undone; ``None``: never.
        compensation_retry: When an attempt at undoing is repeated, before the saga is suspended.
        in_doubt_on: Errors of ``act`` after which it may have taken effect, so that it is undone as well. Add those of
            your client library, such as ``httpx.TransportError``.
        transactional: Whether the unit of work of ``act`` and the record that the step is done are one transaction of
            the App's storage: then what it does there is done exactly once.
    """

    step_id: ClassVar[str] = ""
    kind: ClassVar[StepKind] = StepKind.COMPENSABLE
    timeout_s: ClassVar[float | None] = None
    retry: ClassVar[RetryPolicy | None] = None
    compensation_retry: ClassVar[RetryPolicy | None] = RetryPolicy(max_attempts=5)
    in_doubt_on: ClassVar[tuple[type[Exception], ...]] = (TimeoutError, ConnectionError)
    transactional: ClassVar[bool] = False

    @abc.abstractmethod
    async def act(self, context: Ctx) -> SagaStepResult[Ctx, Resp]:
        """
        Do the step, and return :meth:`result`.

        Raises:
            StepInDoubt: It may have taken effect. Any other error that is not in :attr:`in_doubt_on` says that it has
                not: then the steps before it are undone, and it is not.
        """

    async def compensate(self, context: Ctx) -> None:
        """
        Undo the step. It may find nothing to undo: a step that is in doubt is undone as well.

        What it changes in *context* is not kept.
        """

    def result(
        self,
        response: Resp = None,  # type: ignore[assignment, misc]  # None is for steps that answer nothing; and it is read
        *,
        with_error: bool = False,
        error_message: str | None = None,
        error_traceback: list[str] | None = None,
        error_type: type[Exception] | None = None,
    ) -> SagaStepResult[Ctx, Resp]:
        """Make what :meth:`act` returns."""
        step = running_step.get()
        saga_id = None if step is None else step.saga_id
        return SagaStepResult(response, type(self), with_error, error_message, error_traceback, error_type, saga_id)

    # What users of python-cqrs know it by.
    _generate_step_result = result


class Step:
    """
    A step handler with what is said about it in one saga only, such as when it stands there twice.

    Attributes:
        handler: Its class.
        options: What differs from the class, by the names of its attributes.
    """

    def __init__(
        self,
        handler: type[SagaStepHandler[Any, Any]],
        *,
        id: str | None = None,  # noqa: A002 - what it is
        kind: StepKind | None = None,
        timeout_s: float | None = None,
        retry: RetryPolicy | None = None,
        compensation_retry: RetryPolicy | None = None,
        transactional: bool | None = None,
    ) -> None:
        """Take what is given in place of the attributes of *handler*; ``None``: the class decides."""
        self.handler = handler
        given = {
            "step_id": id,
            "kind": kind,
            "timeout_s": timeout_s,
            "retry": retry,
            "compensation_retry": compensation_retry,
            "transactional": transactional,
        }
        self.options = {name: value for name, value in given.items() if value is not None}


class Fallback(HandlerFallback):
    """
    A step, and another one that is done in its place when it fails.

    Which of the two was begun is recorded, and recovery follows the record. If the first may have taken effect, it is
    undone before the second begins.
    """

    def __init__(
        self,
        step: type[SagaStepHandler[Any, Any]] | Step,
        fallback: type[SagaStepHandler[Any, Any]] | Step,
        failure_exceptions: Sequence[type[Exception]] = (),
        circuit_breaker: CircuitBreaker | str | None = None,
    ) -> None:
        """
        Put the two together.

        Args:
            step: What is done first, as long as its circuit is closed. The whole is known by its id.
            fallback: What is done if that fails.
            failure_exceptions: Errors of *step* for which it is; empty: any. A circuit that is open is always one.
            circuit_breaker: Spares *step* while it keeps failing.
        """
        super().__init__(step, fallback, failure_exceptions, circuit_breaker)
