"""
How a type looks in JSON, as pieces of Python source: the vocabulary that all other modules of the compiler speak.

In a piece, ``$`` stands for the variable that holds the value. Pieces are statements that check (they may raise
anything if the value is wrong, and may replace it), expressions that convert, and a slot: what stands for the value in
an f-string between single quotes.
"""

from __future__ import annotations

import re
import textwrap
from types import NoneType
from typing import NamedTuple

#: The first member of an object that stands in a union of several; no field of a dataclass can have this name.
TAG = "$type"


class Form(NamedTuple):
    """
    One type, both ways.

    Attributes:
        expected: What error texts call it.
        python_types: What its values are in Python; a union chooses the writer by them.
        json_types: What ``json`` makes of its text; a union chooses the reader by them.
        tag: The value of ``"$type"`` in unions; empty for what cannot be tagged.
        check_write: Statements before ``write``.
        write: Expression for what is put into the slot.
        slot: Piece of an f-string; the bare ``{$}`` says that ``write``, if there is one, gives the whole text.
        check_read: Statements before ``read``.
        read: Expression for the value in Python.
        lenient_python_types: What is written too, if no other member of a union is meant.
        lenient_json_types: What is read too, if no other member of a union is meant.
        drops_tag: Whether ``"$type"`` must be taken off before it is read.
    """

    expected: str
    python_types: tuple[type, ...]
    json_types: tuple[type, ...]
    tag: str = ""
    check_write: str = ""
    write: str = "$"
    slot: str = "{$}"
    check_read: str = ""
    read: str = "$"
    lenient_python_types: tuple[type, ...] = ()
    lenient_json_types: tuple[type, ...] = ()
    drops_tag: bool = False

    @property
    def write_function(self) -> str:
        """The name of the function that writes the whole text; empty if no single one does."""
        return _called(self.write) if self.slot == "{$}" and not self.check_write else ""

    @property
    def read_function(self) -> str:
        """The name of the function that reads the whole value; empty if no single one does."""
        return "" if self.check_read else _called(self.read)

    def writing(self, variable: str) -> str:
        """Give the statements after which *variable* is ready for the slot."""
        return lines(self.check_write, "" if self.write == "$" else f"$ = {self.write}").replace("$", variable)

    def slot_of(self, variable: str) -> str:
        """Give the slot of *variable* once :meth:`writing` is done."""
        return self.slot.replace("$", variable)

    def text(self, variable: str) -> str:
        """Give the expression for the whole text of *variable* once ``check_write`` is done."""
        if self.slot == "{$}" and self.write != "$":
            return self.write.replace("$", variable)
        return f"f'{self.slot.replace('$', self.write)}'".replace("$", variable)

    def reading(self, variable: str) -> str:
        """Give the statements that check *variable* and replace it by its value in Python."""
        return lines(self.check_read, "" if self.read == "$" else f"$ = {self.read}").replace("$", variable)


#: ``Any``: written as what it is, read as plain JSON.
ANYTHING = Form("JSON", (object,), (object,), write="write_any($)")

NULL = Form(
    "None",
    (NoneType,),
    (NoneType,),
    check_write="if $ is not None: raise Mismatch",
    slot="null",
    check_read="if $ is not None: raise Mismatch",
)


def _called(expression: str) -> str:
    call = re.fullmatch(r"(\w+)\(\$\)", expression)
    return call[1] if call else ""


def lines(*parts: str) -> str:
    """Join statements, leaving out those that are not there."""
    return "\n".join(part for part in parts if part)


def block(head: str, *parts: str) -> str:
    """Indent statements below their head."""
    return f"{head}\n{textwrap.indent(lines(*parts), '    ')}"


def must_be(class_name: str, variable: str = "$") -> str:
    """Check for exactly one class."""
    return f"if {variable}.__class__ is not {class_name}: raise Mismatch"


def guard(body: str, fault: str) -> str:
    """
    Turn what goes wrong in *body* into an error that knows its path.

    Args:
        body: Statements.
        fault: Expression for the error to raise, in which ``error`` is what went wrong.
    """
    return lines(
        block("try:", body),
        block("except Exception as error:", f"fault = {fault}", "if fault is error: raise", "raise fault from error"),
    )


def literal(text: str) -> str:
    """Escape text that stands for itself in an f-string between single quotes."""
    for character, escaped in (("\\", "\\\\"), ("'", "\\'"), ("{", "{{"), ("}", "}}")):
        text = text.replace(character, escaped)
    return text
