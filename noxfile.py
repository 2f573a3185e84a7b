"""
What is checked, and how: `nox` runs everything but `bench`, `nox -s tests-3.12 -- tests/core -k scope` a part of it.

Sessions without a version in their name run on the Python that runs nox.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
# What the machine has is what is tested: said aloud when one is missing, and an error where nobody reads along.
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = bool(os.environ.get("CI"))
nox.options.sessions = [
    "lint",
    "imports",
    "typing",
    "tests",
    "kafka",
    "core_alone",
    "plugins",
    "examples",
    "build",
    "demo",
]
# uv trusts the certificates of the machine, as pip does: behind a company's proxy its own would not do.
os.environ.setdefault("UV_SYSTEM_CERTS", "1")

ROOT = Path(__file__).parent
PYPROJECT = nox.project.load_toml(ROOT / "pyproject.toml")
PYTHONS = ["3.10", "3.11", "3.12", "3.13"]
OLDEST_AND_NEWEST = (PYTHONS[0], PYTHONS[-1])
DISTRIBUTIONS = ["cqrs_core", "cqrs_kafka", "cqrs_sqla", "cqrs_breaker"]
#: What `bench` measures the core against, in an environment of its own.
PEERS = ["python-cqrs==5.3.0", "aiobreaker==1.2.0"]


def install_group(session: nox.Session, *groups: str) -> None:
    """Install dependency groups of the root pyproject.toml."""
    if requirements := nox.project.dependency_groups(PYPROJECT, *groups):
        session.install(*requirements)


def install_checkout(session: nox.Session, *groups: str) -> None:
    """Install the four distributions, editable, and dependency groups, in one resolution."""
    editable = [argument for name in DISTRIBUTIONS for argument in ("--editable", f"./{name}")]
    session.install(*editable, *nox.project.dependency_groups(PYPROJECT, *groups))


def build_distribution(session: nox.Session, name: str, dist: Path, *options: str) -> None:
    """Build a distribution into the folder *dist*."""
    session.run("python", "-m", "build", "--installer", "uv", "--outdir", str(dist), *options, name, silent=True)


def python_of(environment: Path) -> str:
    """Answer the interpreter of a virtual environment."""
    return str(environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))


def new_environment(session: nox.Session, folder: Path) -> str:
    """Make an empty environment in *folder*, from the session's Python, and answer its interpreter."""
    session.run("python", "-m", "venv", "--clear", "--without-pip", str(folder))
    return python_of(folder)


@nox.session
def lint(session: nox.Session) -> None:
    """Run the linter, the formatter, and read the changelog fragments."""
    install_group(session, "lint")
    session.run("ruff", "check", *session.posargs)
    session.run("ruff", "format", "--check", "--diff")
    session.run("towncrier", "build", "--draft", "--version", "next", silent=True)


@nox.session
def imports(session: nox.Session) -> None:
    """Check who may import whom: layers, no cycles, nothing but the standard library in the core."""
    install_checkout(session, "imports")
    session.run("lint-imports", "--no-cache", *session.posargs)


