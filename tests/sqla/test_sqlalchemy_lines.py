"""Tables that were made under one line of SQLAlchemy are read and written under the other."""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from datetime import datetime, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from cqrs_sqla.storage import SqlAlchemyStorage
from cqrs_sqla.tables import Tables

#: The Python of an environment with the other line; the nox session ``databases`` makes one.
VARIABLE = "TEST_OTHER_SQLALCHEMY_PYTHON"
PROGRAM = Path(__file__).with_name("other_line.py")


@pytest.fixture
def python() -> str:
    """The interpreter of the other environment."""
    found = os.environ.get(VARIABLE)
    if not found:
        pytest.skip(f"{VARIABLE} is not set: 'nox -s databases' sets it to the Python of an environment it makes")
    return found


def run_other(python: str, url: str, sent: uuid.UUID, answered: uuid.UUID) -> list[str]:
    """Run the program under the other line, and give the problems that it sees."""
    command = [python, str(PROGRAM), url, str(sent), str(answered)]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "" == process.stderr
    told = json.loads(process.stdout)
    assert sa.__version__.split(".")[:2] != told["sqlalchemy"].split(".")[:2], "both are of the same line"
    problems: list[str] = told["problems"]
    return problems


def message(message_id: uuid.UUID) -> dict[str, object]:
    """Make a row of the outbox."""
    return {
        "id": message_id,
        "slot": 3,
        "aggregatetype": "orders",
        "type": "OrderPlaced",
        "payload": b"{}",
        "headers": {"a": "b"},
        "created_at": datetime(2026, 2, 3, 4, 5, 6, 789012, tzinfo=timezone.utc),
    }


async def test_tables_made_here_are_used_there(
    engine: AsyncEngine, tables: Tables, database_url: str, python: str
) -> None:
    """A row is found there by its id, and what is written there is found here."""
    sent, answered = uuid.uuid4(), uuid.uuid4()
    async with engine.begin() as connection:
        await connection.execute(sa.insert(tables.outbox), [message(sent)])

    assert [] == run_other(python, database_url, sent, answered)

    async with engine.connect() as connection:
        query = sa.select(tables.outbox).order_by(tables.outbox.c.seq)
        first, second = (dict(row) for row in (await connection.execute(query)).mappings())
    assert (sent, answered) == (first.pop("id"), second.pop("id"))
    assert (1, 2) == (first.pop("seq"), second.pop("seq"))
    assert first == second


async def test_tables_made_there_are_used_here(
    empty_engine: AsyncEngine, tables: Tables, database_url: str, python: str
) -> None:
    assert [] == run_other(python, database_url, uuid.uuid4(), uuid.uuid4())

    sent, answered = uuid.uuid4(), uuid.uuid4()
    async with empty_engine.begin() as connection:
        await connection.execute(sa.insert(tables.outbox), [message(sent)])
    assert [] == run_other(python, database_url, sent, answered)
    assert [] == await SqlAlchemyStorage(empty_engine, tables=tables).check()
    async with empty_engine.connect() as connection:
        found = await connection.scalars(sa.select(tables.outbox.c.seq).where(tables.outbox.c.id == answered))
    assert [2] == list(found)
