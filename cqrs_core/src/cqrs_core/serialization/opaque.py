"""Objects of JSON that their own class, or a library, knows how to write and read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cqrs_core.serialization.errors import CodecError, type_name
from cqrs_core.serialization.forms import Form, guard, must_be

if TYPE_CHECKING:
    from cqrs_core.serialization.annotations import Annotation
    from cqrs_core.serialization.foreign import ForeignKind
    from cqrs_core.serialization.namespace import Namespace


def define_opaque(namespace: Namespace, form: Form, tp: Annotation, cls: type, kind: ForeignKind) -> None:
    """
    Define the two functions that *form* calls.

    Args:
        tp: The type as it was annotated.
        cls: Its class. Instances of subclasses are refused, as for dataclasses: they would come back without what
            is theirs.
    """
    name = type_name(cls)
    type_in_code, class_in_code = namespace.add("type", tp), namespace.add(cls.__name__, cls)
    to_plain, from_plain = namespace.add("to_plain", kind.to_plain), namespace.add("from_plain", kind.from_plain)
    namespace["opaque_fault"], namespace["must_be_object"] = opaque_fault, must_be_object
    namespace.define(
        form.write_function,
        must_be(class_in_code, "v"),
        guard(f"return write_any(must_be_object({to_plain}(v)))", f"opaque_fault(error, {name!r})"),
    )
    namespace.define(
        form.read_function,
        must_be("dict", "v"),
        guard(f"return {from_plain}({type_in_code}, v)", f"opaque_fault(error, {name!r})"),
    )


def must_be_object(plain: object) -> object:
    """Let only objects of JSON pass: anything else could not be told from other values."""
    if not issubclass(type(plain), dict):
        raise CodecError(f"expected a dict from its own serialization, got {type(plain).__name__}")
    return plain


def opaque_fault(error: Exception, name: str) -> Exception:
    """Name what was raised, but do not quote it: validation errors show what they were given."""
    if isinstance(error, (CodecError, RecursionError, MemoryError)):
        return error
    return CodecError(f"refused by {name} ({type(error).__name__})")
