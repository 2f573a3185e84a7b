"""The folder of the examples, the package of the demo in it, and places for its books."""

from __future__ import annotations

import asyncio
import os
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from cqrs_sqla import make_engine

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
#: What names the server of a database that has one.
SERVERS = {"postgresql": "TEST_POSTGRES_URL", "mariadb": "TEST_MARIADB_URL"}

# As examples/shop/__main__.py does it; here, because the test modules import the package at their top.
sys.path.insert(0, str(EXAMPLES))


@pytest.fixture
def examples() -> Path:
    """The folder of the examples."""
    return EXAMPLES


@pytest.fixture
def sample_log() -> Path:
    """The purchase log that comes with the demo."""
    return EXAMPLES / "data" / "cdnow_sample.txt"


@pytest.fixture
def plain_environment() -> dict[str, str]:
    """The environment of a program that is started anew: output in UTF-8, and no delay before it can be read."""
    return {**os.environ, "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1"}


@pytest.fixture(params=["memory", "sqlite"])
def storage(request: pytest.FixtureRequest, tmp_path: Path, server_at: Callable[[str], str]) -> Iterator[str]:
    """
    What ``--storage`` is given: nothing is there yet, and nothing is left.

    A test that is about more databases, or less, parametrizes it.
    """
    kind: str = request.param
    if kind == "memory":
        yield kind
    elif kind == "sqlite":
        yield f"sqlite:///{tmp_path / 'shop.db'}"
    else:
        yield from _database(server_at(SERVERS[kind]))


@pytest.fixture
def kafka(server_at: Callable[[str], str]) -> str:
    """What ``--broker`` is given for a Kafka, which soon takes a member for dead."""
    return f"kafka://{server_at('TEST_KAFKA_BOOTSTRAP')}?session_timeout_s=6"


def _database(server: str) -> Iterator[str]:
    name = f"cqrs_test_{uuid.uuid4().hex[:12]}"
    asyncio.run(_execute(server, f"CREATE DATABASE {name}"))
    try:
        yield sa.make_url(server).set(database=name).render_as_string(hide_password=False)
    finally:
        asyncio.run(_execute(server, f"DROP DATABASE {name}"))


async def _execute(server: str, statement: str) -> None:
    engine = make_engine(server, isolation_level="AUTOCOMMIT")
    try:
        async with engine.connect() as connection:
            await connection.exec_driver_sql(statement)
    finally:
        await engine.dispose()
