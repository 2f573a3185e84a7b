"""Which message classes become dataclasses, and that a decorator finds them as they were written."""

from __future__ import annotations

import abc
import dataclasses
import functools
import gc
import inspect
import itertools
import sys
import threading
import types
import weakref
from collections.abc import Callable, Iterator
from dataclasses import FrozenInstanceError, InitVar, dataclass, field, fields, is_dataclass
from typing import Any, ClassVar, Generic, NamedTuple, Protocol, TypeVar

import pytest

import cqrs_core as cqrs
from cqrs_core.automatic_dataclass import is_foreign_copy, makes_own_instances
from cqrs_core.errors import CqrsError, InvalidMessageClass
from cqrs_core.messages import Message

T = TypeVar("T")
P = TypeVar("P")

BARE_BASES = [cqrs.Request, cqrs.Response, cqrs.Event, cqrs.DomainEvent]


# The guard: messages beside plain dataclasses ------------------------------------------------------------------------
#
# Each base of messages has a twin that knows nothing of messages. Whatever is made of a child of the one is compared
# with the same made of the same child of the other, attribute by attribute, down to the code of the methods.


class PlainBare:
    __slots__ = ()


class PlainGeneric(Generic[T]):
    __slots__ = ()


@dataclass(frozen=True, kw_only=True)
class PlainNotification(Generic[P]):
    event_name: str
    payload: P = field(hash=False)
    headers: dict[str, str] = field(default_factory=dict, hash=False)


class Notification(cqrs.Event, Generic[P], frozen=True, kw_only=True):
    """As NotificationEvent is made, without what differs from one instance to the next."""

    event_name: str
    payload: P = field(hash=False)
    headers: dict[str, str] = field(default_factory=dict, hash=False)


@dataclass
class PlainWithFields(PlainGeneric[int]):
    base_id: str = "b"


class WithFields(cqrs.Request[int]):
    base_id: str = "b"


@dataclass(frozen=True, slots=True)
class PlainSlotted(PlainGeneric[int]):
    base_id: str = "b"


@dataclass(frozen=True, slots=True)
class Slotted(cqrs.Request[int]):
    base_id: str = "b"


class Sized(abc.ABC):
    @abc.abstractmethod
    def size(self) -> int: ...


class HasSize(Protocol):
    def size(self) -> int: ...


class Twins(NamedTuple):
    message: tuple[Any, ...]
    plain: tuple[Any, ...]
    #: Whether a child must, or must not, be frozen; ``None``: as it likes.
    is_frozen: bool | None = None
    #: What the child needs to make an instance.
    arguments: dict[str, Any] = {}


TWINS = {
    "Request": Twins((cqrs.Request,), (PlainGeneric,)),
    "Request[int]": Twins((cqrs.Request[int],), (PlainGeneric[int],)),
    "Response": Twins((cqrs.Response,), (PlainBare,)),
    "Event": Twins((cqrs.Event,), (PlainBare,)),
    "DomainEvent": Twins((cqrs.DomainEvent,), (PlainBare,)),
    "notification": Twins((Notification[int],), (PlainNotification[int],), True, {"event_name": "n", "payload": 1}),
    "undecorated, with fields": Twins((WithFields,), (PlainWithFields,), False),
    "decorated, with slots": Twins((Slotted,), (PlainSlotted,), True),
    "Request[int], abstract class": Twins((cqrs.Request[int], Sized), (PlainGeneric[int], Sized)),
    "abstract class, Response": Twins((Sized, cqrs.Response), (Sized, PlainBare)),
    "Request[int], protocol": Twins((cqrs.Request[int], HasSize), (PlainGeneric[int], HasSize)),
    "protocol, Request[int]": Twins((HasSize, cqrs.Request[int]), (HasSize, PlainGeneric[int])),
}

