"""
Make the subclasses of a bare root dataclasses, without getting in the way of a ``@dataclass`` above them.

A subclass is a dataclass from its ``class`` statement on. If its author decorates it as well, the automatic dataclass
is taken back first, so that the decorator finds the class as it was written. No metaclass is involved, so pydantic
models, msgspec Structs and abstract classes can derive from the same root.

How the decorator is noticed: ``dataclass(cls)`` first puts new ``__dataclass_params__`` on the class, and then asks
each base, the root first, for ``__dataclass_fields__``. On the root that is :class:`DecoratorWatch`; the class whose
parameters are no longer the automatic ones is the one being decorated. This order of steps is not documented; the tests
that compare decorated messages with plain dataclasses, attribute by attribute, stand guard over it.
"""

from __future__ import annotations

import abc
import copy
import threading
import typing
import weakref
from dataclasses import Field, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from cqrs_core.errors import InvalidMessageClass

if TYPE_CHECKING:
    from collections.abc import Mapping

_FIELDS = "__dataclass_fields__"
_PARAMS = "__dataclass_params__"
_RECORD = "__automatic_dataclass__"
_ABSENT: Any = object()
_PLAIN_METACLASSES = (type, abc.ABCMeta, type(typing.Protocol))

#: ``busy`` while this module, and no author, calls ``dataclass()`` in this thread.
_own_call = threading.local()
_registry_lock = threading.Lock()
#: Each automatic dataclass and the parameters that ``dataclass()`` gave it.
_registry: weakref.WeakKeyDictionary[type, object] = weakref.WeakKeyDictionary()


class _Record(NamedTuple):
    """What became of a class when it was made a dataclass."""

    #: The options in its class line.
    options: dict[str, bool]
    #: For each attribute that changed, its value before and after.
    changes: dict[str, tuple[Any, Any]]


class DecoratorWatch(dict[str, Any]):
    """
    Stand as ``__dataclass_fields__`` on the root, and make way for a ``@dataclass`` on a subclass.

    It is a mapping, and an empty one, because pydantic reads the fields of each base out of the base's ``__dict__``.
    """

    def __set_name__(self, root: type, name: str) -> None:
        self._root = root

    def __get__(self, instance: object, owner: type) -> Any:  # noqa: ANN401 - never returns
        if owner is self._root and not getattr(_own_call, "busy", False):
            _make_way_for_decorator()
        raise AttributeError(f"{owner.__qualname__} is not a dataclass")


def make_dataclass(cls: type, options: dict[str, bool], defaults: Mapping[str, bool]) -> None:
    """
    Make *cls* a dataclass in place, and remember how to take it back.

    Args:
        options: What its class line says.
        defaults: What holds where the class line says nothing; a parent that is a dataclass decides on ``frozen``.

    Raises:
        TypeError: As ``dataclass()`` raises it.
        InvalidMessageClass: *cls* and a base disagree on ``frozen``.
    """
    before = dict(cls.__dict__)
    for name, value in before.items():
        if isinstance(value, Field):
            # dataclass() writes into the Field that it finds; the author's must stay as it was written.
            setattr(cls, name, copy.copy(value))
    parent = next((base for base in cls.__mro__[1:] if _PARAMS in base.__dict__), None)
    inherited = {"frozen": parent.__dict__[_PARAMS].frozen} if parent else {}
    chosen = {**defaults, **inherited, **options}
    _check_frozen(cls, is_frozen=chosen.get("frozen", False))
    _own_call.busy = True
    try:
        dataclass(**chosen)(cls)
    except TypeError as error:
        if options or _FIELDS not in cls.__dict__:
            raise
        # The fields are sound, only the methods could not be written (a field without default behind one with). A
        # decorator that follows may cure that with kw_only=True, so it is an error only if none does.
        _refuse_instances(cls, error)
    finally:
        _own_call.busy = False
    after = dict(cls.__dict__)
    changes = {name: (before.get(name, _ABSENT), after.get(name, _ABSENT)) for name in {**before, **after}}
    changed = {name: (old, new) for name, (old, new) in changes.items() if old is not new}
    setattr(cls, _RECORD, _Record(options, changed))
    with _registry_lock:
        _registry[cls] = after[_PARAMS]


