"""Instances are whole, whether a constructor made them or not."""

from __future__ import annotations

import pickle
from dataclasses import InitVar, dataclass, field
from typing import Any

import pytest

from cqrs_core.serialization import CodecError, UnsupportedType, codec_for

OPTIONS: list[dict[str, bool]] = [
    {},
    {"frozen": True},
    {"slots": True},
    {"frozen": True, "slots": True},
    {"frozen": True, "slots": True, "kw_only": True},
    {"kw_only": True, "order": True},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_instances_made_without_constructor_are_whole(options: dict[str, bool]) -> None:
    """Equal, hashable, printable; also if a child without slots overrides a slot of its parent with a default."""
    parent: Any = dataclass(**options)(type("Parent", (), {"__annotations__": {"a": int, "b": str}, "b": "x"}))
    child: Any = dataclass(**{**options, "slots": False})(
        type("Child", (parent,), {"__annotations__": {"a": int}, "a": 5})
    )

    assert parent(a=1, b="y") == codec_for(parent).decode(b'{"a":1,"b":"y"}')
    assert repr(child(a=7, b="y")) == repr(codec_for(child).decode(b'{"a":7,"b":"y"}'))
    if options.get("frozen"):
        assert hash(parent(a=1)) == hash(codec_for(parent).decode(b'{"a":1}'))


@dataclass(frozen=True, slots=True)
class Slotted:
    a: int


def test_an_instance_made_without_constructor_can_be_pickled() -> None:
    """As any other."""
    read = codec_for(Slotted).decode(b'{"a":1}')
    assert Slotted(1) == pickle.loads(pickle.dumps(read))


def test_a_constructor_that_does_anything_is_called() -> None:
    """``__post_init__``, an own ``__init__``, ``__setattr__``, ``__new__``, a default for what is not sent."""

    @dataclass
    class Own:
        n: int

        def __init__(self, n: int) -> None:
            self.n = n + 1

    @dataclass
    class Watched:
        n: int

        def __setattr__(self, name: str, value: Any) -> None:
            object.__setattr__(self, name, value * 2)

    @dataclass
    class Cached:
        n: int
        cache: dict[str, int] = field(init=False, default_factory=dict)

    @dataclass
    class Scaled:
        n: int
        by: InitVar[int] = 2

    @dataclass
    class Counted:
        n: int
        made = 0

        def __new__(cls, *_: Any, **__: Any) -> Any:
            cls.made += 1
            return super().__new__(cls)

    assert 3 == codec_for(Own).decode(b'{"n":2}').n
    assert 4 == codec_for(Watched).decode(b'{"n":2}').n
    assert {} == codec_for(Cached).decode(b'{"n":2}').cache
    assert 2 == codec_for(Scaled).decode(b'{"n":2}').n
    assert 2 == codec_for(Counted).decode(b'{"n":2}').n
    assert 1 == Counted.made


def test_a_metaclass_that_makes_instances_is_asked() -> None:
    """Singletons and registries work that way."""
    made = []

    class Registering(type):
        def __call__(cls, *arguments: Any, **named: Any) -> Any:
            made.append(cls.__name__)
            return super().__call__(*arguments, **named)

    @dataclass
    class Registered(metaclass=Registering):
        n: int

    codec_for(Registered).decode(b'{"n":2}')
    assert ["Registered"] == made


def test_a_data_descriptor_gets_the_value() -> None:
    """A frozen class stores past its own ``__setattr__``, but not past a descriptor."""

    class Doubling:
        def __set__(self, instance: Any, value: int) -> None:
            instance.__dict__["n"] = value * 2

        def __get__(self, instance: Any, owner: type) -> Any:
            if instance is None:
                raise AttributeError
            return instance.__dict__["n"]

    @dataclass(frozen=True)
    class Described:
        n: int = Doubling()  # type: ignore[assignment]  # as the documentation of dataclasses does it

    assert 4 == codec_for(Described).decode(b'{"n":2}').n


def test_what_a_constructor_refuses_is_refused_with_its_place() -> None:
    """A ValueError is the author's word and quoted; of others, whose texts may hold values, only the class is shown."""

    @dataclass(frozen=True)
    class Positive:
        n: int

        def __post_init__(self) -> None:
            if self.n < 0:
                raise ValueError("n must be positive")
            if not self.n:
                raise KeyError(self.n)

    with pytest.raises(CodecError, match=r"^\[1\]: refused: n must be positive$"):
        codec_for(list[Positive]).decode(b'[{"n":1},{"n":-1}]')
    with pytest.raises(CodecError, match=r"^\[0\]: refused: KeyError$"):
        codec_for(list[Positive]).decode(b'[{"n":0}]')


def test_a_constructor_that_does_not_fit_the_fields_is_refused_when_compiled() -> None:
    """An InitVar without default is not stored, so it cannot be sent."""

    @dataclass
    class Raw:
        raw: InitVar[str]

    @dataclass
    class Other:
        a: int

        def __init__(self) -> None:
            self.a = 1

    @dataclass
    class Anything:
        a: int

        def __init__(self, **values: int) -> None:
            self.a = values["a"]

    with pytest.raises(UnsupportedType, match=r"Raw needs 'raw', which is not stored as a field"):
        codec_for(Raw)
    with pytest.raises(UnsupportedType, match=r"Other does not take its field 'a'"):
        codec_for(Other)
    assert 1 == codec_for(Anything).decode(b'{"a":1}').a
