"""Draws what was declared, as Mermaid text for a README or a wiki. Nothing is registered or run for it."""

from __future__ import annotations

import dataclasses
import inspect
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, ForwardRef, Literal, NamedTuple, TypeVar, get_args, get_origin

from cqrs_core.errors import NotAChain, UnresolvedAnnotation
from cqrs_core.handlers import CORRequestHandler
from cqrs_core.type_arguments import MISSING, resolve_annotation, type_argument, union_members

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: What Mermaid takes as it is wherever we write text, beside letters and digits of any script.
_PLAIN = frozenset(" _.,|[]")


class _Link(NamedTuple):
    """One handler of a chain, and what it declares; ``MISSING`` where it declares nothing."""

    handler: type[CORRequestHandler[Any, Any]]
    request: Any
    response: Any


class CoRMermaid:
    """Draws a chain of responsibility."""

    def __init__(self, handlers: Sequence[type[CORRequestHandler[Any, Any]]]) -> None:
        """
        Read what the links of the chain declare.

        Args:
            handlers: In the order in which they are tried, as ``RequestMap.bind`` takes them.

        Raises:
            NotAChain: There are none, or something among them is not a ``CORRequestHandler`` class.
            UnresolvedAnnotation: A type parameter of a handler cannot be found at run time.
        """
        given = tuple(handlers) if isinstance(handlers, Sequence) else (handlers,)
        strangers = [link for link in given if not _is_link(link)]
        if strangers or not given:
            raise NotAChain(strangers)
        self._links = tuple(_Link(link, _parameter(link, 0), _parameter(link, 1)) for link in given)

    def sequence(self) -> str:
        """Draw the way of a request: each link answers it, or passes it on and returns what the next one returned."""
        names = distinct_names(link.handler for link in self._links)
        lines = ["sequenceDiagram", "    participant C as Mediator"]
        lines += [f"    participant H{at} as {names[link.handler]}" for at, link in enumerate(self._links, 1)]
        lines.append(f"    C->>H1: handle({declared(self._links[0].request, 'request')})")
        ends: list[str] = []
        for at, link in enumerate(self._links, 1):
            indent, caller = "    " * at, f"H{at - 1}" if at > 1 else "C"
            is_last = at == len(self._links)
            lines.append(f"{indent}alt {names[link.handler]} answers")
            lines.append(f"{indent}    H{at}-->>{caller}: {declared(link.response, 'response')}")
            lines.append(f"{indent}else {'does not' if is_last else 'passes it on'}")
            if not is_last:
                lines.append(f"{indent}    H{at}->>H{at + 1}: next({declared(self._links[at].request, 'request')})")
            returned = "None" if is_last else f"what H{at + 1} returned"
            ends[:0] = [f"{indent}    H{at}-->>{caller}: {returned}", f"{indent}end"]
        return "\n".join(lines + ends)

    def class_diagram(self) -> str:
        """Draw the classes: handlers, what they derive from and who is next; their messages with their fields."""
        handlers = numbered("H", (cls for link in self._links for cls in filter(_is_link, link.handler.__mro__)))
        messages = numbered("M", (m for link in self._links for m in (*shown(link.request), *shown(link.response))))
        names = distinct_names([*handlers, *messages])
        lines = ["classDiagram"]
        methods = ["+handle(request) response | None", "+next(request) response | None"]
        lines += class_box("class CORRequestHandler", ["<<abstract>>", "+events: list[Event]", *methods])
        for handler, box in handlers.items():
            lines += class_box(f'class {box}["{names[handler]}"]', [_signature(handler)])
        for message, box in messages.items():
            fields = [f"+{escape(name)}: {declared(tp, 'Any')}" for name, tp in fields_of(message).items()]
            lines += class_box(f'class {box}["{names[message]}"]', fields)
        lines += [f"    {arrow}" for arrow in dict.fromkeys(self._arrows(handlers, messages))]
        return "\n".join(lines)

    def _arrows(self, handlers: Mapping[Any, str], messages: Mapping[Any, str]) -> Iterable[str]:
        for handler, box in handlers.items():
            for base in handler.__bases__:
                if base is CORRequestHandler or _is_link(base):
                    yield f"{handlers.get(base, 'CORRequestHandler')} <|-- {box}"
        for link, follower in pairwise(self._links):
            yield f"{handlers[link.handler]} --> {handlers[follower.handler]} : next"
        for link in self._links:
            for request in shown(link.request):
                yield f"{handlers[link.handler]} ..> {messages[request]} : handles"
            for response in shown(link.response):
                yield f"{handlers[link.handler]} ..> {messages[response]} : answers"


def escape(text: str) -> str:
    """
    Write *text* so that Mermaid shows it and obeys none of it.

    Mermaid's own entities are used, ``#60;`` for ``<``. Brackets stay: it takes them, and a type in its own notation,
    ``dict~str, list~int~~``, is shown wrongly as soon as there is a comma inside (Mermaid 11).
    """
    return "".join(char if char.isalnum() or char in _PLAIN else f"#{ord(char)};" for char in text)