NON_DEFAULTS: list[dict[str, bool]] = [
    {"init": False},
    {"repr": False},
    {"eq": False},
    {"order": True},
    {"unsafe_hash": True},
    {"frozen": True},
    {"match_args": False},
    {"kw_only": True},
    {"slots": True},
    *([{"weakref_slot": True}] if sys.version_info >= (3, 11) else []),
]
SOME_OPTIONS: list[dict[str, bool]] = [
    {},
    *NON_DEFAULTS,
    {"frozen": True, "slots": True},
    {"frozen": True, "slots": True, "kw_only": True},
    {"frozen": True, "slots": True, "kw_only": True, "order": True},
    {"frozen": True, "slots": True, "eq": False, "match_args": False},
    {"slots": True, "kw_only": True, "order": True, "unsafe_hash": True},
    functools.reduce(lambda one, other: one | other, NON_DEFAULTS) | {"eq": True, "init": True},
]
PAIRS = [one | other for one, other in itertools.combinations(NON_DEFAULTS, 2)]
CLASS_LINE_OPTIONS: list[dict[str, bool]] = [
    dict(zip(("eq", "frozen", "kw_only", "order"), flags, strict=True))
    for flags in itertools.product((False, True), repeat=4)
    if flags != (False, *flags[1:3], True)  # order without eq is an error, below
]


def spelled(options: dict[str, bool]) -> str:
    return ",".join(f"{name}={value}" for name, value in options.items()) or "none"


def documented(bases: tuple[Any, ...], **class_line: bool) -> Any:
    class M(*bases, **class_line):  # type: ignore[misc]  # bases that are known when it runs
        """Documented."""

        z: ClassVar[int] = 1
        a: int = field(default=0, metadata={"unit": "m"})
        b: list[int] = field(default_factory=list, hash=False)
        c: int = field(default=3, repr=False, compare=False)
        d: InitVar[int] = 4
        e: str = field(default="e", kw_only=True)

        def __post_init__(self, d: int) -> None:
            object.__setattr__(self, "b", [d])

        def size(self) -> int:
            return len(self.b)

    return M


def undocumented(bases: tuple[Any, ...], **class_line: bool) -> Any:
    class M(*bases, **class_line):  # type: ignore[misc]  # bases that are known when it runs
        a: int = 0
        b: list[int] = field(default_factory=list, hash=False)
        n: int = field(init=False, default=7)
        _: dataclasses.KW_ONLY
        f: str = "f"

        def size(self) -> int:
            return self.a

    return M


def with_methods_of_its_own(bases: tuple[Any, ...], **class_line: bool) -> Any:
    class M(*bases, **class_line):  # type: ignore[misc]  # bases that are known when it runs
        a: int = 0
        b: list[int] = field(default_factory=list)

        def size(self) -> int:
            return self.a

        def __eq__(self, other: object) -> bool:
            return isinstance(other, M) and self.a == other.a

        def __hash__(self) -> int:
            return self.a

        def __repr__(self) -> str:
            return f"<{self.a}>"

    return M


WRITTEN = [documented, undocumented, with_methods_of_its_own]


def attempt(act: Callable[[], Any]) -> Any:
    """Tell what an act results in: its value, or its error."""
    try:
        return act()
    except Exception as error:  # noqa: BLE001 - compared, whatever it is
        return type(error), str(error).replace("Plain", "")  # what the twins are told apart by


def anatomy(value: Any) -> Any:
    """Reduce an attribute of a class to what must be the same of two classes that were made the same way."""
    if isinstance(value, classmethod | staticmethod):
        value = value.__func__
    if isinstance(value, types.FunctionType):
        inner = inspect.unwrap(value)
        return inner.__code__, inner.__defaults__, inner.__kwdefaults__, inner.__annotations__, value.__qualname__
    if isinstance(value, types.GetSetDescriptorType | types.MemberDescriptorType):
        return type(value), value.__name__
    if type(value).__name__ == "_abc_data":
        return type(value)
    return repr(value)


def described(cls: type, arguments: dict[str, Any]) -> dict[str, Any]:
    """Everything that can be seen of a dataclass: its attributes, and what its instances do."""
    attributes = {
        name: anatomy(value)
        for name, value in vars(cls).items()
        if name not in ("__orig_bases__", "__automatic_dataclass__")  # names its base; is told apart below
    }

    def make() -> Any:
        return cls(**arguments)

    def assigned() -> Any:
        one = make()
        one.a = 9
        return one.a

    def deleted() -> Any:
        one = make()
        del one.a
        return one.a

    acts: dict[str, Callable[[], Any]] = {
        "signature": lambda: str(inspect.signature(cls)),
        "repr": lambda: repr(make()).partition(" at 0x")[0],
        "positional": lambda: repr(cls(5, **arguments)).partition(" at 0x")[0],
        "equal": lambda: make() == make(),
        "equal to another": lambda: make() == cls(a=5, **arguments),
        # Both at once: an object that is gone may leave its place, and with it its hash, to the next.
        "hash": lambda: len({hash(one) for one in (make(), make())}) == 1,
        "order": lambda: make() < cls(a=5, **arguments),
        "assigned": assigned,
        "deleted": deleted,
        "has __dict__": lambda: hasattr(make(), "__dict__"),
        "weakly referenced": lambda: weakref.ref(make()) is not None,
        "replaced": lambda: repr(dataclasses.replace(make(), a=5)).partition(" at 0x")[0],
        "as a dict": lambda: dataclasses.asdict(make()),
        "own lists": lambda: make().b is not make().b,
        "state": lambda: make().__reduce_ex__(2)[2],
    }
    fields_ = [repr(f) for f in cls.__dataclass_fields__.values()]  # type: ignore[attr-defined]  # a dataclass
    return {"attributes": attributes, "fields": fields_, **{name: attempt(act) for name, act in acts.items()}}


