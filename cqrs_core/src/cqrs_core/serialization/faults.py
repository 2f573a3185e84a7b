"""
Where a value went wrong: called by generated code after the fact, so that the good way counts and records nothing.

Each function gets what went wrong and answers with the error to raise. The way is found in one step per level. To find
an item by doing the work again, counting, would take a time exponential in the depth: one nested message would hang a
consumer.
"""

from __future__ import annotations

from decimal import Decimal
from itertools import islice
from math import isfinite
from operator import length_hint
from typing import TYPE_CHECKING, Any

from cqrs_core.serialization.errors import CodecError, Step, key_step
from cqrs_core.serialization.forms import TAG
from cqrs_core.serialization.libraries import model_fault

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

#: What says nothing about one place in the value.
_UNLOCATED = (RecursionError, MemoryError)

_LONGEST_WORD = 40
_MOST_BITS = 1024  # of a float; Python writes ints of 4,300 digits at most


def mismatch_text(expected: str, value: object) -> str:
    """Name types, not values, which may be secrets; but show a word that was to be one of a few."""
    name = type(value).__name__
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        got = f"{name} that is too large"
    elif expected.startswith("one of ") and isinstance(value, (str, int)):
        got = f"{value!r:.{_LONGEST_WORD}}"
    elif (isinstance(value, float) and not isfinite(value)) or (isinstance(value, Decimal) and not value.is_finite()):
        got = f"{name} that is not finite"
    else:
        got = name
    return f"expected {expected}, got {got}"


def value_fault(error: Exception, step: Step, value: object, expected: str) -> Exception:
    """Say what was expected at *step*; an error from further inside gets a longer path."""
    if isinstance(error, CodecError):
        return error.within(step)
    if isinstance(error, _UNLOCATED):
        return error
    return CodecError(mismatch_text(expected, value), (step,))


def field_fault(
    error: Exception,
    name: str | None,
    owner: Any,  # noqa: ANN401 - of any class
    expected: Mapping[str, str],
) -> Exception:
    """
    Say what is wrong with a field.

    Args:
        name: The field at work; ``None`` if it was the whole.
        owner: The object of JSON that is being read, or the value that is being written.
        expected: What is expected of each field.
    """
    if name is None:
        return refusal(error, owner)
    try:
        value = owner[name] if issubclass(type(owner), dict) else getattr(owner, name)
    except (KeyError, AttributeError):
        return CodecError("missing", (name,))
    return value_fault(error, name, value, expected[name])


def refusal(error: Exception, owner: object) -> Exception:
    """Quote a constructor that refuses: a ``ValueError`` is its author's word, others are named only."""
    if isinstance(error, (CodecError, *_UNLOCATED)):
        return error
    fault = model_fault(error, "its constructor", owner)  # of a dataclass of pydantic's
    return fault or CodecError(f"refused: {error if isinstance(error, ValueError) else type(error).__name__}")


def item_fault(error: Exception, items: Collection[Any], rest: Iterator[Any], expected: str) -> Exception:
    """Ask the iterator how many items it has left: the one before them was at work."""
    number = len(items) - length_hint(rest) - 1
    return value_fault(error, number, next(islice(items, number, None)), expected)


def position_fault(error: Exception, number: int, items: Sequence[Any], expected: Sequence[str]) -> Exception:
    """Say what is wrong with one item of a tuple."""
    return value_fault(error, number, items[number], expected[number])


def entry_fault(
    error: Exception,
    entries: Mapping[Any, Any],
    rest: Iterator[Any],
    convert_key: Callable[[Any], Any],
    expected: tuple[str, str],
) -> Exception:
    """As :func:`item_fault`; keys are flat, so their work can be done again, to know whether it was the key."""
    key = next(islice(entries, len(entries) - length_hint(rest) - 1, None))
    step = key_step(key)
    try:
        convert_key(key)
    except Exception as found:  # noqa: BLE001 - converters raise anything
        return value_fault(found, step, key, f"{expected[0]} as key")
    return value_fault(error, step, entries[key], expected[1])


def repeated_key(entries: Mapping[str, Any], read_key: Callable[[str], Any]) -> CodecError:
    """Name the second of two names that are one key."""
    seen: dict[Any, str] = {}
    name = next(name for name in entries if seen.setdefault(read_key(name), name) != name)
    return CodecError("the same key as another name", (name,))


def unknown_field(found: Mapping[str, Any], known: tuple[str, ...]) -> CodecError:
    """Name the first field that nobody knows."""
    name = next(name for name in found if name not in known and name != TAG)
    return CodecError(f"unknown field; there are {', '.join(known) or 'none'}", (name,))


def made_set(make: type[set[Any] | frozenset[Any]], items: list[Any]) -> set[Any] | frozenset[Any]:
    """Make a set; items that turn out not to be hashable are the fault of the type, and named."""
    try:
        return make(items)
    except TypeError as error:
        raise CodecError("the items cannot be hashed, so they cannot be in a set") from error
