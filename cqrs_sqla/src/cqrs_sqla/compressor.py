"""Bodies that are kept small: what compresses them, and how a row says that its body was."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Protocol

from cqrs_core.errors import InvalidOption
from cqrs_sqla.errors import UnknownCompression

if TYPE_CHECKING:
    from collections.abc import Mapping

#: What every reader of the row understands, one that tails the table too.
CONTENT_ENCODING = "content-encoding"
#: What tells a body that was compressed here from one that the program had compressed itself, which is to stay so.
_MARK = "cqrs_compressed"


class Compressor(Protocol):
    """
    Makes bodies smaller. It may be called from several threads.

    Attributes:
        encoding: The registered name of what it makes, such as ``gzip`` or ``zstd``; of one content encoding only.
    """

    encoding: str

    def compress(self, value: bytes) -> bytes:
        """Compress a body."""
        ...

    def decompress(self, value: bytes) -> bytes:
        """Give back what was compressed."""
        ...


class ZlibCompressor:
    """
    Compresses with zlib, for a repository or a storage. Bodies that it would not make smaller stay as they are.

    Args:
        level: From 1, the fastest, to 9, the smallest; -1 is zlib's own default.

    Raises:
        InvalidOption: The level is another one.

    Source:
        RFC 9110, 8.4.1.2: what zlib makes is called "deflate".
    """

    encoding = "deflate"

    def __init__(self, level: int = -1) -> None:
        if level not in range(-1, 10):
            raise InvalidOption("level", level, "from -1 to 9")
        self._level = level

    def compress(self, value: bytes) -> bytes:
        """Compress a body."""
        return zlib.compress(value, self._level)

    def decompress(self, value: bytes) -> bytes:
        """Give back what was compressed."""
        return zlib.decompress(value)


def check_compressor(compressor: Compressor | None) -> None:
    """
    Look at a compressor that a program has given.

    Raises:
        InvalidOption: It does not say what it makes.
    """
    if compressor is not None and not isinstance(getattr(compressor, "encoding", None), str):
        expected = "a compressor such as ZlibCompressor(), with an attribute encoding that names what it makes"
        raise InvalidOption("compressor", compressor, expected)


def packed(body: bytes, headers: Mapping[str, str], compressor: Compressor | None) -> tuple[bytes, Mapping[str, str]]:
    """Give what is kept of a message: smaller, if that pays, and marked."""
    if compressor is None or any(name.lower() == CONTENT_ENCODING for name in headers):
        return body, headers
    smaller = compressor.compress(body)
    mark = {CONTENT_ENCODING: compressor.encoding, _MARK: compressor.encoding}
    if len(smaller) + len(str(mark)) >= len(body):
        return body, headers
    return smaller, {**headers, **mark}


def unpacked(body: bytes, headers: Mapping[str, str], compressor: Compressor | None) -> tuple[bytes, Mapping[str, str]]:
    """
    Give a message as it was before :func:`packed`.

    Args:
        compressor: Beside zlib, which is always understood.

    Raises:
        UnknownCompression: It is of neither.
    """
    encoding = headers.get(_MARK)
    if encoding is None:
        return body, headers
    for known in (compressor, ZlibCompressor()):
        if known is not None and known.encoding == encoding:
            rest = {name: value for name, value in headers.items() if name not in {_MARK, CONTENT_ENCODING}}
            return known.decompress(body), rest
    raise UnknownCompression(encoding)
