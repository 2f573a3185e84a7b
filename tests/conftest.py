"""What every test relies on: the installed core, the event loops, and what it needs of the machine."""

from __future__ import annotations

import importlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest


def pytest_configure() -> None:
    """Stop before the first test when ``cqrs_core`` is not the installed package."""
    try:
        core = importlib.import_module("cqrs_core")
    except ModuleNotFoundError as error:
        if error.name != "cqrs_core":
            raise
        found = "is not installed"
    else:
        if getattr(core, "__file__", None) is not None:
            return
        # From the root of the repository, the folder of the distribution answers to the package's name.
        found = "is only the folder cqrs_core/ of the repository, not the installed package"
    pytest.exit(
        f"cqrs_core {found}. Install the workspace: 'uv sync', or 'python -m pip install -e ./cqrs_core "
        "-e ./cqrs_kafka -e ./cqrs_sqla -e ./cqrs_breaker', or run the tests with 'nox -s tests'.",
        returncode=pytest.ExitCode.USAGE_ERROR,
    )


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """The loops on which every async test runs; a folder whose client library knows asyncio alone overrides it."""
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def without() -> Callable[[str], NoReturn]:
    """Say what is missing: a test is skipped for it, but not where nobody reads along."""
    return _without


@pytest.fixture(scope="session")
def server_at() -> Callable[[str], str]:
    """Give where a server is, which a variable of the environment tells; without one it is missing."""

    def server_at(variable: str) -> str:
        return os.environ.get(variable) or _without(
            f'{variable} is not set: eval "$(scripts/services start)" starts what it names'
        )

    return server_at


@pytest.fixture(scope="session")
def servers_folder() -> Iterator[Path]:
    """Where tests keep servers of their own, each in a folder of its own that is not there yet."""
    # Below the temporary folder and not pytest's, which only its owner enters: root starts servers as somebody else.
    with tempfile.TemporaryDirectory(prefix="cqrs-servers-") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


def _without(reason: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(f"{reason}, and CI is set.")
    pytest.skip(f"{reason}.")
