"""How contexts are kept: as JSON, with the fields of newer versions, which this program does not know."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

from cqrs_core.errors import InvalidOption
from cqrs_core.serialization import CodecError, codec_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cqrs_core.saga.steps import SagaContext


class ContextForm:
    """Writes the contexts of one class, and reads them."""

    def __init__(self, context_type: Any, build: Callable[[dict[str, Any]], Any] | None = None) -> None:  # noqa: ANN401 - a class of contexts
        """
        Get ready.

        Args:
            context_type: The class.
            build: Makes a context of a dict, in place of the class.

        Raises:
            UnsupportedType: Contexts of the class could not be read back.
        """
        self._context_type = context_type
        self._codec = codec_for(context_type)
        self._build = build

    def encode(self, context: SagaContext, unknown: dict[str, Any]) -> bytes:
        """
        Write *context*, and what was *unknown* when it was read.

        Raises:
            CodecError: It holds something that JSON cannot carry; ``path`` leads to it.
        """
        written = self._codec.encode(context)
        if not unknown:
            return written
        plain = json.loads(written)
        _put_back(plain, unknown)
        return json.dumps(plain, separators=(",", ":"), ensure_ascii=False).encode()

    def decode(self, written: bytes) -> Any:  # noqa: ANN401 - of the class
        """
        Read a context.

        Raises:
            CodecError: It does not fit the class; ``path`` leads to the fault.
            Exception: What ``build`` raises.
        """
        return self._codec.decode(written) if self._build is None else self._build(json.loads(written))

    def patched(self, written: bytes, changes: Mapping[str, Any]) -> bytes:
        """
        Change some fields of what is *written*; all others stay as they are, those of newer versions too.

        Args:
            changes: What they are to be, by their names, as JSON has it.

        Raises:
            InvalidOption: There is no field of such a name.
            CodecError: It is nothing that JSON has, or what comes of it does not fit the class.
        """
        known = [each.name for each in fields(self._context_type)]
        for name in changes:
            if name not in known:
                raise InvalidOption("context", name, f"one of the fields {', '.join(known)}")
        plain = {**json.loads(written), **changes}
        try:
            changed = json.dumps(plain, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
        except (TypeError, ValueError) as error:
            raise CodecError(f"it is to be changed by what JSON has: {error}") from error
        self._codec.decode(changed)
        return changed

    @staticmethod
    def unknown(context: SagaContext, written: bytes) -> dict[str, Any]:
        """Tell what is in *written* and not in *context*, which was read from it: fields of newer versions."""
        return _unknown(context, json.loads(written))

    def restore(self, context: SagaContext, written: bytes) -> None:
        """Give *context* the values that it had when it was *written*."""
        before = self.decode(written)
        for each in fields(before):
            if hasattr(before, each.name):
                object.__setattr__(context, each.name, getattr(before, each.name))


def input_hash(written: bytes) -> str:
    """Give 16 characters that tell one input from another."""
    return hashlib.sha256(written).hexdigest()[:16]


def _unknown(value: object, plain: object) -> dict[str, Any]:
    if not is_dataclass(value) or not isinstance(plain, dict):
        return {}
    known = {each.name: getattr(value, each.name, None) for each in fields(value)}
    found = {name: given for name, given in plain.items() if name not in known}
    for name, inner in known.items():
        nested = _unknown(inner, plain.get(name))
        if nested:
            found[name] = nested
    return found


def _put_back(plain: dict[str, Any], unknown: dict[str, Any]) -> None:
    for name, given in unknown.items():
        if name not in plain:
            plain[name] = given
        elif isinstance(plain[name], dict) and isinstance(given, dict):
            _put_back(plain[name], given)
