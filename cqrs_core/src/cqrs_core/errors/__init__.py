"""Every error that the core raises on purpose: what happened, to what, and what to do."""

from __future__ import annotations

from cqrs_core.errors.base import CqrsError, ExtraMissing, InvalidOption, name_of
from cqrs_core.errors.declaring import InvalidMessageClass, UnresolvedAnnotation
from cqrs_core.errors.handling import (
    AppNotStarted,
    AppStarted,
    EventCascadeTooDeep,
    EventHandlersFailed,
    HandlerNotFound,
    NoEventLoop,
    NoPublisher,
)
from cqrs_core.errors.injecting import (
    CaptiveDependency,
    DependencyCycle,
    MissingDependency,
    NotAContainer,
    NotProvided,
    OverrideTooLate,
    ScopeRequired,
    ScopeValueMissing,
    UnknownScopeValue,
)
from cqrs_core.errors.wiring import (
    DuplicateHandler,
    EmptyChain,
    HandlerIncomplete,
    HandlerNotAsync,
    MapFrozen,
    MiddlewareUnusable,
    NotAChain,
    NotAHandler,
    NotAMessage,
    UndeclaredMessage,
    WiringError,
    WrongHandler,
    WrongResponse,
)

__all__ = [
    "AppNotStarted",
    "AppStarted",
    "CaptiveDependency",
    "CqrsError",
    "DependencyCycle",
    "DuplicateHandler",
    "EmptyChain",
    "EventCascadeTooDeep",
    "EventHandlersFailed",
    "ExtraMissing",
    "HandlerIncomplete",
    "HandlerNotAsync",
    "HandlerNotFound",
    "InvalidMessageClass",
    "InvalidOption",
    "MapFrozen",
    "MiddlewareUnusable",
    "MissingDependency",
    "NoEventLoop",
    "NoPublisher",
    "NotAChain",
    "NotAContainer",
    "NotAHandler",
    "NotAMessage",
    "NotProvided",
    "OverrideTooLate",
    "ScopeRequired",
    "ScopeValueMissing",
    "UndeclaredMessage",
    "UnknownScopeValue",
    "UnresolvedAnnotation",
    "WiringError",
    "WrongHandler",
    "WrongResponse",
    "name_of",
]
