"""What a constructor or a factory asks for, read from its annotations."""

from __future__ import annotations

import inspect
import types
import typing
from typing import Annotated, Any, NamedTuple, get_origin

from cqrs_core.errors import UnresolvedAnnotation
from cqrs_core.type_arguments import union_members

_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class Dependency(NamedTuple):
    """One parameter that somebody has to fill."""

    name: str
    #: The annotation without ``Annotated`` and ``| None``; ``None`` if there is none.
    wanted: Any
    #: Whether the callee can do without: the parameter has a default.
    has_default: bool
    #: Whether ``None`` will do: the annotation says so.
    is_optional: bool
    #: Whether it cannot be given by name.
    is_positional: bool


def dependencies_of(factory: Any) -> tuple[Dependency, ...]:  # noqa: ANN401 - classes, functions, callable objects
    """
    Read what *factory* asks for, in the order of its parameters; ``*args`` and ``**kwargs`` ask for nothing.

    Raises:
        UnresolvedAnnotation: An annotation names what cannot be found at run time.
        ValueError: Python cannot tell the signature, as of some classes written in C.
    """
    function = _constructor(factory) if isinstance(factory, type) else _function(factory)
    if function is None:
        return ()
    parameters = list(inspect.signature(function).parameters.values())
    if isinstance(factory, type):
        parameters = parameters[1:]  # self
    asked = (parameter for parameter in parameters if parameter.kind not in _VARIADIC)
    return tuple(_dependency(parameter, function, factory) for parameter in asked)


def _constructor(cls: type) -> Any:  # noqa: ANN401 - None, or any kind of function
    """Find the one method that takes the arguments of *cls*; ``None`` if it takes none."""
    initialiser, allocator = inspect.getattr_static(cls, "__init__"), inspect.getattr_static(cls, "__new__")
    if initialiser is not object.__init__:
        return initialiser
    return None if allocator is object.__new__ else getattr(allocator, "__func__", allocator)


def _function(factory: Any) -> Any:  # noqa: ANN401 - as above
    is_function = isinstance(factory, (types.FunctionType, types.MethodType, types.BuiltinFunctionType))
    return factory if is_function else factory.__call__


def _dependency(parameter: inspect.Parameter, function: Any, owner: Any) -> Dependency:  # noqa: ANN401 - as above
    has_default = parameter.default is not parameter.empty
    annotation = None if parameter.annotation is parameter.empty else parameter.annotation
    try:
        annotation = _evaluated(annotation, function)
    except NameError as error:
        if not has_default:
            raise UnresolvedAnnotation(owner, str(parameter.annotation), error) from error
        annotation = None  # it may stay unknown: the default will do
    members = union_members(annotation)
    concrete = [member for member in members if member is not type(None)]
    return Dependency(
        name=parameter.name,
        wanted=concrete[0] if len(concrete) == 1 else annotation,
        has_default=has_default,
        is_optional=len(concrete) < len(members),
        is_positional=parameter.kind is parameter.POSITIONAL_ONLY,
    )


def _evaluated(annotation: Any, function: Any) -> Any:  # noqa: ANN401 - as above
    """Evaluate one annotation alone, so that another that cannot be evaluated does not spoil it."""
    if isinstance(annotation, str):
        names = getattr(inspect.unwrap(function), "__globals__", {})
        annotation = typing.get_type_hints(_holder(annotation), names)["wanted"]
    return annotation.__origin__ if get_origin(annotation) is Annotated else annotation


def _holder(annotation: str) -> Any:  # noqa: ANN401 - something that has annotations
    return types.SimpleNamespace(__annotations__={"wanted": annotation})
