"""Where a value went wrong is found in one pass."""

from __future__ import annotations

import traceback
from dataclasses import dataclass, field
from decimal import Decimal

import pytest

from cqrs_core.serialization import CodecError, codec_for


@dataclass
class Line:
    sku: str
    price: Decimal


@dataclass
class Tree:
    name: str
    children: list[Tree] = field(default_factory=list)
    index: dict[str, Tree] = field(default_factory=dict)


def test_path_problem_and_steps_are_attributes() -> None:
    """For the headers of a dead letter."""
    with pytest.raises(CodecError) as caught:
        codec_for(dict[str, list[Line]]).decode('{"items":[{"sku":"a","price":"1"},{"sku":1,"price":"1"}]}')

    assert "items[1].sku" == caught.value.path
    assert ("items", 1, "sku") == caught.value.steps
    assert "expected str, got int" == caught.value.problem
    assert "items[1].sku: expected str, got int" == str(caught.value)


def test_a_fault_deep_down_is_found_in_one_pass() -> None:
    """To find the place by doing the work of each level again would take 2**200 steps: an attack by one message."""
    text = '{"name":1}'
    for _ in range(50):
        text = f'{{"name":"a","children":[{{"name":"b"}},{text}],"index":{{}}}}'
        text = f'{{"name":"a","index":{{"k":{text}}}}}'

    with pytest.raises(CodecError, match=r"children\[1\]\.name: expected str, got int$") as caught:
        codec_for(Tree).decode(text)

    assert 201 == len(caught.value.steps)  # 50 times index, "k", children, 1; and name


def test_no_value_is_shown() -> None:
    """It may be a secret; the one exception are words that were to be one of a few."""
    for tp, text in (
        (Line, '{"sku":"a","price":"hunter2"}'),
        (list[int], '["hunter2"]'),
        (Tree, '{"name":["hunter2"]}'),
    ):
        with pytest.raises(CodecError) as caught:
            codec_for(tp).decode(text)
        assert "hunter2" not in str(caught.value)


def test_the_cause_is_kept_and_generated_lines_are_shown() -> None:
    """For whoever debugs the codec or a constructor."""
    with pytest.raises(CodecError) as caught:
        codec_for(Line).decode('{"sku":"a","price":"1.2.3"}')
    assert "x1 = Decimal(x1)" in "".join(traceback.format_exception(caught.value.__cause__))
