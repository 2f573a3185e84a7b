"""Classes that know their own JSON: models of other libraries, and classes with ``to_dict`` and ``from_dict``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

ToPlain = Callable[[Any], Any]
FromPlain = Callable[[Any, Any], Any]


class ForeignKind(NamedTuple):
    """How the instances of some classes become objects of JSON, and back."""

    recognises: Callable[[type], bool]
    to_plain: ToPlain
    from_plain: FromPlain


_registered: list[ForeignKind] = []


def register_foreign(recognises: Callable[[type], bool], *, to_plain: ToPlain, from_plain: FromPlain) -> None:
    """
    Teach the codec a kind of classes that it does not know, such as the models of a validation library.

    Call it before the first codec is compiled; of several that recognise a class, the last registered wins, and all
    come before the codec's own rules.

    Args:
        recognises: Called with each class that is met, when compiling.
        to_plain: Called with an instance; gives a ``dict`` that holds what ``json`` gives, or what the codec can write.
        from_plain: Called with the type as annotated (a class, or an alias such as ``Page[int]``) and the ``dict``. It
            may raise a :exc:`CodecError` whose path leads on from there; any other exception becomes one, and of
            those only the class is shown, because their texts tend to quote values.
    """
    _registered.append(ForeignKind(recognises, to_plain, from_plain))


def foreign_kind(cls: type) -> ForeignKind | None:
    """Find who knows a class."""
    return next((kind for kind in reversed(_registered) if kind.recognises(cls)), None)


def own_kind(cls: type) -> ForeignKind | None:
    """Take a class with ``to_dict(self)`` and ``from_dict(cls, **values)`` for what knows its own JSON."""
    if not (hasattr(cls, "to_dict") and hasattr(cls, "from_dict")):
        return None
    return ForeignKind(cls.__subclasscheck__, _call_to_dict, _call_from_dict)


def _call_to_dict(value: Any) -> Any:  # noqa: ANN401 - of any class
    return value.to_dict()


def _call_from_dict(tp: Any, plain: dict[str, Any]) -> Any:  # noqa: ANN401 - of any class
    return tp.from_dict(**plain)
