"""Between values and bytes: one codec per type, compiled at its first use and kept."""

from __future__ import annotations

import json
import threading
from math import isinf
from typing import TYPE_CHECKING, Any, Generic, Literal, NoReturn, TypeVar, overload

from cqrs_core.serialization.errors import CodecError, type_name
from cqrs_core.serialization.plain import Plain, check_plain

if TYPE_CHECKING:
    from cqrs_core.serialization.annotations import Annotation
    from cqrs_core.serialization.compiler import Compiler, Functions

T = TypeVar("T")
UnknownFields = Literal["ignore", "refuse"]


class _NotFinite(ValueError):
    """A number of the text is none that JSON, or a float, can hold."""


def _refuse_constant(word: str) -> NoReturn:
    raise _NotFinite(word)


def _finite_float(digits: str) -> float:
    number = float(digits)
    if isinf(number):  # 1e999: an infinity that could not be written again
        raise _NotFinite(digits)
    return number


_decoder = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite_float)
# What _decoder.decode() calls, after it has searched for white space.
_scan_once = vars(_decoder)["scan_once"]


class Codec(Generic[T]):
    """
    Turns values of one type into JSON and back; made by :func:`codec_for`.

    Strict both ways: what the reader would refuse is not written, and nothing is coerced but an int to a float or a
    Decimal. Safe to use from several threads.
    """

    __slots__ = ("_expected", "_read", "_write", "tp")

    def __init__(self, tp: Annotation, functions: Functions) -> None:
        self.tp = tp
        self._write = functions.write
        self._read = functions.read
        self._expected = functions.expected

    def __repr__(self) -> str:
        return f"<Codec of {type_name(self.tp)}>"

    def encode(self, value: T) -> bytes:
        """
        Write *value* as compact JSON in UTF-8, fields in the order of their class.

        Raises:
            CodecError: It holds something that its type does not allow, or that JSON cannot carry.
        """
        try:
            return self._write(value).encode()
        except (CodecError, MemoryError):
            raise
        except Exception as error:
            raise self._fault(error, value) from error

    def decode(self, data: bytes | bytearray | memoryview | str) -> T:
        """
        Read what :meth:`encode` wrote, or somebody else.

        Raises:
            CodecError: *data* is not JSON in UTF-8, or not of this type.
        """
        value = _parse(data)
        try:
            return self._read(value)  # type: ignore[no-any-return]  # what the generated function makes is a T
        except (CodecError, MemoryError):
            raise
        except Exception as error:
            raise self._fault(error, value) from error

    def to_plain(self, value: T) -> Plain:
        """
        Give what ``json.loads(self.encode(value))`` gives: nothing in it is shared with *value*.

        Raises:
            CodecError: As for :meth:`encode`.
        """
        return _parse(self.encode(value))

    def from_plain(self, value: Plain) -> T:
        """
        Read values that somebody else parsed, with the checks of :meth:`decode`.

        Args:
            value: What ``json.loads`` gives. Parts that an ``Any`` takes are not copied.

        Raises:
            CodecError: *value* is not of this type, or not what JSON gives.
        """
        try:
            check_plain(value)
            return self._read(value)  # type: ignore[no-any-return]  # as above
        except (CodecError, MemoryError):
            raise
        except Exception as error:
            raise self._fault(error, value) from error

    def _fault(self, error: Exception, value: object) -> CodecError:
        from cqrs_core.serialization.faults import mismatch_text  # noqa: PLC0415 - loaded with the compiler

        if isinstance(error, RecursionError):
            return CodecError("nested too deeply, or contains itself")
        if isinstance(error, UnicodeEncodeError):
            return _located_fault(self._write(value))
        return CodecError(mismatch_text(self._expected, value))


_codecs: dict[UnknownFields, dict[Any, Codec[Any]]] = {"ignore": {}, "refuse": {}}
_compilers: dict[UnknownFields, Compiler] = {}
_lock = threading.Lock()


@overload
def codec_for(tp: type[T], *, unknown_fields: UnknownFields = ...) -> Codec[T]: ...


@overload
def codec_for(tp: Annotation, *, unknown_fields: UnknownFields = ...) -> Codec[Any]: ...


def codec_for(tp: Annotation, *, unknown_fields: UnknownFields = "ignore") -> Codec[Any]:
    """
    Give the codec of a type: a class, or any annotation such as ``list[Order] | None``.

    Args:
        unknown_fields: What to do with names in an object that its dataclass has not: ``"ignore"`` lets others add
            fields first; ``"refuse"`` finds misspelt ones. Of models of other libraries, their own settings decide.

    Raises:
        UnsupportedType: Values of the type could not be read back; a matter of the program, not of its data.
    """
    codecs = _codecs[unknown_fields]
    try:
        return codecs[tp]
    except KeyError:
        return codecs.setdefault(tp, Codec(tp, _compiler(unknown_fields).compile(tp)))
    except TypeError:  # not hashable: Annotated[int, []]
        return Codec(tp, _compiler(unknown_fields).compile(tp))


def _compiler(unknown_fields: UnknownFields) -> Compiler:
    # Programs that write no JSON do not pay for the compiler, nor for decimal, datetime and base64.
    from cqrs_core.serialization.compiler import Compiler  # noqa: PLC0415

    with _lock:
        if unknown_fields not in _compilers:
            _compilers[unknown_fields] = Compiler(refuse_unknown=unknown_fields == "refuse")
        return _compilers[unknown_fields]


def _parse(data: bytes | bytearray | memoryview | str) -> Plain:
    try:
        text = str(data, "utf-8") if type(data) is bytes else _text_of(data)
        try:
            value, end = _scan_once(text, 0)
        except StopIteration:
            value, end = None, -1
        if end != len(text):  # there is white space around, or it is not JSON
            value = _decoder.decode(text)
        # Perhaps a lone surrogate; one search in most texts, which have no escape at all.
        if "\\u" in text and ("\\ud" in text or "\\uD" in text):
            check_plain(value)
    except CodecError:
        raise
    except RecursionError as error:
        raise CodecError("nested too deeply") from error
    except _NotFinite as error:
        raise _located_fault(_text_of(data)) from error
    except ValueError as error:
        raise CodecError(f"not JSON: {error}") from error
    return value


def _text_of(data: bytes | bytearray | memoryview | str) -> str:
    if not isinstance(data, str):
        try:
            return str(data, "utf-8")
        except TypeError:  # a memoryview with gaps
            return memoryview(data).tobytes().decode()
    if not data.isascii():
        data.encode()  # refuses halves of characters
    return data


def _located_fault(text: str) -> CodecError:
    """Say where in *text* a number that is not finite stands, or a lone surrogate."""
    try:
        check_plain(json.loads(text))
    except CodecError as error:
        return error
    except RecursionError:
        return CodecError("nested too deeply")
    except ValueError as error:
        return CodecError(f"not JSON: {error}")
    return CodecError("text that is not Unicode")
