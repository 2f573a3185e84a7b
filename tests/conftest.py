"""What every test relies on: the installed core, and the event loops."""

from __future__ import annotations

import importlib

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
