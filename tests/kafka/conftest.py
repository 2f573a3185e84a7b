"""The broker for the tests."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


@pytest.fixture
def anyio_backend() -> str:
    """aiokafka knows asyncio alone."""
    return "asyncio"


@pytest.fixture(scope="session")
def bootstrap() -> str:
    """Where the broker of the tests is; without one they are skipped, but not where nobody reads along."""
    return os.environ.get("TEST_KAFKA_BOOTSTRAP") or _without("TEST_KAFKA_BOOTSTRAP is not set: these need a Kafka")


def _without(reason: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(f"{reason}, and CI is set.")
    pytest.skip(f"{reason}.")
