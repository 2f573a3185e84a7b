"""``to_dict`` and ``from_dict`` of messages that other libraries make."""

from __future__ import annotations

import pytest

import cqrs_core as cqrs

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


@pytest.mark.parametrize(("cls", "error"), [(Model, pydantic.ValidationError), (Record, msgspec.ValidationError)])
def test_what_does_not_fit_is_refused_by_their_libraries(cls: type[cqrs.Response], error: type[Exception]) -> None:
    """With the errors that their users know."""
    with pytest.raises(error):
        cls.from_dict(count="many")
