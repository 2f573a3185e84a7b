"""Classes that know their own JSON: models of other libraries, and classes with ``to_dict`` and ``from_dict``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

ToPlain = Callable[[Any], Any]
FromPlain = Callable[[Any, Any], Any]


class ForeignKind(NamedTuple):
    """How the instances of some classes become objects of JSON, and back."""

    to_plain: ToPlain
    from_plain: FromPlain


_registered: list[tuple[Callable[[type], bool], ForeignKind]] = []


def register_foreign(recognises: Callable[[type], bool], *, to_plain: ToPlain, from_plain: FromPlain) -> None:
    """
    Teach the codec a kind of classes that it does not know, such as the models of a validation library.

    Call it before the first codec is compiled; of several that recognise a class, the last registered wins, and all
    come before the codec's own rules, which know pydantic's models and msgspec's Structs.

    Args:
        recognises: Called with each class that is met, when compiling.
        to_plain: Called with an instance; gives a ``dict`` that holds what ``json`` gives, or what the codec can write.
        from_plain: Called with the type as annotated (a class, or an alias such as ``Page[int]``) and the ``dict``. It
            may raise a :exc:`CodecError` whose path leads on from there; any other exception becomes one, and of
            those only the class is shown, because their texts tend to quote values.
    """
    _registered.append((recognises, ForeignKind(to_plain, from_plain)))


def foreign_kind(cls: type) -> ForeignKind | None:
    """Find what was registered for a class."""
    return next((kind for recognises, kind in reversed(_registered) if recognises(cls)), None)


def own_kind(cls: Any) -> ForeignKind | None:  # noqa: ANN401 - a class, asked for what it may have
    """Take a class with ``to_dict(self)`` and ``from_dict(cls, **values)`` for what knows its own JSON."""
    methods = (getattr(cls, "to_dict", None), getattr(cls, "from_dict", None))
    # Those that messages inherit are not its own: they come back here.
    if any(method is None or getattr(method, "__module__", "") == "cqrs_core.messages" for method in methods):
        return None
    return ForeignKind(_call_to_dict, _call_from_dict)


def _call_to_dict(value: Any) -> Any:  # noqa: ANN401 - of any class
    return value.to_dict()


def _call_from_dict(tp: Any, plain: dict[str, Any]) -> Any:  # noqa: ANN401 - of any class
    return tp.from_dict(**plain)
