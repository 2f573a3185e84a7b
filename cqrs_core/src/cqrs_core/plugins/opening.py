"""Makes the backend that a program names, and checks that it is one."""

from __future__ import annotations

import importlib
from operator import attrgetter
from typing import TYPE_CHECKING, Literal, overload

from cqrs_core.breaker import missing_breaker_methods
from cqrs_core.broker import missing_methods
from cqrs_core.errors import CqrsError
from cqrs_core.observer import missing_observer_methods
from cqrs_core.plugins.errors import BackendIncomplete, BackendLoadError
from cqrs_core.plugins.lookup import find
from cqrs_core.plugins.options import Options
from cqrs_core.plugins.specs import parse
from cqrs_core.storage import missing_storage_methods

if TYPE_CHECKING:
    from collections.abc import Callable

    from cqrs_core.breaker import CircuitBreaker
    from cqrs_core.broker import Broker
    from cqrs_core.observer import Observer
    from cqrs_core.plugins.backends import Kind
    from cqrs_core.plugins.facts import Offer
    from cqrs_core.plugins.specs import Spec
    from cqrs_core.storage import Storage

#: Tell what an object lacks of its kind. Kinds whose contract does not exist yet are not checked.
_MISSING = {
    "broker": missing_methods,
    "circuit_breaker": missing_breaker_methods,
    "observer": missing_observer_methods,
    "storage": missing_storage_methods,
}


@overload
def open_backend(kind: Literal["broker"], spec: str) -> Broker: ...


@overload
def open_backend(kind: Literal["circuit_breaker"], spec: str) -> CircuitBreaker: ...


@overload
def open_backend(kind: Literal["observer"], spec: str) -> Observer: ...


@overload
def open_backend(kind: Literal["storage"], spec: str) -> Storage: ...


@overload
def open_backend(kind: Kind, spec: str) -> object: ...


def open_backend(kind: Kind, spec: str) -> object:
    """
    Make a backend from its name or URL. Starting it is the caller's part.

    Args:
        kind: What it is for.
        spec: A name (``"memory"``); a name of one distribution (``"acme-nats:nats"``); or a URL, whose scheme chooses
            the backend, and whose query holds its options (``"nats://host:4222?client_id=shop"``).

    Raises:
        InvalidBackendSpec: *spec* is none of these.
        BackendNotFound: Nothing that is installed, and works, offers it.
        BackendAmbiguous: Several plug-ins offer it.
        WrongBackendKind: It is of another kind.
        PluggyMissing: Plug-ins are installed that cannot be loaded.
        InvalidBackendOption: The query does not fit the backend.
        BackendLoadError: The code of the backend failed.
        BackendIncomplete: What it made lacks methods of its kind.
        CqrsError: Whatever the backend itself raises of these, such as :class:`BackendNotBuilt`.
    """
    wanted = parse(kind, spec)
    offer = find(wanted)
    try:
        factory = _load(offer)
        made = factory(wanted.address, **Options(offer, factory).read(wanted.query))
    except Exception as error:
        if isinstance(error, CqrsError) and not wanted.is_quoted_in(str(error)):
            raise
        failed = _load_error(offer, wanted, error)
        raise failed from failed.__cause__
    missing = _MISSING[kind](made) if kind in _MISSING else []
    if missing:
        raise BackendIncomplete(offer, made, missing)
    return made


def _load_error(offer: Offer, wanted: Spec, error: Exception) -> BackendLoadError:
    command = f"pip install --upgrade {offer.plugin.distribution}"
    text = str(error) if isinstance(error, ImportError) else wanted.without_secrets(str(error))
    # The traceback of the cause would show what was taken out of its text.
    is_secret = text != str(error)
    if isinstance(error, ModuleNotFoundError):
        cure = f"Install what it needs: {command}."
    elif is_secret:
        cure = f"Its traceback is left out, for it holds the password of the URL. Upgrade it, if need be: {command}."
    else:
        cure = f"Look at the cause, above; or upgrade: {command}."
    failed = BackendLoadError(offer, f"{type(error).__name__}: {text}".rstrip(".") + ".", cure)
    failed.__cause__ = None if is_secret else error
    return failed


def _load(offer: Offer) -> Callable[..., object]:
    module, _, path = offer.backend.factory.partition(":")
    factory: Callable[..., object] = attrgetter(path)(importlib.import_module(module))
    return factory
