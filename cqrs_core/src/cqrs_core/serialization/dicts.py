"""Objects as JSON-ready dicts, and back: what ``to_dict`` and ``from_dict`` of messages do."""

from __future__ import annotations

import sys
from dataclasses import is_dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

from cqrs_core.serialization.codec import codec_for
from cqrs_core.serialization.errors import UnsupportedType

if TYPE_CHECKING:
    from cqrs_core.serialization.codec import UnknownFields

T = TypeVar("T")


def to_dict(value: object, tp: Any = None) -> dict[str, Any]:  # noqa: ANN401 - an annotation
    """
    Give *value* as a dict of what JSON has: dict, list, str, int, float, bool, None.

    Args:
        value: A dataclass instance, a pydantic model or a msgspec Struct.
        tp: Its type with type arguments, if it has some that its class does not tell.

    Raises:
        CodecError: A field holds something that its type does not allow, or that JSON cannot carry.
        UnsupportedType: A field's type has no form in JSON, or *value* is of another kind of class.
    """
    cls = type(value)
    if is_dataclass(cls):
        return cast("dict[str, Any]", codec_for(tp or cls).to_plain(value))
    if hasattr(cls, "model_dump"):  # a pydantic model
        return cast("dict[str, Any]", value.model_dump(mode="json"))  # type: ignore[attr-defined]  # as just asked
    msgspec = _msgspec_of(cls)
    if msgspec is not None:
        return cast("dict[str, Any]", msgspec.to_builtins(value))
    raise _makes_own_instances(cls)


def from_dict(cls: type[T], data: dict[str, Any], *, unknown_fields: UnknownFields) -> T:
    """
    Make a *cls* of what :func:`to_dict` gave, checking every field.

    Raises:
        CodecError: *data* does not fit; ``path`` leads to the fault. Libraries raise errors of their own.
        UnsupportedType: As for :func:`to_dict`.
    """
    if is_dataclass(cls):
        return codec_for(cls, unknown_fields=unknown_fields).from_plain(data)
    if hasattr(cls, "model_validate"):  # a pydantic model
        return cast("T", cls.model_validate(data))  # type: ignore[attr-defined]  # as just asked
    msgspec = _msgspec_of(cls)
    if msgspec is not None:
        return cast("T", msgspec.convert(data, cls))
    raise _makes_own_instances(cls)


def _msgspec_of(cls: type) -> Any:  # noqa: ANN401 - the module, which the core does not import
    """Find msgspec, if *cls* is one of its Structs: then it has been imported."""
    return sys.modules.get("msgspec") if hasattr(cls, "__struct_fields__") else None


def _makes_own_instances(cls: type) -> UnsupportedType:
    problem = f"{cls.__qualname__} makes its own instances, so their fields are not known"
    return UnsupportedType(cls, problem, "Write to_dict(self) and from_dict(cls, **data) on it.")