def outcome(make: Callable[[], type], arguments: dict[str, Any]) -> Any:
    """Describe a class, or the kind of error that came in its place."""
    try:
        cls = make()
    except (TypeError, ValueError) as error:
        return TypeError if isinstance(error, TypeError) else ValueError
    return described(cls, arguments)


@pytest.mark.parametrize("twins", TWINS.values(), ids=TWINS)
@pytest.mark.parametrize(
    ("write", "options"),
    [
        *(pytest.param(write, options) for write, options in itertools.product(WRITTEN, SOME_OPTIONS)),
        *(pytest.param(documented, options) for options in PAIRS if options not in SOME_OPTIONS),
    ],
    ids=lambda value: spelled(value) if isinstance(value, dict) else value.__name__,
)
def test_a_decorated_message_is_what_dataclass_makes_of_a_plain_class(
    write: Callable[..., Any], options: dict[str, bool], twins: Twins
) -> None:
    """No trace of the automatic dataclass is left, whatever the options; what cannot be is refused for both."""
    expected = outcome(lambda: dataclass(**options)(write(twins.plain)), twins.arguments)
    actual = outcome(lambda: dataclass(**options)(write(twins.message)), twins.arguments)

    assert expected == actual


@pytest.mark.parametrize("twins", TWINS.values(), ids=TWINS)
@pytest.mark.parametrize("write", WRITTEN)
def test_an_undecorated_message_is_a_plain_dataclass(write: Callable[..., Any], twins: Twins) -> None:
    """Frozen if it is an event, or if its base is; nothing else differs from ``@dataclass``."""
    is_frozen = twins.is_frozen or any(base in (cqrs.Event, cqrs.DomainEvent) for base in twins.message)

    expected = described(dataclass(frozen=is_frozen)(write(twins.plain)), twins.arguments)
    actual = described(write(twins.message), twins.arguments)

    assert expected == actual


@pytest.mark.parametrize("twins", TWINS.values(), ids=TWINS)
@pytest.mark.parametrize("options", CLASS_LINE_OPTIONS, ids=spelled)
@pytest.mark.parametrize("write", WRITTEN)
def test_options_in_the_class_line_do_what_they_do_in_the_decorator(
    write: Callable[..., Any], options: dict[str, bool], twins: Twins
) -> None:
    """``class M(Request[R], frozen=True)`` is ``@dataclass(frozen=True)``."""
    expected = outcome(lambda: dataclass(**options)(write(twins.plain)), twins.arguments)
    actual = outcome(lambda: write(twins.message, **options), twins.arguments)

    assert expected == actual


@pytest.mark.parametrize("twins", TWINS.values(), ids=TWINS)
@pytest.mark.parametrize("write", WRITTEN)
def test_options_may_be_said_in_the_class_line_and_in_the_decorator(write: Callable[..., Any], twins: Twins) -> None:
    """As long as they agree; the decorator adds others."""
    options = {"frozen": bool(twins.is_frozen), "kw_only": True}

    expected = described(dataclass(**options, slots=True)(write(twins.plain)), twins.arguments)
    actual = described(dataclass(**options, slots=True)(write(twins.message, **options)), twins.arguments)

    assert expected == actual


@pytest.mark.parametrize("options", NON_DEFAULTS, ids=spelled)
def test_a_second_decorator_does_what_it_does_to_a_plain_class(options: dict[str, bool]) -> None:
    """Only the automatic dataclass makes way; what the author decorated twice is the author's."""
    twins = TWINS["Request[int]"]

    expected = outcome(lambda: dataclass(**options)(dataclass(documented(twins.plain))), {})
    actual = outcome(lambda: dataclass(**options)(dataclass(documented(twins.message))), {})

    assert expected == actual


