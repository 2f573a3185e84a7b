"""What a constructor or a factory asks for, read from its annotations."""

from __future__ import annotations

import functools
import inspect
import sys
import types
import typing
from collections import ChainMap
from typing import Any, NamedTuple, get_origin

from cqrs_core.errors import UnresolvedAnnotation
from cqrs_core.type_arguments import union_members

_NOTHING = inspect.Parameter.empty
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class Dependency(NamedTuple):
    """One parameter that somebody has to fill."""

    name: str
    #: The annotation without ``Annotated`` and ``| None``; ``None`` if there is none.
    wanted: Any
    #: What the callee does with when nothing is passed; ``inspect.Parameter.empty`` if it cannot do without.
    default: Any
    #: Whether ``None`` will do: the annotation says so.
    is_optional: bool
    #: Whether it cannot be given by name.
    is_positional: bool

    @property
    def has_default(self) -> bool:
        """Whether the callee can do without."""
        return self.default is not _NOTHING

    @property
    def fallback(self) -> Any:  # noqa: ANN401 - a default is of any type
        """What to pass when nobody provides it."""
        return self.default if self.has_default else None


def dependencies_of(factory: Any) -> tuple[Dependency, ...]:  # noqa: ANN401 - classes, functions, callable objects
    """
    Read what *factory* asks for, in the order of its parameters.

    ``*args`` and ``**kwargs`` ask for nothing, nor does what ``functools.partial`` has given already, nor a function
    written in C whose signature Python cannot tell.

    Raises:
        UnresolvedAnnotation: An annotation names what cannot be found at run time.
    """
    factory = get_origin(factory) or factory  # Repo[Order] is built by Repo
    called = _constructor(factory) if isinstance(factory, type) else factory
    if called is None:
        return ()
    try:
        parameters = list(inspect.signature(called).parameters.values())
    except ValueError:
        return ()
    if isinstance(factory, type):
        parameters = parameters[1:]  # self
    given = factory.keywords if isinstance(factory, functools.partial) else {}
    asked = [p for p in parameters if p.kind not in _VARIADIC and p.name not in given]
    return tuple(_dependency(parameter, factory) for parameter in asked)


def as_function(factory: Any) -> Any:  # noqa: ANN401 - as above
    """Give the method ``__call__`` of a callable object, which can say what kind of function it is; others as is."""
    is_object = not isinstance(factory, type) and get_origin(factory) is None
    is_written = isinstance(getattr(type(factory), "__call__", None), types.FunctionType)  # noqa: B004 - not whether
    return factory.__call__ if is_object and is_written else factory


def _constructor(cls: type) -> Any:  # noqa: ANN401 - None, or any kind of function
    """Find the one method that takes the arguments of *cls*; ``None`` if it takes none."""
    initialisers = (vars(base)["__init__"] for base in cls.__mro__ if "__init__" in vars(base))
    # typing gives protocols one that, when it is called, looks for the next as is done here.
    initialiser = next(found for found in initialisers if not getattr(found, "__name__", "").startswith("_no_init"))
    if initialiser is not object.__init__:
        return initialiser
    allocator = inspect.getattr_static(cls, "__new__")
    return None if allocator is object.__new__ else getattr(allocator, "__func__", allocator)


def _dependency(parameter: inspect.Parameter, factory: Any) -> Dependency:  # noqa: ANN401 - as above
    annotation = None if parameter.annotation is _NOTHING else parameter.annotation
    try:
        annotation = _evaluated(annotation, factory)
    except Exception as error:  # the program's own text may raise anything
        if parameter.default is _NOTHING:
            raise UnresolvedAnnotation(factory, str(parameter.annotation), error) from error
        annotation = None  # it may stay unknown: the default will do
    members = union_members(annotation)
    concrete = [member for member in members if member is not type(None)]
    return Dependency(
        name=parameter.name,
        wanted=concrete[0] if len(concrete) == 1 else annotation,
        default=parameter.default,
        is_optional=len(concrete) < len(members),
        is_positional=parameter.kind is parameter.POSITIONAL_ONLY,
    )


def _evaluated(annotation: Any, factory: Any) -> Any:  # noqa: ANN401 - as above
    """Evaluate one annotation alone, so that another that cannot be evaluated does not spoil it."""
    if annotation is None:
        return None
    holder: Any = types.SimpleNamespace(__annotations__={"wanted": annotation})
    names = _names(factory)
    return typing.get_type_hints(holder, dict(names.maps[0]), names)["wanted"]


def _names(factory: Any) -> ChainMap[str, Any]:  # noqa: ANN401 - as above
    """
    Tell what names mean where *factory* was written.

    The constructor of a dataclass is written where its class is, with annotations from where its bases are.
    """
    while isinstance(factory, functools.partial):
        factory = factory.func
    function = _constructor(factory) if isinstance(factory, type) else as_function(factory)
    bases = factory.__mro__ if isinstance(factory, type) else ()
    modules = [sys.modules[base.__module__] for base in bases if base.__module__ in sys.modules]
    return ChainMap(getattr(inspect.unwrap(function), "__globals__", {}), *map(vars, modules))
