"""``to_dict`` and ``from_dict`` of messages that other libraries make."""

from __future__ import annotations

import pytest

import cqrs_core as cqrs
from cqrs_core.serialization import CodecError

pydantic = pytest.importorskip("pydantic")
msgspec = pytest.importorskip("msgspec")


class Model(pydantic.BaseModel, cqrs.Response):  # type: ignore[misc, name-defined]  # imported by importorskip
    count: int
    when: str = "now"


class Record(msgspec.Struct, cqrs.Response):  # type: ignore[misc, name-defined]  # ditto
    count: int
    when: str = "now"


@pytest.mark.parametrize("cls", [Model, Record])
def test_a_model_and_a_struct_survive_a_round_trip(cls: type[cqrs.Response]) -> None:
    """They are written and read by their own libraries."""
    message = cls(count=1)  # type: ignore[call-arg]  # of the subclasses

    assert {"count": 1, "when": "now"} == message.to_dict()
    assert message == cls.from_dict(count=1)


@pytest.mark.parametrize("cls", [Model, Record])
def test_what_does_not_fit_is_refused_by_the_codecs_error_with_the_librarys_as_its_cause(
    cls: type[cqrs.Response],
) -> None:
    """The same error whatever a message is made of."""
    with pytest.raises(CodecError, match=rf"^count: refused by {cls.__name__}: ") as caught:
        cls.from_dict(count="many")
    assert "ValidationError" == type(caught.value.__cause__).__name__