def test_the_guard_sees_what_a_decorator_on_a_finished_dataclass_would_miss() -> None:
    """Decorating over an automatic dataclass that stays would differ, so the comparison above can fail."""
    once = described(dataclass(frozen=True, kw_only=True)(documented((PlainBare,))), {})
    twice = described(dataclass(kw_only=True)(dataclass(documented((PlainBare,)))), {})

    different = {name for name in once if once[name] != twice[name]}

    assert {"attributes", "assigned", "deleted", "fields", "hash", "positional", "signature"} == different


# What a decorator finds ----------------------------------------------------------------------------------------------


def test_a_decorator_may_come_late() -> None:
    """The function form, on a class that has instances already."""

    class Late(cqrs.Request[None]):
        tags: list[int] = field(default_factory=list)

    Late([1])
    late: Any = dataclass(frozen=True, kw_only=True)(Late)

    assert late is Late
    assert [] == late().tags


def test_dataclasses_that_are_made_by_a_function_may_be_messages() -> None:
    """``dataclasses.make_dataclass`` is a ``class`` statement and a decorator."""
    made: Any = dataclasses.make_dataclass("M", [("a", int)], bases=(cqrs.Request[int],), frozen=True, kw_only=True)

    assert "(*, a: int) -> None" == str(inspect.signature(made))


def test_what_another_decorator_wrote_below_stays() -> None:
    """Only what the automatic dataclass wrote, and nobody has changed since, is taken back."""

    def marked(cls: Any) -> Any:
        cls.mark = "marked"
        cls.__repr__ = lambda _: "marked"
        return cls

    @dataclass(frozen=True)
    @marked
    class Marked(cqrs.Request[None]):
        a: int

    assert ("marked", "marked") == (Marked.mark, repr(Marked(1)))  # type: ignore[attr-defined]  # by the decorator


def test_the_authors_field_is_not_written_to() -> None:
    """``dataclass`` writes kw_only into the Field that it finds, so the automatic one gets a copy."""
    written = field(default=1)

    class Keyed(cqrs.Request[None]):
        a: int = written

    assert dataclasses.MISSING is written.kw_only
    assert "(*, a: 'int' = 1) -> None" == str(inspect.signature(dataclass(kw_only=True)(Keyed)))


def test_nothing_of_ours_keeps_the_class_without_slots() -> None:
    """``slots=True`` makes a second class; the first goes where Python lets it (not before 3.11)."""

    class Base(cqrs.Request[None]):
        __slots__ = ()

    class PlainBase:
        __slots__ = ()

    kept = dataclass(slots=True)(documented((PlainBase,))), dataclass(slots=True)(documented((Base,)))

    gc.collect()

    assert 2 == len(kept)
    assert len(PlainBase.__subclasses__()) == len(Base.__subclasses__())


def test_a_decorated_base_and_an_undecorated_child_are_both_whole() -> None:
    """Each class is judged by itself; fields are inherited from both kinds."""

    @dataclass(kw_only=True, order=True)
    class Base(cqrs.Request[None]):
        a: int

    class Child(Base):
        b: int = 2

    assert ["a", "b"] == [f.name for f in fields(Child)]
    assert Child(a=1) == Child(2, a=1)


def test_a_decorator_on_a_class_that_is_no_message_disturbs_none() -> None:
    """An automatic dataclass makes way for its own decorator only."""

    class Undecorated(cqrs.Request[None]):
        a: int

    before = dict(vars(Undecorated))
    dataclass(frozen=True)(type("Plain", (), {"__annotations__": {"a": int}}))
    dataclass(frozen=True)(type("Other", (cqrs.Request,), {"__annotations__": {"a": int}}))

    assert before == dict(vars(Undecorated))


# Frozen or not -------------------------------------------------------------------------------------------------------


class Loose(cqrs.Request[None]):
    a: int


@dataclass
class DecoratedLoose(cqrs.Request[None]):
    a: int


@dataclass
class DecoratedBelow(Loose):
    pass


class Firm(cqrs.Request[None], frozen=True):
    a: int


@dataclass(frozen=True)
class DecoratedFirm(cqrs.Request[None]):
    a: int


def child_of(*bases: type, **class_line: bool) -> Any:
    return types.new_class("Child", bases, class_line, lambda names: names.update(__annotations__={"b": int}))


