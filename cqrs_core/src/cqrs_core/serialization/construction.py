"""How an instance of a dataclass is made: by its constructor, or without it where that does nothing but store."""

from __future__ import annotations

import inspect
from dataclasses import Field, fields
from typing import TYPE_CHECKING, Any

from cqrs_core.serialization.errors import UnsupportedType
from cqrs_core.serialization.forms import lines

if TYPE_CHECKING:
    from cqrs_core.serialization.namespace import Namespace


def construction(namespace: Namespace, cls: type[Any], class_name: str, sent: list[Field[Any]]) -> str:
    """
    Give the statements that make an instance and return it.

    Args:
        cls: The dataclass.
        class_name: Its name in the namespace.
        sent: Its fields that are in JSON; the value of field number i is in ``x{i}``.

    Raises:
        UnsupportedType: The constructor wants what is not sent, or does not want what is.
    """
    names = [field.name for field in sent]
    if _only_stores(cls, names):
        # As pydantic and msgspec do. A frozen class stores through object.__setattr__, which
        # takes half of the time that reading takes.
        stored = _storing(namespace, cls, class_name, names)
        if stored:
            return stored
    _check_constructor(cls, names)
    return f"return {class_name}({', '.join(f'{name}=x{number}' for number, name in enumerate(names))})"


def _only_stores(cls: type[Any], names: list[str]) -> bool:
    """Tell whether the constructor is ``dataclass()``'s own, and nothing else takes part."""
    code = getattr(cls.__init__, "__code__", None)
    if code is None or code.co_filename != "<string>" or set(code.co_varnames[1:]) != set(names):
        return False  # written by hand, or with an InitVar; if Python changes the file name, slower but not wrong
    has_own_ways = (
        hasattr(cls, "__post_init__")
        or any("__new__" in vars(base) for base in cls.__mro__[:-1])
        or any("__call__" in vars(base) for base in type.mro(type(cls)) if base not in (type, object))
    )
    return not has_own_ways and [field.name for field in fields(cls)] == names


def _storing(namespace: Namespace, cls: type[Any], class_name: str, names: list[str]) -> str:
    """Give the statements that store what the constructor would store; empty if a descriptor is in the way."""
    if not cls.__dataclass_params__.frozen:
        assignments = [f"made.{name} = x{number}" for number, name in enumerate(names)]
        return lines(f"made = new({class_name})", *assignments, "return made")
    stores: list[str] = []
    for number, name in enumerate(names):
        descriptor = inspect.getattr_static(cls, name, None)
        if inspect.ismemberdescriptor(descriptor):
            stores.append(f"{namespace.add('set_' + name, descriptor.__set__)}(made, x{number})")
        elif inspect.isdatadescriptor(descriptor):
            return ""
        else:
            stores.append(f"values[{name!r}] = x{number}")
    values = "values = made.__dict__" if any(store.startswith("values[") for store in stores) else ""
    return lines(f"made = new({class_name})", values, *stores, "return made")


def _check_constructor(cls: type[Any], names: list[str]) -> None:
    parameters = inspect.signature(cls.__init__).parameters
    kinds = {parameter.kind for parameter in parameters.values()}
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    for parameter in list(parameters.values())[1:]:
        if parameter.name not in names and parameter.default is parameter.empty and parameter.kind not in variadic:
            raise UnsupportedType(
                cls,
                f"the constructor of {cls.__qualname__} needs {parameter.name!r}, which is not stored as a field, so "
                "it cannot be sent",
                "Give that argument (an InitVar, for example) a default, or make it a field.",
            )
    for name in names:
        if name not in parameters and inspect.Parameter.VAR_KEYWORD not in kinds:
            raise UnsupportedType(
                cls,
                f"the constructor of {cls.__qualname__} does not take its field {name!r}",
                "Say field(init=False), or take it as an argument.",
            )
