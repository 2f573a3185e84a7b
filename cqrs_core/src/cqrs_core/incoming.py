"""Events that arrive: which names of a topic this process understands, and how their bytes become events again."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Collection, Mapping
from dataclasses import MISSING, fields
from datetime import datetime, timezone
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, get_origin

from cqrs_core import envelope as header
from cqrs_core.context import CurrentMessage
from cqrs_core.envelope import is_reserved, is_text
from cqrs_core.errors import (
    CqrsError,
    InvalidOption,
    NotAMessage,
    UnknownEventName,
    UnreadableEventClass,
    UnreadableMessage,
    name_of,
)
from cqrs_core.messages import Event, NotificationEvent, payload_type
from cqrs_core.serialization.camel_case import camel_case, in_our_form
from cqrs_core.serialization.codec import Codec, codec_for
from cqrs_core.serialization.errors import CodecError

if TYPE_CHECKING:
    from cqrs_core.broker import Delivery
    from cqrs_core.envelope import Envelope

_ANY_OBJECT: Any = dict[str, Any]

#: Where ids of messages that bring none, or none that is unique by itself, are made: the same each time, and for ever,
#: because an inbox keeps them.
_FOREIGN_IDS = uuid.uuid5(uuid.NAMESPACE_URL, "cqrs_core:ce_source,ce_id")
_POSITIONS = uuid.uuid5(uuid.NAMESPACE_URL, "cqrs_core:topic,position")

_UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE).fullmatch
_BARE_UUID = re.compile("[0-9a-f]{32}").fullmatch

#: What a notification has beside its payload.
_FACTS = ("event_name", "topic", "key", "headers", "event_id", "event_timestamp")

#: What a shown name is cut to: it comes from outside.
_LONGEST_NAME = 80


class Arrival(NamedTuple):
    """An event that has arrived, and what its handlers may want to know about the message that brought it."""

    event: Event
    message: CurrentMessage


class _Known(NamedTuple):
    """What one name means."""

    event_class: Any
    #: What the body holds: the event itself, or the payload of a notification.
    body_type: Any
    codec: Codec[Any]
    #: What the class of a notification takes beside the payload; ``None`` if it is none.
    facts: Collection[str] | None


class _Content(NamedTuple):
    """What a message says, however it is written."""

    name: str
    known: _Known
    body: object
    time: datetime
    message_id: uuid.UUID


class IncomingEvents:
    """The events of one topic, by the names that they have on the wire."""

    def __init__(self, topic: str, names: Mapping[str, Any], *, max_body_bytes: int) -> None:
        """
        Take the names; :meth:`problems` judges them.

        Args:
            topic: Where they come from.
            names: Event classes, or ``NotificationEvent[P]``, by their names. Several names may mean one class, so that
                an event can be renamed.
            max_body_bytes: Larger bodies are not parsed; at least 1.
        """
        self.topic = topic
        self.targets: list[Any] = []
        self._max_body_bytes = max_body_bytes
        self._known: dict[str, _Known] = {}
        self._problems: list[CqrsError] = []
        if not isinstance(max_body_bytes, int) or max_body_bytes < 1:
            self._problems.append(InvalidOption("max_body_bytes", max_body_bytes, "a whole number, at least 1"))
        if not isinstance(names, Mapping) or not names:
            expected = "a dict of event classes by their names, such as {'PaymentTaken': PaymentTaken}"
            self._problems.append(InvalidOption("names", names, expected))
            return
        for name, target in names.items():
            self._add(name, target)

    def _add(self, name: object, target: Any) -> None:  # noqa: ANN401 - may be anything
        event_class = get_origin(target) or target
        if not isinstance(name, str) or not name or not is_text(name):
            self._problems.append(InvalidOption("names", name, "names of events, each a text that is not empty"))
        elif not (isinstance(event_class, type) and issubclass(event_class, Event)):
            self._problems.append(NotAMessage(target, Event))
        else:
            try:
                self._known[name] = _meaning_of(target, event_class)
            except CqrsError as error:
                self._problems.append(error)
            if target not in self.targets:
                self.targets.append(target)

    def problems(self) -> list[CqrsError]:
        """Tell everything that is wrong with the names and the classes: errors, none of them raised."""
        return list(self._problems)

    def read(self, delivery: Delivery, *, group: str, attempt: int) -> Arrival:
        """
        Understand one message.

        Raises:
            UnknownEventName: It is of a kind that is not consumed.
            UnreadableMessage: It is of one that is, but does not make sense.
        """
        try:
            content = self._content(delivery)
            event = self._event(content, delivery.envelope)
        except CodecError as error:
            raise UnreadableMessage(self.topic, delivery.position, str(error)) from error
        except _Unreadable as error:
            raise UnreadableMessage(self.topic, delivery.position, str(error)) from error.__cause__
        return Arrival(event, _current(content, delivery, group, attempt))

    def _content(self, delivery: Delivery) -> _Content:
        envelope = delivery.envelope
        name = envelope.headers.get(header.TYPE)
        if name is None:
            return self._content_of_python_cqrs(delivery)
        # Of a name that nobody knows nothing else is looked at: such a message is passed over, whatever is in it.
        known = self._meaning(name, delivery)
        self._check(envelope)
        message_id = _message_id(envelope.headers, self.topic, delivery.position)
        body = known.codec.decode(envelope.body)
        return _Content(name, known, body, _time(envelope.headers.get(header.TIME)), message_id)

    def _content_of_python_cqrs(self, delivery: Delivery) -> _Content:
        """
        Read a whole notification: what python-cqrs writes, in camelCase if it was a dataclass there.

        Its time has no offset. There it is the local time of whoever sent it; here it is taken for UTC, which is what
        servers run in: what they run in is not in the message.
        """
        self._check(delivery.envelope)
        whole = codec_for(_ANY_OBJECT).decode(delivery.envelope.body)
        is_camel_case = "eventName" in whole
        keys = ("event_name", "event_id", "event_timestamp")
        name, message_id, time = (whole.get(camel_case(key) if is_camel_case else key) for key in keys)
        if not isinstance(name, str) or "payload" not in whole:
            raise _Unreadable(
                f"it has no header {header.TYPE}, and its body is not a notification as python-cqrs writes it: with "
                "event_name and payload"
            )
        known = self._meaning(name, delivery)
        try:
            payload = in_our_form(known.body_type, whole["payload"]) if is_camel_case else whole["payload"]
            body = known.codec.from_plain(payload)
        except CodecError as error:
            raise error.within("payload") from error.__cause__
        except RecursionError as error:
            raise _Unreadable("payload: nested too deeply") from error
        given = message_id if isinstance(message_id, str) else ""
        # Its ids are UUIDs, of dataclasses without dashes.
        event_id = uuid.UUID(given) if _BARE_UUID(given) else _id_from(given, self.topic, self.topic, delivery.position)
        return _Content(name, known, body, _time(time), event_id)

    def _meaning(self, name: str, delivery: Delivery) -> _Known:
        if not is_text(name):
            raise _Unreadable(_not_text(header.TYPE))
        known = self._known.get(name)
        if known is None:
            names = ", ".join(sorted(self._known))
            problem = f"it is called {_shown(name)}, which is not consumed. Consumed are: {names}"
            raise UnknownEventName(self.topic, delivery.position, name, problem)
        return known

    def _check(self, envelope: Envelope) -> None:
        """Refuse what need not be read to know that it cannot be read."""
        size = len(envelope.body)
        if size > self._max_body_bytes:
            raise _Unreadable(f"its body has {size:,} bytes, and {self._max_body_bytes:,} are allowed (max_body_bytes)")
        for name, value in envelope.headers.items():
            if is_reserved(name) and not is_text(value):
                raise _Unreadable(_not_text(name))
        kind = envelope.headers.get(header.CONTENT_TYPE, "application/json").partition(";")[0].strip().lower()
        if kind != "application/json" and not kind.endswith("+json"):
            raise _Unreadable(f"its {header.CONTENT_TYPE} is {_shown(kind)}, and only JSON is read here")

    def _event(self, content: _Content, envelope: Envelope) -> Event:
        known = content.known
        if known.facts is None:
            event: Event = content.body  # type: ignore[assignment]  # what the codec of an event class gives
            return event
        facts = {
            "event_name": content.name,
            "topic": envelope.topic,
            "key": envelope.key,
            "headers": {name: value for name, value in envelope.headers.items() if not is_reserved(name)},
            "event_id": content.message_id,
            "event_timestamp": content.time,
        }
        try:
            return known.event_class(  # type: ignore[no-any-return]  # a class of notifications
                payload=content.body, **{name: facts[name] for name in known.facts}
            )
        except Exception as error:  # whatever a class of the program's raises: it must not end the consumer
            problem = f"{name_of(known.event_class)} cannot be made of it ({type(error).__qualname__})"
            raise _Unreadable(problem) from error


class _Unreadable(ValueError):
    """What is wrong with a message, still without the place where it stands."""


def _current(content: _Content, delivery: Delivery, group: str, attempt: int) -> CurrentMessage:
    envelope = delivery.envelope
    return CurrentMessage(
        id=content.message_id,
        name=content.name,
        topic=envelope.topic,
        group=group,
        key=envelope.key,
        headers=MappingProxyType(envelope.headers),  # a fact: what the next attempt reads
        correlation_id=envelope.headers.get(header.CORRELATION_ID) or str(content.message_id),
        causation_id=envelope.headers.get(header.CAUSATION_ID),
        attempt=attempt,
    )


def _meaning_of(target: Any, event_class: Any) -> _Known:  # noqa: ANN401 - classes and aliases
    if not issubclass(event_class, NotificationEvent):
        return _Known(event_class, target, codec_for(target), None)
    body_type = payload_type(target)
    taken = {field.name: field for field in fields(event_class) if field.init}
    for field in taken.values():
        is_needed = field.default is MISSING and field.default_factory is MISSING
        if is_needed and field.name not in (*_FACTS, "payload"):
            raise UnreadableEventClass(event_class, field.name)
    return _Known(event_class, body_type, codec_for(body_type), [name for name in _FACTS if name in taken])


def _message_id(headers: Mapping[str, str], topic: str, position: str) -> uuid.UUID:
    return _id_from(headers.get(header.ID, ""), headers.get(header.SOURCE, ""), topic, position)


def _id_from(given: str, source: str, topic: str, position: str) -> uuid.UUID:
    """Take an id that is unique by itself as it is; make one of another, or of where the message stands."""
    if _UUID(given):
        return uuid.UUID(given)
    if given:
        return uuid.uuid5(_FOREIGN_IDS, json.dumps([source, given]))
    return uuid.uuid5(_POSITIONS, json.dumps([topic, position]))


def _time(text: Any) -> datetime:  # noqa: ANN401 - the codec checks it
    """Read a time, in UTC; one without offset is taken for UTC, and none for now."""
    if text is None:
        return datetime.now(timezone.utc)
    try:
        time: datetime = codec_for(datetime).from_plain(text)
        return time.replace(tzinfo=timezone.utc) if time.tzinfo is None else time.astimezone(timezone.utc)
    except (CodecError, OverflowError) as error:  # on the first day there is, or the last
        raise _Unreadable(f"its time is no time: {error}") from error


def _not_text(name: str) -> str:
    return f"its header {name!r} is not text in UTF-8"


def _shown(name: str) -> str:
    return repr(name) if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]!r}..."