@pytest.mark.parametrize(
    ("base", "is_frozen", "how", "cure"),
    [
        (Loose, True, "made a dataclass for being a message", "put frozen=True on Loose, or frozen=False here"),
        (DecoratedLoose, True, "so decorated", "put frozen=True on DecoratedLoose, or frozen=False here"),
        (DecoratedBelow, True, "so decorated", "put frozen=True on DecoratedBelow, or frozen=False here"),
        (Firm, False, "made a dataclass for being a message", "put frozen=False on Firm, or frozen=True here"),
        (DecoratedFirm, False, "so decorated", "put frozen=False on DecoratedFirm, or frozen=True here"),
    ],
)
@pytest.mark.parametrize("is_in_class_line", [True, False])
def test_a_class_that_disagrees_with_its_base_is_refused_with_names_and_cure(
    base: type, how: str, cure: str, *, is_frozen: bool, is_in_class_line: bool
) -> None:
    """Nobody need have decorated the base, so the text must name it, or the reader would not find it."""

    def define() -> Any:
        if is_in_class_line:
            return child_of(base, frozen=is_frozen)
        return dataclass(frozen=is_frozen)(child_of(base))

    with pytest.raises(InvalidMessageClass) as caught:
        define()

    here, there = ("frozen", "not frozen") if is_frozen else ("not frozen", "frozen")
    problem = f"is {here}, but its base {base.__qualname__} is {there} ({how}). A dataclass and its bases must agree: "
    assert f"Child {problem}{cure}." == str(caught.value)
    assert f"{problem}{cure}." == caught.value.problem
    assert "Child" == caught.value.message_class.__name__
    assert (True, True) == (isinstance(caught.value, CqrsError), isinstance(caught.value, TypeError))


@pytest.mark.parametrize("decorate", [lambda cls: cls, dataclass(frozen=True), dataclass(frozen=False)])
@pytest.mark.parametrize("bases", [(Firm, Loose), (Loose, Firm), (DecoratedFirm, DecoratedLoose)])
def test_bases_that_disagree_are_refused_on_every_python(
    bases: tuple[type, ...], decorate: Callable[[type], type]
) -> None:
    """``dataclass(frozen=True)`` alone accepts them up to Python 3.12."""
    with pytest.raises(InvalidMessageClass, match="A dataclass and its bases must agree"):
        decorate(child_of(*bases))


@pytest.mark.parametrize("bases", [(Firm,), (DecoratedFirm,), (Sized, Firm)])
def test_an_undecorated_child_is_frozen_if_its_base_is(bases: tuple[type, ...]) -> None:
    """It would have to be refused otherwise; the base need not be the first."""
    cls = child_of(*bases)
    cls.__abstractmethods__ = frozenset()
    child = cls(1, 2)

    with pytest.raises(FrozenInstanceError):
        child.b = 3


@pytest.mark.parametrize("base", [cqrs.Event, cqrs.DomainEvent])
def test_an_event_may_be_told_not_to_be_frozen(base: type) -> None:
    """By its class line or by its decorator; its children follow."""

    @dataclass
    class Decorated(base):  # type: ignore[misc, valid-type]  # bases that are known when it runs
        a: int

    in_class_line = child_of(child_of(base, frozen=False))(1)
    decorated = Decorated(1)
    in_class_line.b = decorated.a = 2

    assert (2, 2) == (in_class_line.b, decorated.a)


# What is refused, and when -------------------------------------------------------------------------------------------


CONTRADICTIONS = [("eq", False), ("frozen", True), ("order", True)]
if sys.version_info >= (3, 12):  # before, dataclasses do not remember kw_only
    CONTRADICTIONS.append(("kw_only", True))


@pytest.mark.parametrize(("name", "value"), CONTRADICTIONS)
def test_class_line_and_decorator_must_not_contradict(name: str, *, value: bool) -> None:
    """A type checker believes the class line, Python the decorator."""
    # Of two that are decorated at once nothing is said, for it might be said to the wrong one. A class that another
    # test has left, decorated by a library in its own way, is the second until a decorator has been at work after it.
    dataclass(child_of(cqrs.Request))
    cls = child_of(cqrs.Request, **{name: value})

    with pytest.raises(InvalidMessageClass, match=f"has {name}={value} in its class line, but not in its decorator"):
        dataclass(cls)


