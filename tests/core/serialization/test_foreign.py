"""Classes that know their own JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import pytest

from cqrs_core.serialization import CodecError, UnsupportedType, codec_for, register_foreign

T = TypeVar("T")


class Model:
    """Stands for a library's base class."""

    def __init__(self, **values: Any) -> None:
        self.values = values

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]  # as models are


class User(Model):
    pass


class Page(Model, Generic[T]):
    pass


class Odd(Model):
    pass


class Unknown:
    pass


def read_model(tp: Any, plain: dict[str, Any]) -> Any:
    if "secret" in plain:
        raise ValueError("secret is hunter2")
    if "deep" in plain:
        raise CodecError("expected int, got str", ("deep", 1))
    cls = getattr(tp, "__origin__", tp)
    return cls(**plain, **({"of": str(tp.__args__[0].__name__)} if hasattr(tp, "__args__") else {}))


register_foreign(
    lambda cls: issubclass(cls, Model),
    to_plain=lambda model: [] if isinstance(model, Odd) else model.values,
    from_plain=read_model,
)


@dataclass
class Join:
    user: User
    others: list[User]
    last: User | None = None


@dataclass
class Card:
    name: str


class Custom:
    def __init__(self, user_id: str) -> None:
        self.user_id = user_id

    def to_dict(self) -> dict[str, Any]:
        return {"user_id": self.user_id}

    @classmethod
    def from_dict(cls, **values: Any) -> Custom:
        return cls(values["user_id"])


def test_registered_classes_are_fields_like_others() -> None:
    """In lists, options, and with what the codec can write inside."""
    join = Join(User(name="a"), [User(n=1), User()])

    data = codec_for(Join).encode(join)

    assert b'{"user":{"name":"a"},"others":[{"n":1},{}],"last":null}' == data
    assert join == codec_for(Join).decode(data)
    assert join == codec_for(Join).from_plain(codec_for(Join).to_plain(join))


def test_in_a_union_they_are_tagged_like_dataclasses() -> None:
    """The library does not see the tag: it may refuse what it does not know."""
    codec = codec_for(User | Card)

    assert b'{"$type":"User","name":"a"}' == codec.encode(User(name="a"))
    assert b'{"$type":"User"}' == codec.encode(User())
    assert User(name="a") == codec.decode('{"$type":"User","name":"a"}')


def test_the_library_is_told_the_type_as_annotated() -> None:
    """So that it can fill in its own type variables."""
    assert Page(a=1, of="int") == codec_for(Page[int]).decode('{"a":1}')


def test_what_the_library_raises_is_named_but_not_quoted() -> None:
    """Its texts show what it was given."""
    with pytest.raises(CodecError) as caught:
        codec_for(Join).decode('{"user":{"secret":1}}')
    assert "user: refused by User (ValueError)" == str(caught.value)
    assert isinstance(caught.value.__cause__, ValueError)


def test_the_library_may_say_where_the_fault_is() -> None:
    """Its path is put behind ours."""
    with pytest.raises(CodecError, match=r"^others\[0\]\.deep\[1\]: expected int, got str$"):
        codec_for(Join).decode('{"user":{},"others":[{"deep":1}]}')


def test_their_values_are_objects_of_json_and_of_that_class() -> None:
    """Anything else could not be told from other members of a union; subclasses would lose what is theirs."""
    with pytest.raises(CodecError, match=r"expected a dict from its own serialization, got list"):
        codec_for(Odd).encode(Odd())
    with pytest.raises(CodecError, match=r"expected User, got list"):
        codec_for(User).decode("[]")
    with pytest.raises(CodecError, match=r"expected Model, got User"):
        codec_for(Model).encode(User())
    with pytest.raises(CodecError, match=r"^name: expected JSON, got object$"):
        codec_for(User).encode(User(name=object()))


def test_an_unknown_class_is_refused_when_compiled_with_the_cure() -> None:
    """And is known once it is registered."""
    with pytest.raises(UnsupportedType, match=r"Unknown has no form in JSON") as caught:
        codec_for(list[Unknown])
    assert (Unknown, "[]") == (caught.value.tp, caught.value.path)
    assert "register_foreign" in str(caught.value)

    register_foreign(lambda cls: cls is Unknown, to_plain=lambda _: {}, from_plain=lambda tp, _: tp())

    assert b"[{}]" == codec_for(list[Unknown]).encode([Unknown()])


def test_to_dict_and_from_dict_are_enough() -> None:
    """As python-cqrs asks of custom messages."""
    assert b'[{"user_id":"u"}]' == codec_for(list[Custom]).encode([Custom("u")])
    assert "u" == codec_for(Custom).decode('{"user_id":"u"}').user_id
    with pytest.raises(CodecError, match=r"^refused by Custom \(KeyError\)$"):
        codec_for(Custom).decode("{}")