def makes_own_instances(cls: type) -> bool:
    """Tell whether *cls* is to be left alone, because its instances are made by itself or by a library."""
    if type(cls) not in _PLAIN_METACLASSES:  # pydantic.BaseModel, msgspec.Struct
        return True
    if _FIELDS in cls.__dict__:  # the copy that @dataclass(slots=True) makes
        return True
    if cls.__dict__.get("__slots__") == ():  # a bare base: its instances have no room for fields
        return True
    # Protocols carry an __init__ that is not meant for their subclasses. Out of __dict__, because a class whose first
    # base is a protocol is marked as being none only later.
    writer = next(c for c in cls.__mro__ if "__init__" in c.__dict__ and not c.__dict__.get("_is_protocol"))
    return writer is not object and _FIELDS not in writer.__dict__


def is_foreign_copy(cls: type) -> bool:
    """
    Tell whether a class decorator other than ``dataclasses.dataclass`` copied an automatic dataclass.

    ``dataclass(slots=True)`` makes a copy as well, but by then the automatic dataclass has been taken back.
    """
    return _RECORD in cls.__dict__


def _make_way_for_decorator() -> None:
    with _registry_lock:
        decorated = [cls for cls, params in list(_registry.items()) if cls.__dict__[_PARAMS] is not params]
        records = [_take_back(cls) for cls in decorated]
    if len(decorated) == 1:  # with more, another thread is at it too, and an error might surface in the wrong one
        _check_decorator(decorated[0], records[0])


def _take_back(cls: type) -> _Record:
    """Restore *cls* as it was written, but for what others have changed since."""
    record: _Record = cls.__dict__[_RECORD]
    delattr(cls, _RECORD)
    del _registry[cls]
    for name, (before, after) in record.changes.items():
        if cls.__dict__.get(name, _ABSENT) is not after:
            continue
        if before is _ABSENT:
            delattr(cls, name)
        else:
            setattr(cls, name, before)
    return record


def _refuse_instances(cls: type, error: TypeError) -> None:
    problem = f"cannot be made: {error}. Reorder its fields, or put kw_only=True into its class line or decorator."

    def __init__(self: object, *args: object, **kwargs: object) -> None:  # noqa: ARG001, N807 - planted
        raise InvalidMessageClass(cls, problem)

    setattr(cls, "__init__", __init__)  # noqa: B010 - mypy refuses the assignment that this stands for


def _check_decorator(cls: type, record: _Record) -> None:
    params = cls.__dict__[_PARAMS]
    for name, value in record.options.items():
        if getattr(params, name, value) != value:  # kw_only is not among the parameters before Python 3.12
            raise InvalidMessageClass(
                cls, f"has {name}={value} in its class line, but not in its decorator. Say it in one place."
            )
    _check_frozen(cls, is_frozen=params.frozen)


def _check_frozen(cls: type, *, is_frozen: bool) -> None:
    """Say what ``dataclass()`` would say, with names and a cure, and on every Python alike."""
    for base in cls.__mro__[1:]:
        if _PARAMS in base.__dict__ and base.__dict__[_PARAMS].frozen != is_frozen:
            here, there = ("frozen", "not frozen") if is_frozen else ("not frozen", "frozen")
            how = "made a dataclass for being a message" if _RECORD in base.__dict__ else "so decorated"
            problem = (
                f"is {here}, but its base {base.__qualname__} is {there} ({how}). A dataclass and its bases must "
                f"agree: put frozen={is_frozen} on {base.__qualname__}, or frozen={not is_frozen} here."
            )
            raise InvalidMessageClass(cls, problem)