def test_slots_in_the_class_line_are_refused_with_the_cure() -> None:
    """Slots take a second class, which a base class cannot put in the place of the first."""
    with pytest.raises(
        InvalidMessageClass, match=r"Child has slots in its class line\. Write @dataclass\(slots=True\)"
    ):
        child_of(cqrs.Request, slots=True)


def test_an_unknown_keyword_in_the_class_line_is_refused() -> None:
    """A misspelled option must not pass for one."""
    with pytest.raises(TypeError, match="takes no keyword arguments"):
        child_of(cqrs.Request, frozn=True)


def test_order_without_eq_is_refused_as_dataclass_refuses_it() -> None:
    """Errors that a decorator could not cure are raised by the class statement, as they are."""
    with pytest.raises(ValueError, match="eq must be true if order is true"):
        child_of(cqrs.Request, eq=False, order=True)


@pytest.mark.parametrize(
    ("body", "error", "text"),
    [
        ({"__annotations__": {"a": list}, "a": []}, ValueError, "mutable default"),
        ({"a": field(default=1)}, TypeError, "no type annotation"),
    ],
)
def test_a_field_that_no_decorator_can_cure_is_refused_by_the_class_statement(
    body: dict[str, Any], error: type[Exception], text: str
) -> None:
    """Nothing waits for the first instance that need not."""
    with pytest.raises(error, match=text):
        type("M", (cqrs.Request,), body)


def wrong_order(**class_line: bool) -> Any:
    names = {"__annotations__": {"a": int, "b": int}, "a": 0}
    return types.new_class("Wrong", (cqrs.Request,), class_line, lambda body: body.update(names))


def test_a_wrong_order_of_fields_is_refused_when_the_first_instance_is_made() -> None:
    """Not before, because ``@dataclass(kw_only=True)`` may follow."""
    wrong = wrong_order()

    with pytest.raises(InvalidMessageClass, match=r"'b' follows default argument.*kw_only=True into") as caught:
        wrong(1, 2)

    assert wrong is caught.value.message_class


def test_a_wrong_order_of_fields_is_cured_by_a_decorator() -> None:
    """The planted constructor that refuses is taken back with the rest."""
    cured = dataclass(kw_only=True)(wrong_order())

    assert (0, 2) == (cured(b=2).a, cured(b=2).b)


def test_a_wrong_order_of_fields_is_cured_in_the_class_line() -> None:
    """With kw_only there is no order."""
    assert 2 == wrong_order(kw_only=True)(b=2).b


def test_a_wrong_order_of_fields_that_a_decorator_does_not_cure_is_its_error() -> None:
    """``dataclass`` says it as of any class."""
    wrong = wrong_order()

    with pytest.raises(TypeError, match="'b' follows default argument"):
        dataclass(frozen=True)(wrong)


def test_a_wrong_order_of_fields_beside_options_is_refused_at_once() -> None:
    """Who gives options in the class line gives all of them there."""
    with pytest.raises(TypeError, match="'b' follows default argument"):
        wrong_order(frozen=True)


def test_a_child_of_a_wrong_order_names_itself() -> None:
    """The error is about the class that was called."""
    child = child_of(wrong_order())

    with pytest.raises(InvalidMessageClass, match=r"^Child cannot be made"):
        child(1, 2, 3)


# What is left alone --------------------------------------------------------------------------------------------------


class Custom(cqrs.Request[None]):
    """As users of python-cqrs write it."""

    def __init__(self, user_id: str) -> None:
        self.user_id = user_id

    def to_dict(self) -> dict[str, Any]:
        return {"user_id": self.user_id}

    @classmethod
    def from_dict(cls, **values: Any) -> Any:
        return cls(values["user_id"])


class CustomChild(Custom):
    note: str = ""


class HasUser(Protocol):
    user_id: str


class CustomAfterProtocol(HasUser, cqrs.Request[None]):
    def __init__(self, user_id: str) -> None:
        self.user_id = user_id


class CustomBeforeProtocol(cqrs.Request[None], HasUser):
    def __init__(self, user_id: str) -> None:
        self.user_id = user_id


class Failed(cqrs.DomainEvent, Exception):
    pass


class Opted(cqrs.Request[None], automatic=False):
    user_id: str


class Strange(type):
    pass


class OfStrangeMetaclass(cqrs.Request[None], metaclass=Strange):
    user_id: str


class BareCommand(cqrs.Request[T], Generic[T]):
    __slots__ = ()


