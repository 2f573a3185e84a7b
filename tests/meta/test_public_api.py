"""The names that users may rely on: a change here is a decision, shown in review."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import subprocess
import sys

import pytest

import cqrs_core

#: Everything that `import cqrs_core as cqrs` promises. A new name needs a reason; one that goes needs a major version.
NAMES = """
App BatchFailed Broker CORRequestHandler CircuitBreaker CircuitOpen CoRMermaid Container CqrsError CurrentMessage
DCDomainEvent DCEvent DCNotificationEvent DCRequest DCResponse DomainEvent Envelope Event EventBatchHandler
EventEmitter EventHandler EventHandlerFallback EventHandlersFailed EventMap EventMediator EventMiddleware EventProducer
Fallback HandlerNotFound IDomainEvent IEvent INotificationEvent IRequest IResponse LocalCircuitBreaker
LoggingMiddleware MemoryBroker MemorySagaStorage MemoryStorage NotificationEvent OutboxedEventRepository Publisher
PydanticRequest PydanticResponse RelayOptions Request RequestHandler RequestHandlerFallback RequestMap RequestMediator
RequestMiddleware Response RetryPolicy Saga SagaAdministration SagaContext SagaMap SagaMediator SagaMermaid SagaOptions
SagaRecoveryWorker SagaStatus SagaStepHandler SagaStepResult SimpleContainer Step StepKind Storage StreamMiddleware
StreamingRequestHandler StreamingRequestMediator WiringError bootstrap current_message current_messages current_step
errors hookimpl recover_saga
"""

ERRORS = """
AppNotStarted AppStarted BatchFailed BrokerNotStarted BrokerUnavailable CaptiveDependency CircuitNotUnique CircuitOpen
CommitInDoubt ConflictingBindings ContainerWithoutScopes CqrsError DependencyCycle DuplicateHandler EmptyChain
EventCascadeTooDeep EventHandlersFailed ExtraMissing HandlerIncomplete HandlerNotAsync HandlerNotFound HandlerTimedOut
InvalidMessageClass InvalidOption InvalidSaga MapFrozen MessageRefused MiddlewareUnusable MissingDependency NoEventLoop
NoPublisher NotAChain NotAContainer NotAHandler NotAMessage NotInStep NotProvided NotProvidedByContainer NotReadable
OutcomeUnknown OverrideTooLate ProvidedTwice PublishedAndConsumed RelayRefused SagaAbandoned SagaAlreadyExists
SagaChanged SagaFailed SagaFenced SagaNotBound SagaNotClaimable SagaNotFound SagaStorageUnavailable SagaSuspended
SagaUnrunnable SagasNotKept ScopeRequired ScopeValueMissing StepInDoubt StorageUnavailable StorageUnusable
StrayCancellation StreamInsideUnit SubscriptionClosed TaskGroupClosed UndeclaredMessage UnhandledEvent UnitOfWorkOver
UnitOfWorkRolledBack UnitOfWorkShared UnknownEventName UnknownScopeValue UnpublishableEnvelope UnpublishableEvent
UnreadableEventClass UnreadableMessage UnresolvedAnnotation WiringError WrongHandler WrongResponse WrongStepResult
"""

#: Parameters are promises too: those that users write by name, in order.
SIGNATURES = {
    "App": "name broker storage relay observer sagas container middlewares event_middlewares "
    "max_concurrent_event_handlers max_event_depth event_errors polymorphic max_concurrent_messages stop_deadline_s "
    "clock",
    "App.publishes": "self topic names key",
    "App.consume": "self topic names group order retry retry_topic_delays_s on_unknown dead_letter_topic on_dead "
    "batch_handler max_batch_size max_body_bytes",
    "App.running": "self only",
    "App.send": "self request",
    "App.stream": "self request",
    "App.publish": "self event",
    "App.stream_saga": "self context saga_id saga",
    "App.start_saga": "self context saga_id saga",
    "RequestMediator.send": "self request",
    "StreamingRequestMediator.stream": "self request",
    "EventMediator.send": "self event message_id group",
    "RequestMap.bind": "self request handler middlewares retry timeout_s",
    "RequestMap.add": "self handler middlewares retry timeout_s",
    "EventMap.bind": "self event handler middlewares retry timeout_s",
    "EventMap.add": "self handler middlewares retry timeout_s",
    "SimpleContainer.singleton": "self provided factory",
    "SimpleContainer.scoped": "self provided factory",
    "SimpleContainer.transient": "self provided factory",
    "SimpleContainer.instance": "self provided value",
    "SimpleContainer.from_scope": "self provided",
    "SimpleContainer.override": "self provided value",
    "SimpleContainer.scope": "self values",
    "Envelope": "topic body key headers",
    "RetryPolicy": "max_attempts delay_s backoff max_delay_s jitter retry_on give_up_on",
    "RequestHandlerFallback": "primary fallback failure_exceptions circuit_breaker",
    "EventHandlerFallback": "primary fallback failure_exceptions circuit_breaker",
    "LocalCircuitBreaker": "fail_max open_for_s exclude clock",
    "CircuitBreaker.acquire": "self circuit",
    "MemoryBroker": "partitions max_waiting max_message_bytes max_kept",
    "EventProducer": "message_broker repository options clock",
    "EventProducer.event_batch_generator": "self batch_size",
    "EventProducer.send_message": "self message",
    "Broker.start": "self",
    "Broker.stop": "self",
    "Broker.send": "self envelope",
    "Broker.send_many": "self envelopes",
    "Broker.subscribe": "self topics group on_revoked",
    "MemoryStorage": "max_message_bytes clock",
    "OutboxedEventRepository.add": "self event",
    "OutboxedEventRepository.commit": "self",
    "OutboxedEventRepository.rollback": "self",
    "RelayOptions": "batch_size retry on_dead lease_ttl_s shortest_poll_s longest_poll_s drain_deadline_s "
    "observe_every_s",
    "Storage.start": "self",
    "Storage.stop": "self",
    "Storage.unit_of_work": "self taken",
    "SagaMap.bind": "self context saga",
    "SagaMediator.stream": "self context saga_id saga",
    "SagaMediator.start": "self context saga_id saga",
    "SagaMediator.recover": "self saga_id saga",
    "SagaOptions": "lease_s poll_s max_concurrent max_claims orphans_after_s",
    "SagaStepHandler.act": "self context",
    "SagaStepHandler.compensate": "self context",
    "SagaStepHandler.result": "self response with_error error_message error_traceback error_type",
    "SagaStepResult": "response step_type with_error error_message error_traceback error_type saga_id",
    "Step": "handler id kind timeout_s retry compensation_retry transactional",
    "Fallback": "step fallback failure_exceptions circuit_breaker",
    "MemorySagaStorage": "max_finished clock outbox",
    "recover_saga": "saga saga_id context_builder container storage event_emitter",
    "NotificationEvent": "event_name topic payload key headers event_id event_timestamp",
}


def test_the_everyday_names_are_these() -> None:
    """``__all__`` is the promise, in alphabetical order, and each name can be had."""
    assert NAMES.split() == sorted(cqrs_core.__all__)
    assert all(hasattr(cqrs_core, name) for name in cqrs_core.__all__)


def test_the_errors_are_these() -> None:
    """One for each thing that a caller can do something about."""
    public = set(cqrs_core.errors.__all__)

    assert set(ERRORS.split()) == {name for name in public if name[0].isupper()}


@pytest.mark.parametrize("path", SIGNATURES)
def test_parameters_keep_their_names(path: str) -> None:
    """Who calls by name is not broken by a rename."""
    thing: object = cqrs_core
    for name in path.split("."):
        thing = getattr(thing, name)

    assert SIGNATURES[path].split() == list(inspect.signature(thing).parameters)  # type: ignore[arg-type]  # callables


def test_an_unknown_name_is_an_attribute_error() -> None:
    """Names that are imported on demand do not make every name good."""
    with pytest.raises(AttributeError, match="module 'cqrs_core' has no attribute 'Mediatr'"):
        _ = cqrs_core.Mediatr


@pytest.mark.parametrize(
    "module",
    [
        module.name
        for module in pkgutil.walk_packages(cqrs_core.__path__, "cqrs_core.")
        if "integrations" not in module.name
    ],
)
def test_every_public_thing_of_every_module_is_documented(module: str) -> None:
    """Classes and functions, and the modules themselves."""
    loaded = importlib.import_module(module)
    things = [
        thing
        for name, thing in vars(loaded).items()
        if not name.startswith("_") and getattr(thing, "__module__", None) == module
    ]

    assert loaded.__doc__
    assert [] == [thing for thing in things if callable(thing) and not thing.__doc__]


EFFECTS = """
import logging, os, sys, warnings
environment, level = dict(os.environ), logging.getLogger().level
import cqrs_core
loggers = [name for name, logger in logging.Logger.manager.loggerDict.items()
           if isinstance(logger, logging.Logger) and (logger.level or logger.handlers)]
print([dict(os.environ) == environment, logging.getLogger().level == level, loggers])
"""


def test_importing_has_no_effects() -> None:
    """DESIGN 3: no environment read or written, no log level set, no handler added."""
    ran = subprocess.run([sys.executable, "-I", "-c", EFFECTS], capture_output=True, text=True, check=True)

    assert "[True, True, []]" == ran.stdout.strip()


NOT_NEEDED = """
asyncio trio json importlib.metadata cqrs_core.diagrams cqrs_core.integrations cqrs_core.saga cqrs_core.serialization
"""


def test_a_first_send_imports_nothing_that_it_does_not_need() -> None:
    """DESIGN 8: what a first send does not need is not imported."""
    code = f"import sys, cqrs_core; print([name for name in {NOT_NEEDED.split()} if name in sys.modules])"
    ran = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)

    assert "[]" == ran.stdout.strip()
