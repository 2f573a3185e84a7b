"""From types to functions: finds the form of each type once, and has the source of its functions written."""

from __future__ import annotations

import threading
from dataclasses import is_dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from cqrs_core.serialization.annotations import (
    Annotation,
    field_annotations,
    origin_of,
    typed_dict_annotations,
    union_arguments,
    unwrap,
)
from cqrs_core.serialization.any_values import AnyWriter
from cqrs_core.serialization.arrays import ARRAYS, define_array, define_tuple
from cqrs_core.serialization.choices import enum_form, literal_form
from cqrs_core.serialization.errors import UnsupportedType, type_name
from cqrs_core.serialization.foreign import ForeignKind, foreign_kind, own_kind
from cqrs_core.serialization.forms import Form
from cqrs_core.serialization.libraries import library_kind
from cqrs_core.serialization.mappings import MAPPINGS, define_mapping
from cqrs_core.serialization.namespace import Namespace
from cqrs_core.serialization.opaque import define_opaque
from cqrs_core.serialization.records import define_record, define_typed_dict, sent_fields
from cqrs_core.serialization.scalar_forms import SCALARS, key_form
from cqrs_core.serialization.unions import union_form

if TYPE_CHECKING:
    from collections.abc import Callable

_ITEM = "[]"  # in paths of types: any item of a list, any value of a dict


class Functions(NamedTuple):
    """What a codec is made of."""

    write: Callable[[Any], str]
    read: Callable[[Any], Any]
    expected: str


class Compiler:
    """
    Makes functions for types under one policy; what was made once is used again.

    Safe to use from several threads. Keeps the types that it has seen for as long as it lives.
    """

    def __init__(self, *, refuse_unknown: bool) -> None:
        self._refuse_unknown = refuse_unknown
        self._namespace = Namespace()
        self._namespace["write_any"] = AnyWriter(lambda tp: self.compile(tp).write)
        self._forms: dict[Any, Form] = {}
        # Unions that are being compiled, and whether they came up inside themselves.
        self._open_unions: dict[Any, bool] = {}
        self._lock = threading.RLock()

    def compile(self, tp: Annotation) -> Functions:
        """
        Make the two functions of a type.

        Raises:
            UnsupportedType: It, or what it consists of, could not be read back.
        """
        with self._lock:
            before = set(self._forms)
            try:
                form = self._form_of(tp)
                write, read = self._namespace.writer(form), self._namespace.reader(form)
                self._namespace.make_functions()
            except BaseException as error:
                # Halves of recursive types must not be found the next time.
                self._forms = {known: self._forms[known] for known in before}
                self._open_unions.clear()
                self._namespace.drop_pending()
                if isinstance(error, RecursionError):
                    raise _endless(tp) from error
                if isinstance(error, UnsupportedType):
                    error.wanted = tp
                raise
            return Functions(self._namespace[write], self._namespace[read], form.expected)

    def _form_of(self, tp: Annotation, step: str = "") -> Form:
        """
        Find the form of a type.

        Args:
            step: How it is reached from the type around it, for errors.
        """
        try:
            tp = unwrap(tp)
            if tp in self._open_unions:
                self._open_unions[tp] = True
            known = SCALARS.get(tp) or self._forms.get(tp)
            return known or self._build(tp, origin_of(tp), get_args(tp))
        except UnsupportedType as error:
            if step:
                error.within(step)
            raise
        except NameError as error:
            raise UnsupportedType(tp, str(error).rstrip("."), "Correct the annotation.", step) from error

    def _build(self, tp: Annotation, origin: Annotation, arguments: tuple[Annotation, ...]) -> Form:
        members = union_arguments(tp)
        if members:
            return self._union(tp, members)
        if origin is Literal:
            return self._keep(tp, literal_form(self._namespace, tp))
        kind = foreign_kind(origin) if isinstance(origin, type) else None
        if kind:
            return self._opaque(tp, origin, kind)
        if origin in ARRAYS and not _has_fixed_length(tp, arguments):
            return self._array(tp, origin, arguments[0] if arguments else Any)
        if origin in MAPPINGS:
            return self._mapping(tp, origin, *(arguments or (str, Any)))
        if isinstance(origin, type):
            return self._class(tp, origin, arguments)
        raise _without_form(tp)

    def _class(self, tp: Annotation, cls: type[Any], arguments: tuple[Annotation, ...]) -> Form:
        if cls is tuple:
            return self._tuple(tp, tuple, {str(number): item for number, item in enumerate(arguments) if item != ()})
        if _is_named_tuple(cls):
            return self._tuple(tp, cls, field_annotations(tp, list(origin_of(tp)._fields)))
        if issubclass(cls, Enum):
            return self._keep(tp, enum_form(self._namespace, cls))
        if _is_typed_dict(cls):
            return self._typed_dict(tp, cls)
        if is_dataclass(cls):
            return self._record(tp, cls)
        kind = library_kind(cls) or own_kind(cls)
        if kind:
            return self._opaque(tp, cls, kind)
        raise _without_form(tp)

    # Each kind of type is registered before what it consists of is looked at, so that it may come up again inside.

    def _keep(self, tp: Annotation, form: Form) -> Form:
        self._forms[tp] = form
        return form

    def _outline(
        self, tp: Annotation, expected: str, python_types: tuple[type, ...], json_types: tuple[type, ...], tag: str = ""
    ) -> Form:
        """Register a form whose two functions will be defined later."""
        word = tag or (expected if expected.isidentifier() else "union")
        write, read = self._namespace.reserve(f"write_{word}"), self._namespace.reserve(f"read_{word}")
        return self._keep(tp, Form(expected, python_types, json_types, tag, write=f"{write}($)", read=f"{read}($)"))

    def _array(self, tp: Annotation, origin: Annotation, item: Annotation) -> Form:
        kind = ARRAYS[origin]
        form = self._outline(tp, "list", kind.python_types, (list,))
        item_form = self._form_of(item, _ITEM)
        if kind.is_hashed and any(cls.__hash__ is None for cls in item_form.python_types):
            raise UnsupportedType(
                tp,
                f"{type_name(tp)} cannot be: its items are not hashable",
                "Make the items frozen dataclasses or tuples, or use a list.",
            )
        define_array(self._namespace, form, kind, item_form)
        return form

    def _tuple(self, tp: Annotation, cls: type, items: dict[str, Annotation]) -> Form:
        form = self._outline(tp, f"list of {len(items)}", (cls,), (list,))
        class_name = "" if cls is tuple else self._namespace.add(cls.__name__, cls)
        forms = [self._form_of(item, f"[{name}]" if cls is tuple else name) for name, item in items.items()]
        define_tuple(self._namespace, form, forms, class_name)
        return form

    def _mapping(self, tp: Annotation, origin: Annotation, key: Annotation, item: Annotation) -> Form:
        form = self._outline(tp, "dict", (dict, MAPPINGS[origin]), (dict,))
        of_keys = key_form(self._form_of(key))
        if of_keys is None:
            raise UnsupportedType(
                key,
                f"{type_name(key)} cannot be the key of a dict: names in JSON are strings",
                "Use str, int, UUID, Decimal, a date, or an enum of strings.",
            )
        define_mapping(self._namespace, form, MAPPINGS[origin], of_keys, self._form_of(item, _ITEM))
        return form

    def _record(self, tp: Annotation, cls: type[Any]) -> Form:
        form = self._outline(tp, cls.__name__, (cls,), (dict,), tag=cls.__name__)
        annotations = field_annotations(tp, [field.name for field in sent_fields(cls)])
        items = {name: self._form_of(annotation, name) for name, annotation in annotations.items()}
        define_record(self._namespace, form, cls, items, refuse_unknown=self._refuse_unknown)
        return form

    def _typed_dict(self, tp: Annotation, cls: type[Any]) -> Form:
        form = self._outline(tp, cls.__name__, (dict,), (dict,))
        annotations, required = typed_dict_annotations(tp)
        items = {name: self._form_of(annotation, name) for name, annotation in annotations.items()}
        define_typed_dict(self._namespace, form, items, required, refuse_unknown=self._refuse_unknown)
        return form

    def _opaque(self, tp: Annotation, cls: type, kind: ForeignKind) -> Form:
        form = self._outline(tp, cls.__name__, (cls,), (dict,), tag=cls.__name__)._replace(drops_tag=True)
        define_opaque(self._namespace, form, tp, cls, kind)
        return self._keep(tp, form)

    def _union(self, tp: Annotation, members: list[Annotation]) -> Form:
        outline = self._outline(tp, " or ".join(map(_expected_name, members)), (), ())
        self._open_unions[tp] = False
        form = union_form(self._namespace, tp, outline, [self._form_of(member) for member in members])
        came_up_inside = self._open_unions.pop(tp)
        if came_up_inside and form.write_function != outline.write_function:
            # The form is in line, but what is inside calls functions.
            self._namespace.alias(outline.write_function, self._namespace.writer(form))
            self._namespace.alias(outline.read_function, self._namespace.reader(form))
        return self._keep(tp, form)