@nox.session
def typing(session: nox.Session) -> None:
    """Run mypy and pyright, for the oldest and the newest Python, on the sources and on tests/typing."""
    install_checkout(session, "typing")
    for version in OLDEST_AND_NEWEST:
        session.run("mypy", "--python-version", version, *session.posargs)
        session.run("pyright", "--warnings", "--pythonversion", version, *session.posargs)


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the tests with coverage; arguments after -- go to pytest, in place of the folder tests."""
    install_checkout(session, "test")
    # Each Python its own file: sessions may run side by side.
    coverage = {"COVERAGE_FILE": str(Path(session.create_tmp()) / "coverage")}
    elsewhere = ["tests/examples", "tests/kafka", "tests/plugins/test_distributions.py"]
    paths = session.posargs or ["tests", *(f"--ignore={path}" for path in elsewhere)]
    session.run("coverage", "run", "-m", "pytest", *paths, env=coverage)
    options = ["--fail-under=0"] if session.posargs else ["--omit=*/cqrs_kafka/*"]
    session.run("coverage", "report", *options, env=coverage)


@nox.session(python=OLDEST_AND_NEWEST)
def kafka(session: nox.Session) -> None:
    """
    Run tests/kafka, with the oldest aiokafka on the oldest Python; arguments after -- go to pytest.

    The server is that of `eval "$(scripts/services start kafka)"`; without, what needs none is tested.
    """
    install_checkout(session, "test-kafka")
    if session.python == PYTHONS[0]:
        session.install("aiokafka==0.13.0")
    coverage = {"COVERAGE_FILE": str(Path(session.create_tmp()) / "coverage")}
    session.run("coverage", "run", "-m", "pytest", *(session.posargs or ["tests/kafka"]), env=coverage)
    is_whole = not session.posargs and "TEST_KAFKA_BOOTSTRAP" in os.environ
    # What is left are ways out of what aiokafka does when the machine is slow.
    options = ["--include=*/cqrs_kafka/*", f"--fail-under={94 if is_whole else 0}"]
    session.run("coverage", "report", *options, env=coverage)


@nox.session(python=PYTHONS)
def core_alone(session: nox.Session) -> None:
    """Install the core's wheel alone, outside the checkout: one distribution, nothing foreign loaded, tests pass."""
    session.install("build[uv]", "pip>=23.1")
    with tempfile.TemporaryDirectory(prefix="core-alone-") as folder:
        outside = Path(folder).resolve()
        build_distribution(session, "cqrs_core", outside / "dist", "--wheel")
        (wheel,) = (outside / "dist").glob("*.whl")
        python = new_environment(session, outside / "environment")
        # No index to ask: a dependency would be an error.
        session.run("python", "-m", "pip", "--python", python, "install", "--quiet", "--no-index", str(wheel))
        session.run(python, "-I", "scripts/check_core_alone.py", external=True)

        tools = nox.project.dependency_groups(PYPROJECT, "test-core")
        session.run("python", "-m", "pip", "--python", python, "install", "--quiet", *tools)
        shutil.copy("pyproject.toml", outside)  # pytest's settings
        (outside / "tests").mkdir()
        shutil.copy("tests/conftest.py", outside / "tests")
        for part in ("core", "conformance"):
            shutil.copytree(f"tests/{part}", outside / "tests" / part)
        with session.chdir(outside):
            session.run(python, "-m", "pytest", *(session.posargs or ["tests"]), external=True)


@nox.session(python=OLDEST_AND_NEWEST)
def plugins(session: nox.Session) -> None:
    """Build distributions of third parties, good and broken ones, and install them into fresh environments."""
    session.install("--editable", "./cqrs_core", *nox.project.dependency_groups(PYPROJECT, "test-plugins"))
    session.run("pytest", *(session.posargs or ["tests/plugins"]))


@nox.session(python=PYTHONS)
def examples(session: nox.Session) -> None:
    """Run every example, every Python block of the README and the docs, and the suite for brokers on the plug-in."""
    install_checkout(session, "test")
    session.run("pytest", *(session.posargs or ["tests/examples", "tests/meta/test_documentation.py"]))
    session.install("./examples/write_a_plugin")
    session.run("pytest", "examples/write_a_plugin/tests")


@nox.session
def build(session: nox.Session) -> None:
    """Build sdist and wheel of each distribution, look inside, and install them with every extra."""
    dist = Path(session.create_tmp()).resolve() / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    install_group(session, "build")
    for name in DISTRIBUTIONS:
        build_distribution(session, name, dist)
    built = sorted(str(path) for path in dist.iterdir())
    session.run("twine", "check", "--strict", *built)
    session.run("check-wheel-contents", *(path for path in built if path.endswith(".whl")))
    session.run("python", "scripts/check_built.py", *built)
    # By their files: an index, or a cache, might have others of these names and versions.
    wheels = {path.name.partition("-")[0]: path.as_uri() for path in dist.glob("*.whl")}
    session.install(*(f"{name}{'[all]' if name == 'cqrs_core' else ''} @ {uri}" for name, uri in wheels.items()))
    session.run("python", "-I", "-c", f"import {', '.join(DISTRIBUTIONS)}")
    session.run("cqrs", "plugins")


@nox.session
def demo(session: nox.Session) -> None:
    """Run the shop of examples/shop with the core alone installed; arguments after -- go to it."""
    session.install("./cqrs_core")
    session.run("python", "examples/shop", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure the dispatch against the bare call and against the peers; not among the default sessions."""
    # Compiled when installed, as pip does it: the time of an import is one of the rows.
    session.install("./cqrs_core", "pip>=23.1", env={"UV_COMPILE_BYTECODE": "1"})
    install_group(session, "bench")
    peers = new_environment(session, Path(session.create_tmp()).resolve() / "peers")
    session.run("python", "-m", "pip", "--python", peers, "install", "--quiet", *PEERS)
    session.run("python", "benchmarks/dispatch.py", "--peer-python", peers, *session.posargs)
    for program in ("discovery", "broker"):
        session.run("python", f"benchmarks/{program}.py")


if __name__ == "__main__":
    sys.exit("Run it with nox: nox --list")
