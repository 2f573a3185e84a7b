"""Which handler, or chain of handlers, answers which request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, get_origin

from cqrs_core.errors import CqrsError, MapFrozen
from cqrs_core.handlers import CORRequestHandler, RequestHandler, StreamingRequestHandler
from cqrs_core.maps.bindings import RequestBinding, declared_messages, handler_classes, target_of
from cqrs_core.maps.checks import request_problems
from cqrs_core.resilience.policies import HandlerFallback, Policies

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from cqrs_core.messages import Request
    from cqrs_core.pipeline import RequestMiddleware, StreamMiddleware
    from cqrs_core.resilience import RequestHandlerFallback, RetryPolicy

Q = TypeVar("Q", bound="Request[Any]")

_REQUEST_KINDS = (RequestHandler, StreamingRequestHandler, CORRequestHandler)


class RequestMap:
    """Binds each request to its handler, or to the chain of handlers that are tried in turn."""

    def __init__(self) -> None:
        self._bindings: list[RequestBinding] = []
        self._problems: list[CqrsError] = []
        self._is_frozen = False

    def bind(
        self,
        request: type[Q],
        handler: type[RequestHandler[Q, Any] | StreamingRequestHandler[Q, Any]]
        | Sequence[type[CORRequestHandler[Q, Any]]]
        | RequestHandlerFallback,
        *,
        middlewares: Iterable[RequestMiddleware | StreamMiddleware] = (),
        retry: RetryPolicy | None = None,
        timeout_s: float | None = None,
    ) -> None:
        """
        Bind *request* to *handler*. What is wrong with it is reported when the mediator is built, with all the rest.

        Args:
            request: A class of requests; only instances of exactly this class are served.
            handler: One handler class; or a list of ``CORRequestHandler`` classes, tried in this order; or a
                ``RequestHandlerFallback`` of two such.
            middlewares: For this request only, outermost first, inside those that wrap all requests. They run once for
                each ``send``, however many attempts there are.
            retry: When an attempt that failed is repeated, with a new handler in a new scope; never because of handlers
                of its events. A stream begins anew only as long as it has handed out nothing.
            timeout_s: Seconds that the handler has for one attempt, more than 0; a stream, for each item.

        Raises:
            MapFrozen: A mediator has been built from this map.
        """
        if self._is_frozen:
            raise MapFrozen(type(self).__name__, request)
        rules = handler if isinstance(handler, HandlerFallback) else None
        primary = target_of(handler if rules is None else rules.primary)
        fallback = None if rules is None else target_of(rules.fallback)
        request_type = get_origin(request) or request  # Page[User]() is an instance of Page
        policies = Policies(retry, timeout_s, rules)
        self._bindings.append(RequestBinding(request_type, primary, fallback, policies, tuple(middlewares or ())))

    def add(
        self,
        handler: type[RequestHandler[Any, Any] | StreamingRequestHandler[Any, Any]],
        *,
        middlewares: Iterable[RequestMiddleware | StreamMiddleware] = (),
        retry: RetryPolicy | None = None,
        timeout_s: float | None = None,
    ) -> None:
        """Bind *handler* to the request, or each of the union, that its type parameter names; else as :meth:`bind`."""
        for request in declared_messages(handler, _REQUEST_KINDS, self._problems):
            self.bind(request, handler, middlewares=middlewares, retry=retry, timeout_s=timeout_s)

    def freeze(self) -> None:
        """Refuse changes from now on."""
        self._is_frozen = True

    def problems(self) -> list[CqrsError]:
        """Tell everything that is wrong with the bindings: errors, none of them raised."""
        return [*self._problems, *request_problems(self._bindings)]

    def handlers(self) -> list[type]:
        """List the handler classes that were bound, each once; what is none is left to :meth:`problems`."""
        targets = (target for binding in self._bindings for target in binding.targets)
        return handler_classes(handler for target in targets for handler in target.handlers)

    def __iter__(self) -> Iterator[RequestBinding]:
        """Iterate over the bindings, in the order in which they were made."""
        return iter(tuple(self._bindings))

    def __len__(self) -> int:
        """Count the bindings."""
        return len(self._bindings)
