"""Models of pydantic and Structs of msgspec: recognised by what they have, so that the core imports neither."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any

from cqrs_core.serialization.errors import CodecError, Step, UnsupportedType, type_name
from cqrs_core.serialization.foreign import ForeignKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cqrs_core.serialization.plain import Plain

# msgspec tells the way in its text only: "Expected `int`, got `str` - at `$.lines[2].sku`".
_PATH = re.compile(r" - at (?:`key` in )?`\$(.*?)(?:\[\.\.\.\].*)?`$").search
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+)\]").findall


def library_kind(cls: type) -> ForeignKind | None:
    """
    Find how the library of a class writes and reads it; ``None`` if it belongs to neither.

    What unknown fields mean is the library's matter: ``extra="forbid"``, ``forbid_unknown_fields=True``.

    Raises:
        UnsupportedType: It is a model, but no object in JSON.
    """
    model: Any = cls  # the marks are the libraries' own
    if hasattr(cls, "model_dump") and hasattr(cls, "model_validate_json"):
        kind, is_object = _PYDANTIC, not getattr(model, "__pydantic_root_model__", False)
    elif hasattr(cls, "__struct_fields__"):
        kind, is_object = _MSGSPEC, not model.__struct_config__.array_like
    else:
        return None
    if not is_object:
        raise UnsupportedType(cls, f"{type_name(cls)} is no object in JSON", "Make it a field of another model.")
    return kind


def model_fault(error: Any, name: str, plain: Plain) -> CodecError | None:  # noqa: ANN401 - an exception, asked for what it may have
    """
    Translate pydantic's ``ValidationError``; ``None`` if *error* is another one.

    Args:
        name: What was to be made.
        plain: What it was to be made of. The path keeps to steps that exist there: pydantic names members of unions
            and validators among them.
    """
    cls = type(error)
    if cls.__name__ != "ValidationError" or not cls.__module__.startswith("pydantic"):
        return None
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    way: tuple[Step, ...] = first["loc"]
    if first["type"] == "missing":
        return CodecError("missing", (*_existing(way[:-1], plain), way[-1]))
    return CodecError(f"refused by {name}: {first['msg']}", _existing(way, plain))


def _write_model(model: Any) -> Plain:  # noqa: ANN401 - of any pydantic class
    # By alias, because that is what it reads; a wrong value is an error, not a warning.
    return model.model_dump(mode="json", by_alias=True, warnings="error")


def _read_model(tp: Any, plain: Plain) -> object:  # noqa: ANN401 - as above
    try:
        # From a text: a strict model takes a datetime from JSON as a string, but not from a dict.
        return tp.model_validate_json(json.dumps(plain))
    except ValueError as error:
        raise model_fault(error, type_name(tp), plain) or error from error


def _write_struct(struct: object) -> Plain:
    plain = _msgspec().to_builtins(struct, str_keys=True)
    # A Struct checks nothing when it is made, nor when it is written.
    _read_struct(type(struct), plain)
    return plain


def _read_struct(tp: Any, plain: Plain) -> object:  # noqa: ANN401 - as above
    msgspec = _msgspec()
    try:
        return msgspec.convert(plain, tp, str_keys=True)
    except msgspec.ValidationError as error:
        path = _PATH(str(error))
        way = [name or int(number) for name, number in _STEP(path[1])] if path else []
        problem = str(error).partition(" - at `")[0]
        raise CodecError(f"refused by {type_name(tp)}: {problem}", _existing(way, plain)) from error


def _msgspec() -> Any:  # noqa: ANN401 - the module
    return sys.modules["msgspec"]  # who defined a Struct has imported it


def _existing(way: Iterable[Step], plain: Plain) -> tuple[Step, ...]:
    steps: list[Step] = []
    for step in way:
        inside: dict[Any, Plain] = dict(enumerate(plain)) if isinstance(plain, list) else plain
        if isinstance(inside, dict) and step in inside:
            plain = inside[step]
            steps.append(step)
    return tuple(steps)


_PYDANTIC = ForeignKind(_write_model, _read_model)
_MSGSPEC = ForeignKind(_write_struct, _read_struct)
