"""Events that leave the process: which, where to, under which name, and in what form."""

from __future__ import annotations

import inspect
import uuid
from collections.abc import Mapping
from datetime import datetime, timezone
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from cqrs_core import envelope as header
from cqrs_core.clock import SystemClock
from cqrs_core.context import current_message, next_message_id
from cqrs_core.envelope import Envelope, is_reserved, is_text
from cqrs_core.errors import CqrsError, InvalidOption, NotAMessage, UnpublishableEvent, name_of
from cqrs_core.messages import Event, NotificationEvent, payload_type
from cqrs_core.serialization.codec import codec_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from cqrs_core.clock import Clock

    #: The attribute of the event, or what computes the key from the event.
    Key = str | Callable[[Any], object]


class Route(NamedTuple):
    """One way out for the events of one class."""

    topic: str
    name: str
    key: Key | None


class OutgoingEvents:
    """
    What is published beside notifications, which say themselves where they go.

    The body of a message is the event, or the payload of a notification, as JSON; its headers are those of CloudEvents.
    """

    def __init__(self, source: str, *, clock: Clock | None = None) -> None:
        """
        Begin with nothing.

        Args:
            source: Who sends, told in every message: the App's name.
            clock: Tells the time of messages whose events have none.
        """
        self._source = quote(source, errors="replace") or "unnamed"
        self._clock = clock or SystemClock()
        self._routes: dict[type, list[Route]] = {}
        self._problems: list[CqrsError] = []

    def add(self, topic: str, names: Mapping[str, type[Event]], key: Key | None = None) -> None:
        """Publish the events of the classes in *names*, by their names, to *topic*; :meth:`problems` judges it."""
        found = len(self._problems)
        if not _is_name(topic):
            self._problems.append(InvalidOption("topic", topic, "the name of a topic"))
        if not isinstance(names, Mapping) or not names:
            expected = "a dict of event classes by their names, such as {'OrderPlaced': OrderPlaced}"
            self._problems.append(InvalidOption("names", names, expected))
        if len(self._problems) > found:
            return
        for name, event_type in names.items():
            problem = _route_problem(name, event_type, key) or self._name_problem(topic, name)
            if problem is not None:
                self._problems.append(problem)
                continue
            self._routes.setdefault(event_type, []).append(Route(topic, name, key))

    def _name_problem(self, topic: str, name: str) -> CqrsError | None:
        routes = (route for routes in self._routes.values() for route in routes)
        if any((route.topic, route.name) == (topic, name) for route in routes):
            return InvalidOption("names", name, f"names that are not published to {topic!r} yet")
        return None

    def problems(self) -> list[CqrsError]:
        """Tell everything that is wrong with what was added: errors, none of them raised."""
        return [*self._problems, *_codec_problems(self._routes)]

    def __iter__(self) -> Iterator[type]:
        """Iterate over the classes whose events leave the process, notifications aside."""
        return iter(self._routes)

    def goes_to(self, topic: str, event_type: Any) -> bool:  # noqa: ANN401 - a class or an alias
        """Tell whether events of *event_type* are published to *topic*."""
        return any(route.topic == topic for route in self._routes.get(event_type, ()))

    def envelopes(self, event: Event) -> list[Envelope]:
        """
        Write *event* once for each topic that it goes to; all of them, before the first is sent.

        Raises:
            UnpublishableEvent: It has a key, headers or other facts that cannot be written.
            CodecError: It holds something that JSON cannot carry; ``path`` leads to it.
            UnsupportedType: The payload is of a type that has no form in JSON.
        """
        if isinstance(event, NotificationEvent):
            return [self._notification(event)]
        routes = self._routes.get(type(event))
        if routes is None:
            return []
        body = codec_for(type(event)).encode(event)
        time = self._clock.now()
        envelopes: list[Envelope] = []
        for topic, name, key in routes:
            message_id = next_message_id(f"{topic}\n{name}\n{body.decode()}")
            envelopes.append(Envelope(topic, body, _key_of(event, key), self._headers(message_id, name, time)))
        return envelopes

    def _notification(self, event: NotificationEvent[Any]) -> Envelope:
        for fact, fits, expected in _FACTS:
            value = getattr(event, fact)
            if not fits(value):
                raise UnpublishableEvent(type(event), f"has the {fact} {value!r}. It must be {expected}.")
        body = codec_for(_written_type(event)).encode(event.payload)
        headers = self._headers(event.event_id, event.event_name, event.event_timestamp)
        if event.headers:
            headers.update(_own_headers(event))
        return Envelope(event.topic, body, _checked_key(event, event.key), headers)

    def _headers(self, message_id: uuid.UUID, name: str, time: datetime) -> dict[str, str]:
        cause, own_id = current_message(), str(message_id)
        headers = {
            header.SPEC_VERSION: "1.0",
            header.ID: own_id,
            header.TYPE: name,
            header.SOURCE: self._source,
            header.TIME: _utc_text(time),
            header.CONTENT_TYPE: "application/json",
            header.CORRELATION_ID: own_id if cause is None else cause.correlation_id,
        }
        if cause is not None:
            headers[header.CAUSATION_ID] = str(cause.id)
            traced = (header.TRACE_PARENT, header.TRACE_STATE)
            headers.update({of: cause.headers[of] for of in traced if of in cause.headers})
        return headers


