"""Whether a column that is there can hold what is to be put into it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

if TYPE_CHECKING:
    from sqlalchemy.types import TypeEngine

# What a database adds to the name of a type without changing what it holds: MariaDB's widths of numbers, its character
# sets, which are looked at elsewhere.
_TRIMMINGS = re.compile(r"(?<=INT)\(\d+\)|(?<=INTEGER)\(\d+\)| CHARACTER SET \S+| COLLATE \S+")
#: What some databases call a type that others have.
_SAME = {"LONGTEXT": "JSON", "JSONB": "JSON", "INT": "INTEGER"}


def kind_of(column_type: TypeEngine[Any], dialect: sa.Dialect) -> str:
    """Write a type as it would stand in DDL, without what makes no difference."""
    if isinstance(column_type, sa.types.NullType):
        return "that SQLAlchemy does not know"
    return _TRIMMINGS.sub("", column_type.compile(dialect=dialect))


def holds(found: TypeEngine[Any], wanted: TypeEngine[Any], dialect: sa.Dialect) -> bool:
    """Tell whether a column of the type *found* will do where *wanted* was to be."""
    kinds = [kind_of(column_type, dialect) for column_type in (found, wanted)]
    if isinstance(wanted, sa.String) and not isinstance(wanted, sa.Text) and kinds[0].startswith(("VARCHAR", "TEXT")):
        length = found.length if isinstance(found, sa.String) else None
        return length is None or length >= (wanted.length or 0)
    if isinstance(wanted, sa.Text) and kinds[0] == "LONGTEXT":
        return True
    first, second = (_SAME.get(kind, kind) for kind in kinds)
    return first == second
