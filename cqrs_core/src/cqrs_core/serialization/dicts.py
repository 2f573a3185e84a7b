"""Objects as JSON-ready dicts, and back: what ``to_dict`` and ``from_dict`` of messages do."""

from __future__ import annotations

from dataclasses import is_dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

from cqrs_core.serialization.codec import codec_for
from cqrs_core.serialization.errors import UnsupportedType
from cqrs_core.serialization.libraries import library_kind

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
    _must_have_fields(type(value))
    return cast("dict[str, Any]", codec_for(tp or type(value)).to_plain(value))


def from_dict(cls: type[T], data: dict[str, Any], *, unknown_fields: UnknownFields) -> T:
    """
    Make a *cls* of what :func:`to_dict` gave, checking every field.

    Raises:
        CodecError: *data* does not fit; ``path`` leads to the fault.
        UnsupportedType: As for :func:`to_dict`.
    """
    _must_have_fields(cls)
    return codec_for(cls, unknown_fields=unknown_fields).from_plain(data)


def _must_have_fields(cls: type) -> None:
    # A class with its own to_dict() must not come here through super(): the codec would call it again.
    if not (is_dataclass(cls) or library_kind(cls)):
        problem = f"{cls.__qualname__} makes its own instances, so their fields are not known"
        raise UnsupportedType(cls, problem, "Write to_dict(self) and from_dict(cls, **data) on it.")
