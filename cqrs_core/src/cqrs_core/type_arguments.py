"""What a class gives as argument to a generic base: ``Page[User]`` gives ``list[User]`` to ``Request``."""

from __future__ import annotations

import sys
import types
from collections import ChainMap
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ForwardRef, Literal, TypeVar, Union, get_args, get_origin

from cqrs_core.errors import UnresolvedAnnotation

#: Says that a class leaves the parameter of its generic base open.
MISSING: Any = object()

_UNIONS = (Union, types.UnionType)


def type_argument(tp: Any, base: type, index: int = 0) -> Any:  # noqa: ANN401 - annotations are of any type
    """
    Find the argument that *tp* gives to the generic *base*, directly or through the classes between.

    Args:
        tp: A class, or an alias such as ``Page[User]``.
        base: A generic class.
        index: Which of the base's parameters.

    Returns:
        The argument with forward references evaluated and type variables filled in; a variable that nobody filled
        in as it is; :data:`MISSING` if none was given.

    Raises:
        UnresolvedAnnotation: The argument is a forward reference that its module does not define.
    """
    origin, arguments = get_origin(tp) or tp, get_args(tp)
    if origin is base:
        return arguments[index] if index < len(arguments) else MISSING
    made_by_pydantic = origin.__dict__.get("__pydantic_generic_metadata__", {})
    if made_by_pydantic.get("origin"):
        # pydantic's Page[User] is a class of its own, without __orig_bases__.
        return type_argument(types.GenericAlias(made_by_pydantic["origin"], made_by_pydantic["args"]), base, index)
    known = dict(zip(getattr(origin, "__parameters__", ()), arguments, strict=False))
    # From the class's own __dict__: a class without generic bases would show its parent's.
    for parent in origin.__dict__.get("__orig_bases__", origin.__bases__):
        parent_class = get_origin(parent) or parent
        if isinstance(parent_class, type) and issubclass(parent_class, base):
            found = type_argument(parent, base, index)
            if found is not MISSING:
                return resolve_annotation(found, origin, known)
    return MISSING


def resolve_annotation(tp: Any, where: type, known: Mapping[Any, Any]) -> Any:  # noqa: ANN401 - as above
    """
    Evaluate the forward references in an annotation, and fill in its type variables.

    ``typing.get_type_hints`` leaves ``list["Order"]`` as it is on Python 3.10, and fills in no type variables.

    Args:
        tp: The annotation; ``Annotated`` is taken off.
        where: The class in whose body it stands; its module, then its body, say what names mean.
        known: The values of type variables. Others are left.

    Raises:
        UnresolvedAnnotation: A name is not defined there, for example as it is imported for type checkers only.
    """
    if isinstance(tp, ForwardRef):
        tp = tp.__forward_arg__
    if isinstance(tp, str):
        return resolve_annotation(_evaluate(tp, where), where, known)
    if isinstance(tp, TypeVar):
        return known.get(tp, tp)
    origin, arguments = get_origin(tp), get_args(tp)
    if origin is Annotated:
        return resolve_annotation(arguments[0], where, known)
    if origin is None or not arguments or origin in (Literal, Callable):
        return tp
    filled = tuple(resolve_annotation(argument, where, known) for argument in arguments)
    if origin in _UNIONS:
        return Union[filled]  # noqa: UP007 - built from a tuple
    # Final, Required and other special forms take no tuple, even of one.
    return origin[filled[0] if len(filled) == 1 else filled]


def union_members(tp: Any) -> tuple[Any, ...]:  # noqa: ANN401 - as above
    """Take ``A | B`` apart; anything else is its only member."""
    return get_args(tp) if get_origin(tp) in _UNIONS else (tp,)


def _evaluate(text: str, where: type) -> Any:  # noqa: ANN401 - as above
    parameters = {parameter.__name__: parameter for parameter in getattr(where, "__type_params__", ())}
    # A module that was run from a file or executed from text may be gone, or never have been there.
    module = getattr(sys.modules.get(where.__module__), "__dict__", {})
    try:
        # As Python itself does it for annotations; the text is the program's own.
        return eval(text, {**vars(where), where.__name__: where}, ChainMap(parameters, module))  # noqa: S307
    except (AttributeError, NameError) as error:  # "orders.Order", "Order"
        raise UnresolvedAnnotation(where, text, error) from error