LEFT_ALONE = [
    Custom,
    CustomChild,
    CustomAfterProtocol,
    CustomBeforeProtocol,
    Failed,
    Opted,
    OfStrangeMetaclass,
    BareCommand,
]


@pytest.mark.parametrize("cls", LEFT_ALONE)
def test_a_class_that_makes_its_own_instances_is_left_alone(cls: type) -> None:
    """Its own constructor, an inherited one, another metaclass, a bare base, or ``automatic=False``."""
    generated = {"__automatic_dataclass__", "__dataclass_fields__", "__dataclass_params__", "__eq__", "__repr__"}

    assert set() == generated & set(vars(cls))


@pytest.mark.parametrize("cls", [Custom, CustomChild, CustomAfterProtocol, CustomBeforeProtocol])
def test_instances_of_a_class_with_its_own_constructor_are_not_all_equal(cls: Any) -> None:
    """A generated ``__eq__`` would compare no fields."""
    assert cls("a") != cls("b")


def test_a_class_with_its_own_constructor_keeps_its_own_dictionary() -> None:
    """``to_dict`` and ``from_dict`` are the author's, and inherited."""
    made = CustomChild.from_dict(**Custom("a").to_dict())

    assert (CustomChild, "a") == (type(made), made.user_id)


@pytest.mark.parametrize("options", [{"frozen": True}, {"eq": False, "kw_only": True}], ids=spelled)
def test_options_on_a_class_that_is_left_alone_are_refused(options: dict[str, bool]) -> None:
    """They would have no effect, and a type checker would believe them."""
    named = ", ".join(options)

    with pytest.raises(InvalidMessageClass, match=f"makes its own instances, so {named} in its class line"):
        child_of(Custom, **options)


def test_the_decorator_works_on_a_class_that_was_left_alone() -> None:
    """``automatic=False`` saves the double work; nothing is lost by it."""

    @dataclass(frozen=True, slots=True)
    class Manual(cqrs.Request[None], automatic=False):
        a: int

    assert "(a: 'int') -> None" == str(inspect.signature(Manual))
    assert not hasattr(Manual(1), "__dict__")


def test_children_of_a_bare_base_decide_for_themselves() -> None:
    """``__slots__ = ()`` makes a base neither frozen nor not, and slots worth having."""

    @dataclass(frozen=True, slots=True)
    class Firm(BareCommand[int]):
        a: int

    class Loose(BareCommand[int]):
        a: int

    loose = Loose(1)
    loose.a = 2
    assert not hasattr(Firm(1), "__dict__")
    assert 2 == loose.a


def test_a_class_with_slots_by_hand_is_a_dataclass() -> None:
    """Only empty slots say that a class is bare."""

    class ByHand(cqrs.Request[None]):
        __slots__ = ("a",)
        a: int

    assert ByHand(1) == ByHand(1)
    assert not hasattr(ByHand(1), "__dict__")


@pytest.mark.parametrize("base", BARE_BASES)
def test_the_bases_are_bare(base: type) -> None:
    """No metaclass, no room taken, no fields, no constructor: so everything can be mixed in."""
    assert type is type(base)
    assert (0, 0) == (base.__dictoffset__, base.__weakrefoffset__)
    assert not is_dataclass(base)
    assert object.__init__ is base.__init__  # type: ignore[misc]  # of the class
    assert object.__new__ is base.__new__


def test_the_root_shows_an_empty_mapping_to_those_who_read_its_dict() -> None:
    """For pydantic, which reads ``base.__dict__["__dataclass_fields__"].items()`` of every base."""
    assert [] == list(vars(Message)["__dataclass_fields__"].items())


def test_the_root_is_no_dataclass() -> None:
    """To those who ask properly it has no fields."""
    with pytest.raises(TypeError, match="dataclass"):
        fields(Message)


def test_a_class_is_told_to_make_its_own_instances_or_not() -> None:
    """The question that ``__init_subclass__`` asks, of finished classes."""
    assert [True] * len(LEFT_ALONE[:5]) == [makes_own_instances(cls) for cls in LEFT_ALONE[:5]]
    assert not makes_own_instances(type("Plain", (), {}))


def test_only_a_copy_of_an_automatic_dataclass_is_a_foreign_copy() -> None:
    """It carries the record of the original; a child, and a class that was decorated since, do not."""
    original = type("Original", (cqrs.Request,), {"__annotations__": {"a": int}})
    child = type("Child", (original,), {})
    decorated = dataclass(type("Decorated", (cqrs.Request,), {"__annotations__": {"a": int}}))

    assert [True, True, False] == [is_foreign_copy(cls) for cls in (original, child, decorated)]