def _expected_name(tp: Annotation) -> str:
    """Name a type before its form is known."""
    known = SCALARS.get(tp)
    return known.expected if known else getattr(origin_of(tp), "__name__", str(tp))


def _is_named_tuple(cls: type[Any]) -> bool:
    return hasattr(cls, "_fields") and issubclass(cls, tuple)


def _is_typed_dict(cls: type[Any]) -> bool:
    """Ask the class, not ``typing``: typing_extensions has another."""
    return hasattr(cls, "__total__") and issubclass(cls, dict)


def _has_fixed_length(tp: Annotation, arguments: tuple[Annotation, ...]) -> bool:
    """Tell ``tuple[int, str]`` and ``tuple[()]`` from ``tuple``, ``tuple[int, ...]`` and everything else."""
    is_bare = not arguments and tp != tuple[()]
    return origin_of(tp) is tuple and not is_bare and arguments[1:] != (...,)


def _without_form(tp: Annotation) -> UnsupportedType:
    return UnsupportedType(
        tp,
        f"{type_name(tp)} has no form in JSON",
        "Make it a dataclass, a pydantic model or a msgspec Struct, or give it to_dict(self) and from_dict(cls, "
        "**values). Classes of other libraries are taught with cqrs_core.serialization.register_foreign().",
    )


def _endless(tp: Annotation) -> UnsupportedType:
    return UnsupportedType(
        tp,
        f"{type_name(tp)} contains itself without end",
        "Where a type recurs, name a dataclass or a `type` alias (Python 3.12), with the same arguments each time.",
    )
