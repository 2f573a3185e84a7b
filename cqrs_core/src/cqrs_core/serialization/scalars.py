"""Numbers, identifiers and bytes as JSON writes them; stricter than the constructors, and faster where it matters."""

from __future__ import annotations

import re
from binascii import a2b_base64, b2a_base64
from decimal import Decimal
from typing import TypeVar
from uuid import UUID, SafeUUID

T = TypeVar("T")


class Mismatch(Exception):
    """
    A value is not what its type expects.

    Carries nothing: who asked for the value knows where it is and what was expected. Never leaves the codec.
    """


def instance_of(value: object, cls: type[T], other_than: type | tuple[type, ...] = ()) -> T:
    """Let an instance of a subclass pass for what it is as well: freezegun's datetime, an ``IntEnum`` for an int."""
    if isinstance(value, cls) and not isinstance(value, other_than):
        return value
    raise Mismatch


def plain_float(value: object) -> float:
    """Take an int or a subclass of float; a bool is neither."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    raise Mismatch


def write_int_key(value: object) -> str:
    """Keys of JSON objects are strings."""
    return f'"{int(instance_of(value, int, bool))}"'


def read_int_key(text: str) -> int:
    """Take the form that :func:`write_int_key` gives and no other, so that two keys never become one."""
    value = int(text)
    if str(value) != text:
        raise Mismatch
    return value


_DECIMAL = re.compile(r"-?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII).fullmatch


def read_decimal(value: object) -> Decimal:
    """Refuse what ``Decimal()`` takes beyond numbers: NaN, Infinity, ``1_0``, spaces, the digits of other scripts."""
    if isinstance(value, bool) or not (isinstance(value, int) or (isinstance(value, str) and _DECIMAL(value))):
        raise Mismatch
    return Decimal(value)


def uuid_to_text(value: object) -> str:
    """Do what ``str(value)`` does in two thirds of its time."""
    pairs = instance_of(value, UUID).int.to_bytes(16, "big").hex("-", 2)  # a dash after every two bytes
    return f"{pairs[:4]}{pairs[5:29]}{pairs[30:34]}{pairs[35:]}"


_UUID_LENGTH = 36
_UUID_BYTES = 16
# UUID's slots: its constructor takes longer than all the rest of reading one.
_set_int, _set_is_safe = vars(UUID)["int"].__set__, vars(UUID)["is_safe"].__set__


def read_uuid(text: str) -> UUID:
    """Take the canonical form only; ``UUID(text)`` lets braces, ``urn:uuid:``, signs and spaces pass."""
    if text[8:24:5] != "----" or len(text) != _UUID_LENGTH:
        raise Mismatch
    digits = bytes.fromhex(text.replace("-", ""))
    if len(digits) != _UUID_BYTES:  # fromhex() passes over white space
        raise Mismatch
    value = object.__new__(UUID)
    _set_int(value, int.from_bytes(digits, "big"))
    _set_is_safe(value, SafeUUID.unknown)
    return value


def bytes_to_text(value: object) -> str:
    """Encode in base64, standard alphabet, padded."""
    return b2a_base64(instance_of(value, bytes), newline=False).decode()


def read_bytes(text: str) -> bytes:
    """Take the form that :func:`bytes_to_text` gives and no other; how strict decoders are depends on the Python."""
    value = a2b_base64(text)
    if b2a_base64(value, newline=False).decode() != text:
        raise Mismatch
    return value
