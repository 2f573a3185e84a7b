"""The statements that make the tables."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import sqlalchemy as sa

from cqrs_sqla.databases import DATABASES
from cqrs_sqla.errors import UnknownDatabase

if TYPE_CHECKING:
    from cqrs_sqla.tables import Tables


def ddl(dialect: str, tables: Tables) -> str:
    """
    Write the statements that make the tables, each ended by a semicolon; it connects to nothing.

    Args:
        dialect: ``postgresql``, ``mysql``, ``mariadb`` or ``sqlite``.

    Raises:
        UnknownDatabase: It is another one.
    """
    if dialect not in DATABASES:
        raise UnknownDatabase(dialect, tuple(DATABASES))
    return "".join(f"{statement};\n" for statement in statements(dialect, list(tables)))


def statements(dialect: str, tables: list[sa.Table]) -> list[str]:
    """List the statements that make some of the tables, and what belongs to them."""
    written: list[str] = []

    def write(statement: sa.ExecutableDDLElement, *_: object, **__: object) -> None:
        text = str(statement.compile(dialect=engine.dialect))
        written.append("\n".join(line.rstrip().replace("\t", "  ") for line in text.strip().splitlines()))

    engine = sa.create_mock_engine(f"{dialect}://", write)
    tables[0].metadata.create_all(engine, tables=tables, checkfirst=False)
    # The indexes of a table are a set: without an order, the same tables would be written otherwise each time.
    groups = groupby(written, key=lambda text: text.startswith("CREATE INDEX "))
    return [text for are_indexes, group in groups for text in (sorted(group) if are_indexes else group)]