def annotation_text(tp: Any) -> str:  # noqa: ANN401 - annotations are of any type
    """Write an annotation as its author would: ``list[dict[str, int]]``, ``str | None``."""
    if isinstance(tp, str):
        return tp
    if isinstance(tp, list):  # the parameters of a Callable
        return f"[{', '.join(map(annotation_text, tp))}]"
    members = union_members(tp)
    if len(members) > 1:
        return " | ".join(map(annotation_text, members))
    origin, arguments = get_origin(tp), get_args(tp)
    if origin is Annotated:
        return annotation_text(arguments[0])
    if origin is None or not arguments:
        return _plain_name(tp)
    texts = map(repr if origin is Literal else annotation_text, arguments)
    return f"{annotation_text(origin)}[{', '.join(texts)}]"


def fields_of(message: Any) -> dict[str, Any]:  # noqa: ANN401 - a class, or an alias such as Page[User]
    """
    Tell the fields of a class, of whatever library it is made with, and their types.

    Returns:
        Types by names, type variables filled in. One that cannot be found at run time is given as it was written.
    """
    cls = get_origin(message) or message
    annotations = [(owner, inspect.get_annotations(owner)) for owner in cls.__mro__]
    names: Iterable[str]
    if dataclasses.is_dataclass(cls):
        names = [field.name for field in dataclasses.fields(cls)]
    elif listed := getattr(cls, "model_fields", None) or getattr(cls, "__struct_fields__", None):
        names = listed  # pydantic's, msgspec's
    else:
        names = [name for _, own in reversed(annotations) for name in own if not name.startswith("_")]
    found = {name: next(((owner, own[name]) for owner, own in annotations if name in own), None) for name in names}
    return {name: MISSING if at is None else _resolved(at[1], at[0], message) for name, at in found.items()}


def distinct_names(classes: Iterable[Any]) -> dict[Any, str]:
    """Name classes, and aliases of such, ready to be written; the module is said of those that share their name."""
    found = {cls: annotation_text(cls) for cls in classes}
    uses = Counter(found.values())
    return {cls: escape(name if uses[name] == 1 else _full_name(cls)) for cls, name in found.items()}


def _full_name(cls: Any) -> str:  # noqa: ANN401 - as above
    name = cls.__qualname__ if isinstance(cls, type) else annotation_text(cls)
    return f"{cls.__module__}.{name}"


def _plain_name(tp: Any) -> str:  # noqa: ANN401 - as above
    if tp is None or tp is type(None):
        return "None"
    if tp is ...:
        return "..."
    if isinstance(tp, ForwardRef):
        return tp.__forward_arg__
    name = getattr(tp, "__name__", None)
    return name if isinstance(name, str) else repr(tp)


def _resolved(tp: Any, owner: type, message: Any) -> Any:  # noqa: ANN401 - as above
    """Evaluate an annotation in the body of *owner*, whose type variables *message* may fill in."""
    parameters = getattr(owner, "__parameters__", ())
    filled = {parameter: type_argument(message, owner, at) for at, parameter in enumerate(parameters)}
    try:
        return resolve_annotation(tp, owner, {p: argument for p, argument in filled.items() if argument is not MISSING})
    except UnresolvedAnnotation:
        return tp


def _is_link(thing: object) -> bool:
    """Tell whether *thing* can be a link of a chain: a class that derives from the base of those."""
    if not isinstance(thing, type) or get_origin(thing) is not None:  # Python 3.10 takes list[int] for a class
        return False
    return issubclass(thing, CORRequestHandler) and thing is not CORRequestHandler


def _parameter(handler: type, index: int) -> Any:  # noqa: ANN401 - as above
    found = type_argument(handler, CORRequestHandler, index)
    return MISSING if isinstance(found, TypeVar) else found


def declared(tp: Any, otherwise: str) -> str:  # noqa: ANN401 - as above
    """Write a type ready for the diagram, or *otherwise* where none was declared."""
    return otherwise if tp is MISSING else escape(annotation_text(tp))


def _signature(handler: type) -> str:
    request, response = _parameter(handler, 0), _parameter(handler, 1)
    argument = "request" if request is MISSING else f"request: {declared(request, '')}"
    answers_none = any(member in (None, type(None)) for member in union_members(response))
    return f"+handle({argument}) {declared(response, 'response')}{'' if answers_none else ' | None'}"


def shown(tp: Any) -> list[Any]:  # noqa: ANN401 - as above
    """The classes of an annotation that deserve a box of their own: those that are not Python's."""
    classes = [member for member in union_members(tp) if isinstance(get_origin(member) or member, type)]
    return [cls for cls in classes if (get_origin(cls) or cls).__module__ not in ("builtins", "typing")]


def numbered(letter: str, classes: Iterable[Any]) -> dict[Any, str]:
    """Give each class the name by which the diagram's own text refers to it; those that users see may be anything."""
    return {cls: f"{letter}{at}" for at, cls in enumerate(dict.fromkeys(classes), 1)}


def class_box(heading: str, members: Sequence[str]) -> list[str]:
    """Draw one class of a class diagram."""
    if not members:
        return [f"    {heading}"]
    return [f"    {heading} {{", *(f"        {member}" for member in members), "    }"]