def test_a_copy_by_another_decorator_is_refused_with_the_cure() -> None:
    """A decorator that copies the class would copy the automatic methods, and take them for the author's."""
    original = child_of(cqrs.Request)
    names = {name: value for name, value in vars(original).items() if name not in ("__dict__", "__weakref__")}

    with pytest.raises(InvalidMessageClass, match=r"write automatic=False in the class line\.$"):
        type("Child", (cqrs.Request,), names)


def test_a_hook_of_the_users_own_sees_the_finished_fields_and_takes_its_own_keyword() -> None:
    """``__init_subclass__`` of a base in between runs around ours."""

    class Topical(cqrs.Request[None]):
        topic: ClassVar[str] = ""

        def __init_subclass__(cls, topic: str = "", **others: Any) -> None:
            super().__init_subclass__(**others)
            cls.topic = f"{topic} with {len(fields(cls))} fields"

    class News(Topical, topic="news", frozen=False):
        a: int
        b: int

    assert "news with 2 fields" == News.topic


def test_a_mixin_behind_the_message_gets_its_keyword() -> None:
    """Keywords that are not options travel on to the other bases."""

    class Tagged:
        tag: ClassVar[str] = ""

        def __init_subclass__(cls, *, tag: str, **others: Any) -> None:
            super().__init_subclass__(**others)
            cls.tag = tag

    class M(cqrs.Request[None], Tagged, tag="x", frozen=True):
        a: int

    assert ("x", True) == (M.tag, M.__dataclass_params__.frozen)  # type: ignore[attr-defined]  # a dataclass


# Threads and memory --------------------------------------------------------------------------------------------------


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """Have threads take turns as often as they can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("hasty_threads")
def test_threads_that_define_classes_at_once_do_not_disturb_each_other() -> None:
    """Each decorator takes back its own class, and the list of classes does not change under those who read it."""
    barrier = threading.Barrier(4)
    expected = {"(*, a: 'int', b: 'list[int]' = <factory>) -> None": 120, "(a: 'int' = 0) -> None": 120}
    signatures: list[str] = []

    def define() -> None:
        barrier.wait()
        for _ in range(30):

            @dataclass(frozen=True, kw_only=True)
            class Decorated(cqrs.Request[None]):
                a: int
                b: list[int] = field(default_factory=list)

            class Undecorated(cqrs.Request[None]):
                a: int = 0

            signatures.extend(str(inspect.signature(cls)) for cls in (Decorated, Undecorated))

    threads = [threading.Thread(target=define) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert expected == {text: signatures.count(text) for text in signatures}  # 4·30 of each


def test_the_error_of_a_decorator_does_not_surface_in_the_class_statement_of_another_thread() -> None:
    """A class statement takes nothing back, not even if a decorator is at work elsewhere."""
    contradicted = child_of(cqrs.Request, frozen=True)
    # As far as the other thread has come: dataclass() puts the new parameters on the class first.
    contradicted.__dataclass_params__ = DecoratedLoose.__dataclass_params__  # type: ignore[attr-defined]  # dataclass() sets it
    before = dict(vars(contradicted))

    child_of(cqrs.Request)

    assert before == dict(vars(contradicted))


@pytest.mark.parametrize(
    "decorate", [lambda cls: cls, dataclass, dataclass(slots=True)], ids=["undecorated", "decorated", "with slots"]
)
@pytest.mark.parametrize("base", BARE_BASES)
def test_classes_that_nobody_needs_are_collected(base: type, decorate: Callable[[type], type]) -> None:
    """The registry is weak; what is remembered of a class lives on the class."""
    original = type("Gone", (base,), {"__annotations__": {"a": int}})
    references = [weakref.ref(original), weakref.ref(decorate(original))]
    del original

    gc.collect()

    assert [None, None] == [reference() for reference in references]


def test_an_instance_that_no_constructor_made_is_whole() -> None:
    """Unpickling calls none, so nothing may wait for the first call."""

    class Fresh(cqrs.Request[None]):
        a: int

    one, two = object.__new__(Fresh), object.__new__(Fresh)
    vars(one)["a"] = vars(two)["a"] = 1

    assert one == two
    assert repr(one).endswith("Fresh(a=1)")
