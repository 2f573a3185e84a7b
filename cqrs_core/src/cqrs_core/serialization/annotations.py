"""What annotations mean: aliases seen through, forward references evaluated, type variables filled in."""

from __future__ import annotations

import inspect
import types
from typing import TYPE_CHECKING, Annotated, Any, Final, Generic, TypeAlias, TypeVar, Union, get_args, get_origin

from cqrs_core.type_arguments import resolve_annotation

if TYPE_CHECKING:
    from collections.abc import Mapping

#: A class, an alias such as ``list[Order]``, a union, ``Any``, ...: what may stand behind a colon.
Annotation: TypeAlias = Any


def unwrap(tp: Annotation) -> Annotation:
    """
    See through ``NewType``, ``Annotated``, ``Final``, ``type X = ...`` and type variables that nobody filled in.

    A type variable stands for its default, else its bound, else ``Any``.
    """
    try:
        hash(tp)
    except TypeError:  # Annotated[int, []], perhaps deep inside
        tp = resolve_annotation(tp, object, {})
    origin: Annotation = get_origin(tp)
    if isinstance(tp, TypeVar):
        inner = _unfilled(tp)
    elif origin in (Annotated, Final):
        inner = get_args(tp)[0]
    elif hasattr(tp, "__supertype__"):
        inner = tp.__supertype__
    elif type(tp).__name__ == "TypeAliasType":  # typing's from 3.12 on, or typing_extensions'
        inner = tp.__value__
    elif type(origin).__name__ == "TypeAliasType":
        known = dict(zip(origin.__type_params__, get_args(tp), strict=False))
        inner = resolve_annotation(origin.__value__, object, known)
    else:
        return tp
    return unwrap(inner)  # not a loop: `type X = X` ends as other endless types do


def origin_of(tp: Annotation) -> Annotation:
    """Give the class of ``Page[int]`` and the special form of ``Literal[1]``; what has no parameters is its own."""
    origin: Annotation = get_origin(tp)
    return origin or tp


def union_arguments(tp: Annotation) -> list[Annotation] | None:
    """Give the members of a union, those of unions inside included; ``None`` if it is none."""
    if origin_of(tp) not in (Union, types.UnionType):
        return None
    members: list[Annotation] = []
    for argument in map(unwrap, get_args(tp)):
        members += union_arguments(argument) or [argument]
    return list(dict.fromkeys(members))


def field_annotations(tp: Annotation, names: list[str]) -> dict[str, Annotation]:
    """
    Find what the named attributes of a class, or of an alias such as ``Page[int]``, are annotated with.

    Raises:
        NameError: A name in an annotation means nothing where it stands.
    """
    origin = origin_of(tp)
    filled = _type_variables(tp)
    found: dict[str, Annotation] = {}
    for name in names:
        owner = next((cls for cls in origin.__mro__ if name in inspect.get_annotations(cls)), origin)
        annotation = inspect.get_annotations(owner).get(name, Any)
        if hasattr(origin, "__total__"):
            owner = _first_to_say(name, annotation, filled)
        found[name] = resolve_annotation(annotation, owner, filled.get(owner, {}))
    return found


def typed_dict_annotations(tp: Annotation) -> tuple[dict[str, Annotation], frozenset[str]]:
    """
    Find the keys of a ``TypedDict`` with their annotations, and those keys that must be there.

    ``__required_keys__`` alone would not do: it does not look into annotations that are strings.
    """
    cls = origin_of(tp)
    annotations = field_annotations(tp, list(inspect.get_annotations(cls)))
    required = set(cls.__required_keys__)
    for name in annotations:
        while (qualifier := _qualifier(annotations[name])) in ("Required", "NotRequired", "ReadOnly"):
            if qualifier != "ReadOnly":
                (required.add if qualifier == "Required" else required.discard)(name)
            (annotations[name],) = get_args(annotations[name])
    return annotations, frozenset(required)


def _first_to_say(name: str, annotation: Annotation, ancestry: Mapping[type, object]) -> type:
    """Find whose words they are: a ``TypedDict`` copies the annotations of its bases, and is a child of none."""
    owner = [cls for cls in ancestry if inspect.get_annotations(cls).get(name) == annotation][-1]
    module = getattr(annotation, "__forward_module__", None) or owner.__module__
    # Before 3.12 it does not even remember its bases; a forward reference remembers their module.
    return owner if module == owner.__module__ else type(owner.__name__, (), {"__module__": module})


def _qualifier(annotation: Annotation) -> str:
    """Give the last name of a special form; 3.10 has some of them in typing_extensions only."""
    return str(get_origin(annotation)).rpartition(".")[2]


def _unfilled(variable: TypeVar) -> Annotation:
    if getattr(variable, "has_default", bool)():  # 3.13
        return variable.__default__  # type: ignore[attr-defined, unused-ignore]  # has_default() says so
    return variable.__bound__ or Any


def _type_variables(tp: Annotation) -> dict[type, Mapping[Any, Any]]:
    """For each class in the ancestry of *tp*, find what its type variables stand for."""
    origin = origin_of(tp)
    known: Mapping[Any, Any] = dict(zip(getattr(origin, "__parameters__", ()), get_args(tp), strict=False))
    found: dict[type, Mapping[Any, Any]] = {origin: known}
    # From the class's own __dict__: a class without generic bases would show its parent's.
    for parent in origin.__dict__.get("__orig_bases__", origin.__bases__):
        parent_class = get_origin(parent) or parent
        if isinstance(parent_class, type) and parent_class is not Generic:
            found.update(_type_variables(resolve_annotation(parent, origin, known)))
    return found
