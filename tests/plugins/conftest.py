"""
Wheels of the core, of the siblings and of strangers, and fresh environments to install them into.

Needs uv and hatchling, and an index that has pluggy: ``nox -s plugins``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROOT = Path(__file__).resolve().parents[2]
STRANGERS = Path(__file__).parent / "distributions"
OURS = ["cqrs_breaker", "cqrs_core", "cqrs_kafka", "cqrs_sqla", "examples/write_a_plugin"]

PRELUDE = """
import sys
from cqrs_core.plugins import installed, open_backend

def attempt(kind, spec):
    try:
        made = open_backend(kind, spec)
    except Exception as error:
        print(f"{type(error).__name__}: {error}")
    else:
        print(f"{type(made).__module__} {vars(made)}")
"""


def execute(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command away from the checkout; one that fails fails the test, with what it said."""
    ran = subprocess.run(words, capture_output=True, encoding="utf-8", check=False, timeout=100, cwd=os.path.sep)
    assert not check or 0 == ran.returncode, f"{' '.join(words)}\n{ran.stdout}{ran.stderr}"
    return ran


class Environment:
    """A virtual environment, and the programs that run in it."""

    def __init__(self, folder: Path, wheels: Path) -> None:
        self.scripts = folder / ("Scripts" if os.name == "nt" else "bin")
        self._wheels = wheels
        self._uv = [sys.executable, "-m", "uv"]
        execute(*self._uv, "venv", "--quiet", "--python", sys.executable, str(folder))

    def install(self, *names: str, options: Sequence[str] = ()) -> None:
        """Install what was built here, by its file: an index might have others of these names."""
        wanted = [f"{name} @ {self._wheel(name.partition('[')[0]).as_uri()}" for name in ("cqrs-core", *names)]
        self._pip("install", *options, *wanted)

    def uninstall(self, name: str) -> None:
        """Uninstall a distribution."""
        self._pip("uninstall", name)

    def _pip(self, command: str, *words: str) -> None:
        execute(*self._uv, "pip", command, "--quiet", "--python", str(self.scripts / "python"), *words)

    def _wheel(self, name: str) -> Path:
        (wheel,) = self._wheels.glob(f"{name.replace('-', '_')}-*.whl")
        return wheel

    def run(self, program: str) -> tuple[list[str], str]:
        """Run a program that may use :data:`PRELUDE`; answer the lines that it printed, and its warnings."""
        ran = execute(str(self.scripts / "python"), "-I", "-c", f"{PRELUDE}\n{program}")
        return ran.stdout.splitlines(), ran.stderr

    def command(self, *words: str) -> tuple[int, str]:
        """Run a command that was installed; answer its exit code and what it printed."""
        name, *rest = words
        ran = execute(str(self.scripts / name), *rest, check=False)
        return ran.returncode, ran.stdout


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build everything once."""
    folder = tmp_path_factory.mktemp("wheels")

    def build(source: Path) -> None:
        command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
        ran = subprocess.run(command, cwd=source, capture_output=True, encoding="utf-8", check=False)
        assert 0 == ran.returncode, ran.stderr

    with ThreadPoolExecutor() as pool:
        list(pool.map(build, [*STRANGERS.iterdir(), *(ROOT / name for name in OURS)]))
    return folder


@pytest.fixture
def install(tmp_path: Path, wheels: Path) -> Callable[..., Environment]:
    """Give a function that makes a fresh environment with the core and other distributions."""

    def make(*names: str, options: Sequence[str] = ()) -> Environment:
        environment = Environment(tmp_path / "environment", wheels)
        environment.install(*names, options=options)
        return environment

    return make