def _is_name(value: object) -> bool:
    return isinstance(value, str) and value != "" and is_text(value)


#: What a notification says about itself, and what a message cannot do without.
_FACTS: tuple[tuple[str, Callable[[object], bool], str], ...] = (
    ("topic", _is_name, "the name of a topic"),
    ("event_name", _is_name, "a name"),
    ("event_id", lambda value: isinstance(value, uuid.UUID), "a UUID: consumers know a repeated message by it"),
    ("event_timestamp", lambda value: isinstance(value, datetime), "a datetime"),
    ("headers", lambda value: isinstance(value, (dict, Mapping)), "a dict of texts by their names"),
)


def _written_type(event: NotificationEvent[Any]) -> Any:  # noqa: ANN401 - a class or an alias
    """Give the type by which the payload is written: its class, or what the event's class says beyond it."""
    declared = _declared_payload(type(event))  # type: ignore[arg-type]  # a class is hashable, whatever mypy makes of it
    # A union needs its tags, a generic class its arguments. Of a plain class, a child is written as what it is.
    return type(event.payload) if declared is Any or isinstance(declared, type) else declared


@lru_cache(maxsize=1024)
def _declared_payload(event_type: type) -> Any:  # noqa: ANN401 - a class or an alias
    return payload_type(event_type)


def _route_problem(name: object, event_type: Any, key: object) -> CqrsError | None:  # noqa: ANN401 - may be anything
    if not _is_name(name):
        return InvalidOption("names", name, "names of events, each a text that is not empty")
    if not (isinstance(event_type, type) and issubclass(event_type, Event)):
        return NotAMessage(event_type, Event)
    if issubclass(event_type, NotificationEvent):
        return UnpublishableEvent(event_type, "is a notification, which says itself where it goes: just emit it.")
    if isinstance(key, str):
        return _field_problem(event_type, key)
    return None if key is None or callable(key) else InvalidOption("key", key, "a field's name, or a function")


def _field_problem(event_type: type, key: str) -> CqrsError | None:
    fields = list(getattr(event_type, "__dataclass_fields__", ()))
    fields = fields or [name for cls in event_type.__mro__ for name in inspect.get_annotations(cls)]
    attribute = inspect.getattr_static(event_type, key, None)
    is_method = callable(attribute) or isinstance(attribute, (classmethod, staticmethod))
    if key in fields or (attribute is not None and not is_method):
        return None
    if not fields and not is_method:
        return None  # a class written by hand, which does not tell its fields
    import difflib  # noqa: PLC0415 - for the error only

    close = difflib.get_close_matches(key, fields, 1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return UnpublishableEvent(event_type, f"has no field {key!r} to take its key from.{hint}")


def _codec_problems(event_types: Iterable[type]) -> Iterator[CqrsError]:
    for event_type in event_types:
        try:
            codec_for(event_type)
        except CqrsError as error:
            yield error


def _utc_text(time: datetime) -> str:
    """Write a time as RFC 3339 has it; one without offset is taken for UTC."""
    if time.tzinfo is timezone.utc:
        return f"{time.isoformat()[:-6]}Z"  # what most have, in a third of the time
    offset = time.utcoffset()
    naive = time.replace(tzinfo=None)
    if offset:
        try:
            naive -= offset
        except OverflowError:  # on the first day there is, or the last: it stays as it is
            return time.isoformat()
    return f"{naive.isoformat()}Z"


def _key_of(event: Event, key: Key | None) -> str | None:
    if key is None:
        return None
    return _checked_key(event, getattr(event, key) if isinstance(key, str) else key(event))


def _checked_key(event: Event, value: object) -> str | None:
    # What has one way to be written. Of others, two that are equal might be written differently, and lose their order.
    if value is None:
        return None
    if isinstance(value, str) and is_text(value):
        return str.__str__(value)  # not str(): of an enum of texts that is its name
    if isinstance(value, int) and not isinstance(value, bool):
        return int.__repr__(value)
    if isinstance(value, uuid.UUID):
        return str(value)
    raise UnpublishableEvent(
        type(event), f"has a key of type {name_of(type(value))}. It must be None, an int, a UUID, or Unicode text."
    )


def _own_headers(event: NotificationEvent[Any]) -> dict[str, str]:
    """The headers that the program gave, checked: they must not pass for ours."""
    given: Mapping[Any, Any] = event.headers  # of programs that no type checker has seen
    for name, value in given.items():
        if not (isinstance(name, str) and isinstance(value, str)):
            problem = f"has the header {name!r} of type {name_of(type(value))}. Headers are text: names and values."
            raise UnpublishableEvent(type(event), problem)
        if is_reserved(name):
            problem = f"has the header {name!r}. That name is written by the framework; take another."
            raise UnpublishableEvent(type(event), problem)
        if not (is_text(name) and is_text(value)):
            raise UnpublishableEvent(type(event), f"has the header {name!r}, which is not Unicode text.")
    return dict(event.headers)
