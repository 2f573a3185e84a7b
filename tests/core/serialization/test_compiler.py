"""Types that could not be read back are refused at start."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from cqrs_core.errors import CqrsError
from cqrs_core.serialization import UnsupportedType, codec_for


@dataclass
class Line:
    price: complex


@dataclass
class Order:
    lines: list[Line]
    again: list[Order]


@dataclass
class Holder:
    by_name: dict[str, tuple[int, Order | None]]


@pytest.mark.parametrize(
    ("tp", "path"),
    [
        (complex, ""),
        (Order, "lines[].price"),
        (Holder, "by_name[][1].lines[].price"),
        (Callable[[int], str], ""),
        (type[int], ""),
        (tuple[complex, ...], "[]"),
    ],
    ids=str,
)
def test_the_type_that_is_at_fault_is_named_with_the_way_to_it(tp: Any, path: str) -> None:
    """The text names the type that was asked for as well, and the cure."""
    with pytest.raises(UnsupportedType, match=r"has no form in JSON") as caught:
        codec_for(tp)
    assert path == caught.value.path
    assert isinstance(caught.value, CqrsError)
    assert isinstance(caught.value, TypeError)
    assert "Make it a dataclass" in caught.value.cure
    if path == "lines[].price":
        assert str(caught.value).startswith("In Order at lines[].price: complex has no form in JSON. Make it")


def test_a_refused_type_leaves_no_half_of_itself() -> None:
    """A recursive type is refused the second time too, and what is sound in it can be used."""
    for _ in range(2):
        with pytest.raises(UnsupportedType, match=r"complex"):
            codec_for(Order)
    assert b"[1]" == codec_for(list[int]).encode([1])


def test_the_error_survives_a_process_boundary() -> None:
    """Test runners send errors from their workers."""
    with pytest.raises(UnsupportedType) as caught:
        codec_for(list[complex])
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (complex, "[]", caught.value.problem) == (copy.tp, copy.path, copy.problem)


def test_importing_the_package_loads_no_compiler() -> None:
    """A program that writes no JSON does not pay for it, nor for decimal."""
    program = (
        "import sys; import cqrs_core.serialization.codec, cqrs_core.serialization.foreign;"
        "names = {'cqrs_core.serialization.compiler', 'decimal'};"
        "print(sorted(names & {name for name in sys.modules}))"
    )
    found = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path[:] = {sys.path!r}; {program}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "[]" == found.stdout.strip()
