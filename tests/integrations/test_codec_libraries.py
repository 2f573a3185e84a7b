"""Models of pydantic and Structs of msgspec in the codec: as the whole, and inside of other things."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any, Generic, TypeVar
from uuid import UUID

import pytest

pydantic = pytest.importorskip("pydantic")
msgspec = pytest.importorskip("msgspec")

import cqrs_core as cqrs  # noqa: E402 - after the question whether the libraries are there
from cqrs_core.serialization import CodecError, UnsupportedType, codec_for  # noqa: E402 - without the library none of it is run

T = TypeVar("T")
AT = datetime(2026, 11, 24, 12, 30, tzinfo=timezone.utc)
ID = UUID("12345678-1234-4234-8234-123456789abc")


class ModelLine(pydantic.BaseModel):  # type: ignore[misc, name-defined]  # imported by importorskip
    sku: str
    price: Decimal = pydantic.Field(default=Decimal(1), gt=0)


class Model(pydantic.BaseModel):  # type: ignore[misc, name-defined]  # ditto
    model_config = pydantic.ConfigDict(strict=True)

    order_id: UUID = pydantic.Field(alias="orderId")
    at: datetime
    lines: tuple[ModelLine, ...] = ()
    stock: dict[int, int | list[int]] = pydantic.Field(default_factory=dict)
    weight: float = 1.0


class StructLine(msgspec.Struct):  # type: ignore[misc, name-defined]  # ditto
    sku: str
    price: Decimal = Decimal(1)


class Struct(msgspec.Struct, rename={"order_id": "orderId"}):  # type: ignore[call-arg, misc, name-defined]  # ditto
    order_id: UUID
    at: datetime
    lines: tuple[StructLine, ...] = ()
    stock: dict[int, int | list[int]] = msgspec.field(default_factory=dict)
    weight: float = 1.0


class ModelPage(pydantic.BaseModel, Generic[T]):  # type: ignore[misc, name-defined]  # ditto
    items: list[T]


class StructPage(msgspec.Struct, Generic[T]):  # type: ignore[misc, name-defined]  # ditto
    items: list[T]


class Listed(pydantic.RootModel[list[int]]):  # type: ignore[misc, name-defined]  # ditto
    pass


class Packed(msgspec.Struct, array_like=True):  # type: ignore[call-arg, misc, name-defined]  # ditto
    x: int


@dataclass
class Batch:
    models: list[Model]
    structs: dict[str, Struct]
    either: ModelLine | StructLine | None = None


@pydantic.dataclasses.dataclass
class Checked:
    count: int = pydantic.Field(gt=0)


class ByHand(cqrs.Response):
    def __init__(self, count: int) -> None:
        self.count = count


MODEL = Model(orderId=ID, at=AT, lines=(ModelLine(sku="a", price=Decimal("1.50")),), stock={1: 2})
STRUCT = Struct(ID, AT, (StructLine("a", Decimal("1.50")),), {1: 2})
TEXT = (
    f'{{"orderId":"{ID}","at":"2026-11-24T12:30:00Z","lines":[{{"sku":"a","price":"1.50"}}],'
    '"stock":{"1":2},"weight":1.0}'
)
LIBRARIES = pytest.mark.parametrize("value", [MODEL, STRUCT], ids=["pydantic", "msgspec"])


@LIBRARIES
def test_a_model_is_written_and_read_as_the_whole(value: Any) -> None:
    """Under the names that it reads, keys as strings; a strict model takes its own text back."""
    codec: Any = codec_for(type(value))

    assert TEXT.encode() == codec.encode(value)
    assert value == codec.decode(TEXT)
    assert value == codec.from_plain(codec.to_plain(value))


def test_models_are_fields_and_members_of_unions_like_dataclasses() -> None:
    """Nobody has to register them; in a union they carry a tag that their library does not see."""
    batch = Batch([MODEL], {"a": STRUCT}, StructLine("b"))

    data = codec_for(Batch).encode(batch)

    assert data.endswith(b'"either":{"$type":"StructLine","sku":"b","price":"1"}}')
    assert batch == codec_for(Batch).decode(data)


@pytest.mark.parametrize("page", [ModelPage, StructPage])
def test_generic_models_are_told_what_they_hold(page: Any) -> None:
    """By their own class, or by the alias."""
    value = page[UUID](items=[ID])

    assert value == codec_for(page[UUID]).decode(codec_for(page[UUID]).encode(value))
    with pytest.raises(CodecError, match=r"^items\[0\]: refused by "):
        codec_for(page[UUID]).decode('{"items":[1]}')


@LIBRARIES
@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"lines": [{"sku": "a"}, {"sku": 5}]}, "lines[1].sku"),
        ({"at": "yesterday"}, "at"),
        ({"stock": {"a": 1}}, "stock"),
        ({"stock": {"1": ["hunter2"]}}, "stock"),
        ({"weight": "hunter2"}, "weight"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused_with_the_librarys_path_behind_ours(value: Any, change: Any, path: str) -> None:
    """As far as the library tells it, and never further than the input goes; the value is not shown."""
    cls = type(value)
    plain: Any = {**codec_for(cls).to_plain(value), **change}
    for read, whole, before in ((codec_for(cls), plain, ""), (codec_for(list[cls]), [plain], "[0].")):  # type: ignore[valid-type]  # a class
        with pytest.raises(CodecError) as caught:
            read.from_plain(whole)
        assert caught.value.path.startswith(before + path)
        assert f"refused by {cls.__name__}: " in caught.value.problem
        assert "hunter2" not in str(caught.value)
        assert "ValidationError" == type(caught.value.__cause__).__name__


def test_a_field_that_is_missing_is_named() -> None:
    """By pydantic in the path, as for dataclasses; by msgspec in its text only."""
    with pytest.raises(CodecError, match=r"^\[0\]\.lines\[0\]\.sku: missing$"):
        codec_for(list[Model]).decode(f'[{{"orderId":"{ID}","at":"2026-11-24T12:30:00Z","lines":[{{}}]}}]')
    with pytest.raises(CodecError, match=r"^\[0\]\.lines\[0\]: refused by Struct: .*missing required field `sku`$"):
        codec_for(list[Struct]).decode(f'[{{"orderId":"{ID}","at":"2026-11-24T12:30:00Z","lines":[{{}}]}}]')


def test_a_model_with_wrong_values_is_not_written() -> None:
    """Neither library looks at them again by itself; NaN is refused by the codec."""
    with pytest.raises(CodecError, match=r"^\[0\]: refused by ModelLine \(PydanticSerializationError\)$"):
        codec_for(list[ModelLine]).encode([ModelLine.model_construct(sku=5)])
    with pytest.raises(CodecError, match=r"^\[0\]\.sku: refused by StructLine: Expected `str`, got `int`$"):
        codec_for(list[StructLine]).encode([StructLine(5)])
    for value in (MODEL.model_copy(update={"weight": float("nan")}), msgspec.structs.replace(STRUCT, weight=1e999)):
        with pytest.raises(CodecError, match=r"weight: expected JSON, got float that is not finite$"):
            codec_for(type(value)).encode(value)


@pytest.mark.parametrize("data", [b"", b"[]", b"5", b'{"orderId":NaN}', b'"\xff"', b'{"lines":[1e999]}'])
@LIBRARIES
def test_bad_text_never_reaches_the_library(value: Any, data: bytes) -> None:
    """One error for whoever reads from outside."""
    with pytest.raises(CodecError):
        codec_for(type(value)).decode(data)


@LIBRARIES
def test_random_damage_gives_a_value_or_an_error_whose_path_leads_into_it(value: Any) -> None:
    """Whatever the library says, and wherever it says that it is."""
    pytest.importorskip("hypothesis")
    import hypothesis.strategies as st
    from hypothesis import given, settings

    codec: Any = codec_for(type(value))
    words = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("sku")
    parts = st.recursive(
        words,
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(words.map(str), inner, max_size=2),
        max_leaves=3,
    )
    names = st.sampled_from(["orderId", "at", "lines", "stock", "weight", "sku", "1"])

    @settings(max_examples=80, deadline=None, database=None, derandomize=True)
    @given(st.dictionaries(names, parts | st.lists(st.dictionaries(names, parts), max_size=2), max_size=3))
    def damage(change: Any) -> None:
        plain = {**codec.to_plain(value), **change}
        try:
            codec.encode(codec.from_plain(plain))
        except CodecError as error:
            *way, last = error.steps or (None,)
            for step in way:
                plain = plain[step]
            if error.steps and error.problem != "missing":
                plain[last]

    damage()


@pytest.mark.parametrize("cls", [Listed, Packed])
def test_a_model_that_is_no_object_is_refused_when_compiled(cls: Any) -> None:
    """It could not be told from other members of a union."""
    with pytest.raises(UnsupportedType, match=rf"at \[\]: {cls.__name__} is no object in JSON"):
        codec_for(list[cls])


def test_a_dataclass_of_pydantics_is_refused_with_its_field_and_without_its_value() -> None:
    """It is read like any dataclass; its constructor checks more."""
    assert Checked(3) == codec_for(Checked).decode('{"count":3}')
    with pytest.raises(CodecError, match=r"^\[0\]\.count: refused by its constructor: Input should be greater than 0$"):
        codec_for(list[Checked]).decode('[{"count":-77}]')


def test_a_message_that_makes_its_own_instances_is_refused_when_compiled() -> None:
    """The methods that it inherits are not its own: they would come back to the codec."""
    with pytest.raises(UnsupportedType, match=r"at \[\]: ByHand has no form in JSON"):
        codec_for(list[ByHand])


def test_a_payload_that_is_a_model_travels_in_a_notification() -> None:
    """What publishing asks of the codec."""
    event_type: Any = cqrs.NotificationEvent[Model]
    event = event_type(event_name="Ordered", payload=MODEL)

    assert event == codec_for(event_type).decode(codec_for(event_type).encode(event))
