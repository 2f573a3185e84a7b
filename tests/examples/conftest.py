"""The folder of the examples, and the package of the demo in it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

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
