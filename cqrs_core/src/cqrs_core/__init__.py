"""
Commands, queries and events for Python: the in-process core, on the standard library alone.

General layout, in the order in which a message travels; each module imports only from those behind it:

* ``app`` and ``bootstrap`` put everything together; ``wiring`` checks it, and knows how handlers are made.
* ``traffic`` is what an App exchanges with others: ``outgoing`` events through a ``broker`` (``memory`` is the one that
  is built in, ``plugins`` finds others), ``incoming`` ones from it through the ``consumer``.
* ``mediators`` take messages in, ``maps`` know their handlers, ``pipeline`` puts middlewares around ``attempts`` and
  ``streaming``, and ``resilience`` is what is done about those that fail.
* ``handlers`` are what users derive theirs from; ``emitter`` takes the events of those on.
* ``units`` give each attempt a transaction, where there is a ``storage``: what its handlers change, and the events that
  wait in its ``outbox``, are kept together; its ``inbox`` knows the messages that have come before.
* ``saga`` does steps that are all done in the end, or all undone.
* ``container`` and ``broker`` are contracts for what comes from outside; ``injection`` is the built-in container.
* ``messages`` are what travels, an ``envelope`` is what is around one on the way, ``context`` tells of the current one.
* ``errors`` are everything that can be raised.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cqrs_core import bootstrap, errors
from cqrs_core.app import App
from cqrs_core.breaker import CircuitBreaker, LocalCircuitBreaker
from cqrs_core.broker import Broker, Publisher
from cqrs_core.container import Container
from cqrs_core.emitter import EventEmitter
from cqrs_core.errors import BatchFailed, CircuitOpen, CqrsError, EventHandlersFailed, HandlerNotFound, WiringError
from cqrs_core.handlers import (
    CORRequestHandler,
    EventBatchHandler,
    EventHandler,
    RequestHandler,
    StreamingRequestHandler,
)
from cqrs_core.injection import SimpleContainer
from cqrs_core.maps import EventMap, RequestMap
from cqrs_core.mediators import EventMediator, RequestMediator, StreamingRequestMediator
from cqrs_core.messages import (
    DCDomainEvent,
    DCEvent,
    DCNotificationEvent,
    DCRequest,
    DCResponse,
    DomainEvent,
    Event,
    IDomainEvent,
    IEvent,
    INotificationEvent,
    IRequest,
    IResponse,
    NotificationEvent,
    Request,
    Response,
)
from cqrs_core.middlewares import LoggingMiddleware
from cqrs_core.pipeline import EventMiddleware, RequestMiddleware, StreamMiddleware
from cqrs_core.resilience import EventHandlerFallback, RequestHandlerFallback, RetryPolicy
from cqrs_core.storage import Storage

if TYPE_CHECKING:
    from cqrs_core.context import CurrentMessage, current_message, current_messages
    from cqrs_core.diagrams import CoRMermaid
    from cqrs_core.envelope import Envelope
    from cqrs_core.integrations.pydantic import PydanticRequest, PydanticResponse
    from cqrs_core.memory import MemoryBroker, MemorySagaStorage, MemoryStorage
    from cqrs_core.outbox import OutboxedEventRepository
    from cqrs_core.plugins import hookimpl
    from cqrs_core.producer import EventProducer
    from cqrs_core.relay import RelayOptions
    from cqrs_core.saga.administration import SagaAdministration
    from cqrs_core.saga.current import current_step
    from cqrs_core.saga.definition import Saga
    from cqrs_core.saga.log import SagaStatus
    from cqrs_core.saga.mediator import SagaMediator
    from cqrs_core.saga.options import SagaOptions
    from cqrs_core.saga.plan import StepKind
    from cqrs_core.saga.recovery import recover_saga
    from cqrs_core.saga.saga_map import SagaMap
    from cqrs_core.saga.steps import Fallback, SagaContext, SagaStepHandler, SagaStepResult, Step
    from cqrs_core.saga.worker import SagaRecoveryWorker
    from cqrs_core.saga_diagrams import SagaMermaid
else:

    def __getattr__(name: str) -> object:  # hidden from type checkers, which would believe any name
        """Import what most programs do not need when it is asked for."""
        import importlib  # noqa: PLC0415 - most programs do not need it either

        if name not in _ON_DEMAND:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module, needs = _ON_DEMAND[name]
        try:
            value = getattr(importlib.import_module(module), name)
        except ModuleNotFoundError as error:
            if error.name != needs:
                raise
            raise errors.ExtraMissing(name, needs) from error
        globals()[name] = value
        return value


#: Names that are imported at their first use: their module, and the package that it needs, if any.
_ON_DEMAND = {
    "CoRMermaid": ("cqrs_core.diagrams", None),
    "CurrentMessage": ("cqrs_core.context", None),
    "Envelope": ("cqrs_core.envelope", None),
    "EventProducer": ("cqrs_core.producer", None),
    "Fallback": ("cqrs_core.saga.steps", None),
    "MemoryBroker": ("cqrs_core.memory", None),
    "MemorySagaStorage": ("cqrs_core.memory", None),
    "MemoryStorage": ("cqrs_core.memory", None),
    "OutboxedEventRepository": ("cqrs_core.outbox", None),
    "PydanticRequest": ("cqrs_core.integrations.pydantic", "pydantic"),
    "PydanticResponse": ("cqrs_core.integrations.pydantic", "pydantic"),
    "RelayOptions": ("cqrs_core.relay", None),
    "Saga": ("cqrs_core.saga.definition", None),
    "SagaAdministration": ("cqrs_core.saga.administration", None),
    "SagaContext": ("cqrs_core.saga.steps", None),
    "SagaMap": ("cqrs_core.saga.saga_map", None),
    "SagaMediator": ("cqrs_core.saga.mediator", None),
    "SagaMermaid": ("cqrs_core.saga_diagrams", None),
    "SagaOptions": ("cqrs_core.saga.options", None),
    "SagaRecoveryWorker": ("cqrs_core.saga.worker", None),
    "SagaStatus": ("cqrs_core.saga.log", None),
    "SagaStepHandler": ("cqrs_core.saga.steps", None),
    "SagaStepResult": ("cqrs_core.saga.steps", None),
    "Step": ("cqrs_core.saga.steps", None),
    "StepKind": ("cqrs_core.saga.plan", None),
    "current_message": ("cqrs_core.context", None),
    "current_messages": ("cqrs_core.context", None),
    "current_step": ("cqrs_core.saga.current", None),
    "hookimpl": ("cqrs_core.plugins", None),
    "recover_saga": ("cqrs_core.saga.recovery", None),
}

__version__ = "0.1.0"

__all__ = [
    "App",
    "BatchFailed",
    "Broker",
    "CORRequestHandler",
    "CircuitBreaker",
    "CircuitOpen",
    "CoRMermaid",
    "Container",
    "CqrsError",
    "CurrentMessage",
    "DCDomainEvent",
    "DCEvent",
    "DCNotificationEvent",
    "DCRequest",
    "DCResponse",
    "DomainEvent",
    "Envelope",
    "Event",
    "EventBatchHandler",
    "EventEmitter",
    "EventHandler",
    "EventHandlerFallback",
    "EventHandlersFailed",
    "EventMap",
    "EventMediator",
    "EventMiddleware",
    "EventProducer",
    "Fallback",
    "HandlerNotFound",
    "IDomainEvent",
    "IEvent",
    "INotificationEvent",
    "IRequest",
    "IResponse",
    "LocalCircuitBreaker",
    "LoggingMiddleware",
    "MemoryBroker",
    "MemorySagaStorage",
    "MemoryStorage",
    "NotificationEvent",
    "OutboxedEventRepository",
    "Publisher",
    "PydanticRequest",
    "PydanticResponse",
    "RelayOptions",
    "Request",
    "RequestHandler",
    "RequestHandlerFallback",
    "RequestMap",
    "RequestMediator",
    "RequestMiddleware",
    "Response",
    "RetryPolicy",
    "Saga",
    "SagaAdministration",
    "SagaContext",
    "SagaMap",
    "SagaMediator",
    "SagaMermaid",
    "SagaOptions",
    "SagaRecoveryWorker",
    "SagaStatus",
    "SagaStepHandler",
    "SagaStepResult",
    "SimpleContainer",
    "Step",
    "StepKind",
    "Storage",
    "StreamMiddleware",
    "StreamingRequestHandler",
    "StreamingRequestMediator",
    "WiringError",
    "bootstrap",
    "current_message",
    "current_messages",
    "current_step",
    "errors",
    "hookimpl",
    "recover_saga",
]
