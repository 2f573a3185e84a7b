"""
Commands, queries, their responses, and events: what a program says, as data.

The bases are bare: no metaclass, no fields, no ``__dict__``. So a message may be written as an undecorated class, which
becomes a dataclass; as a ``@dataclass``; as a pydantic model; as a msgspec Struct; or by hand.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping  # noqa: TC003 - the annotations of messages are read at run time
from dataclasses import Field, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from cqrs_core.automatic_dataclass import DecoratorWatch, is_foreign_copy, make_dataclass, makes_own_instances
from cqrs_core.errors import InvalidMessageClass
from cqrs_core.type_arguments import MISSING, type_argument

if TYPE_CHECKING:
    from typing_extensions import Self, dataclass_transform
    from typing_extensions import TypeVar as TypeVarWithDefault

    # Both are for type checkers only: at run time the default of R_co plays no part.
    R_co = TypeVarWithDefault("R_co", covariant=True, default=None)
else:
    R_co = TypeVar("R_co", covariant=True)

    def dataclass_transform(**_):  # noqa: ANN003, ANN201 - no type checker looks here
        """Do nothing: what it says is for type checkers."""
        return lambda cls: cls


P = TypeVar("P")


class Message:
    """The root of all messages. Derive from :class:`Request`, :class:`Response` or :class:`Event` instead."""

    __slots__ = ()

    if not TYPE_CHECKING:  # would hide from type checkers what dataclass_transform tells them
        __dataclass_fields__ = DecoratorWatch()
        _dataclass_defaults = {}

    def __init_subclass__(
        cls,
        *,
        automatic: bool = True,
        eq: bool | None = None,
        frozen: bool | None = None,
        kw_only: bool | None = None,
        order: bool | None = None,
        **others: Any,  # noqa: ANN401 - the keywords of other bases
    ) -> None:
        """
        Make *cls* a dataclass, unless it makes its own instances.

        Args:
            automatic: ``False`` for a class decorator other than ``dataclasses.dataclass``, such as ``attrs.define``.
            eq: As for ``dataclass()``; so are ``frozen``, ``kw_only`` and ``order``. Type checkers heed them here, in
                the class line, and not in a decorator on a class like this.
            others: For the other bases.

        Raises:
            InvalidMessageClass: The class cannot be such a dataclass; the text says why and what to write.
            TypeError: As ``dataclass()`` raises it.
        """
        if "slots" in others:
            raise InvalidMessageClass(cls, "has slots in its class line. Write @dataclass(slots=True) above it.")
        if is_foreign_copy(cls):
            problem = (
                "was copied by a decorator that is not dataclasses.dataclass. For another one, such as attrs.define, "
                "write automatic=False in the class line."
            )
            raise InvalidMessageClass(cls, problem)
        super().__init_subclass__(**others)
        named = {"eq": eq, "frozen": frozen, "kw_only": kw_only, "order": order}
        options = {name: value for name, value in named.items() if value is not None}
        if automatic and not makes_own_instances(cls):
            make_dataclass(cls, options, cls._dataclass_defaults)  # type: ignore[attr-defined]  # hidden above
        elif options:
            problem = f"makes its own instances, so {', '.join(options)} in its class line would have no effect."
            raise InvalidMessageClass(cls, f"{problem} Say it where its instances are made.")

    def to_dict(self) -> dict[str, Any]:
        """
        Give this message as a dict of what JSON has; see :mod:`cqrs_core.serialization` for the forms of values.

        Raises:
            CodecError: A field holds something that its type does not allow, or that JSON cannot carry.
            UnsupportedType: A field's type has no form in JSON; or the class makes its own instances, and has no
                ``to_dict`` of its own.
        """
        from cqrs_core.serialization.dicts import to_dict  # noqa: PLC0415 - a first send does not need it

        return to_dict(self)

    @classmethod
    def from_dict(cls, **data: Any) -> Self:  # noqa: ANN401 - of the fields' own types
        """
        Make a message of what :meth:`to_dict` gave, checking every field.

        Args:
            data: The fields. Names that the class does not know are refused in requests, and ignored in responses
                and events, whose senders may be of a newer version.

        Raises:
            CodecError: *data* does not fit; ``path`` leads to the fault.
            UnsupportedType: As for :meth:`to_dict`.
        """
        from cqrs_core.serialization.dicts import from_dict  # noqa: PLC0415 - as above

        return from_dict(cls, data, unknown_fields="refuse" if issubclass(cls, Request) else "ignore")


@dataclass_transform(field_specifiers=(field, Field))
class Request(Message, Generic[R_co]):
    """A command or a query, answered by *R*; ``Request`` without parameter is answered by ``None``."""

    __slots__ = ()


@dataclass_transform(field_specifiers=(field, Field))
class Response(Message):
    """What a handler answers."""

    __slots__ = ()


@dataclass_transform(field_specifiers=(field, Field), frozen_default=True)
class Event(Message):
    """Something that happened. Frozen, because several handlers see the same instance."""

    __slots__ = ()

    if not TYPE_CHECKING:
        _dataclass_defaults = {"frozen": True}


@dataclass_transform(field_specifiers=(field, Field), frozen_default=True)
class DomainEvent(Event):
    """An event for handlers in this process."""

    __slots__ = ()


def _utc_now() -> datetime:
    return datetime.now(timezone.utc)


@dataclass_transform(field_specifiers=(field, Field), frozen_default=True, kw_only_default=True)
class NotificationEvent(Event, Generic[P], frozen=True, kw_only=True):
    """
    An event for other processes. Equal if all fields are; hashed without those that need not be hashable.

    Attributes:
        event_name: What the event is called on the wire.
        topic: Where it is published.
        payload: What happened.
        key: Its ordering key: events of one key stay in order. ``None``: no order is kept.
        headers: Sent beside the payload.
        event_id: Unique; consumers know a repeated delivery by it.
        event_timestamp: When it happened, in UTC, with its time zone.
    """

    if not TYPE_CHECKING:
        _dataclass_defaults = {"frozen": True, "kw_only": True}

    event_name: str
    topic: str = "output_topic"
    payload: P = field(hash=False)
    key: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict, hash=False)
    event_id: uuid.UUID = field(default_factory=uuid.uuid4)
    event_timestamp: datetime = field(default_factory=_utc_now)

    def to_dict(self) -> dict[str, Any]:
        """Give this event as a dict; the payload is written by its own class, whatever was said of it."""
        from cqrs_core.serialization.dicts import to_dict  # noqa: PLC0415 - as above

        cls: Any = type(self)
        is_open = bool(getattr(cls, "__parameters__", ()))
        return to_dict(self, cls[type(self.payload)] if is_open else None)


def response_type(request: Any) -> Any:  # noqa: ANN401 - classes and aliases
    """
    Tell what a request class, or an alias such as ``Page[User]``, is answered with.

    Returns:
        The parameter of ``Request``: ``None`` for ``Request[None]``, a type variable that nobody filled in as it is,
        ``type_arguments.MISSING`` where there is no parameter.

    Raises:
        UnresolvedAnnotation: The parameter is a forward reference that its module does not define.
    """
    found = type_argument(request, Request)
    return None if found is type(None) else found


def payload_type(event: Any) -> Any:  # noqa: ANN401 - as above
    """Tell the payload's type of a notification class or of ``NotificationEvent[P]``; ``Any`` if it was not said."""
    found = type_argument(event, NotificationEvent)
    return Any if found is MISSING or isinstance(found, TypeVar) else found


# The names under which users of python-cqrs know the same classes.
IRequest = Request
DCRequest = Request
IResponse = Response
DCResponse = Response
IEvent = Event
DCEvent = Event
IDomainEvent = DomainEvent
DCDomainEvent = DomainEvent
INotificationEvent = NotificationEvent
DCNotificationEvent = NotificationEvent
