"""
What is checked, and how: `nox` runs it, `nox -s tests-3.12 -- tests/core -k scope` a part of it.

`bench`, `demo_kills`, `explore_sagas` and `kill_saga_workers` take long, and run only if they are named.

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
    "databases",
    "kafka",
    "debezium",
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
#: What no Python in between does otherwise than these two: what developers run, and how long things take.
ENDS_ALONE = ["tests/benchmarks", "tests/mermaid", "tests/scripts", "tests/examples/test_shop_killed.py"]
DISTRIBUTIONS = ["cqrs_core", "cqrs_kafka", "cqrs_sqla", "cqrs_breaker"]
#: The oldest SQLAlchemy that cqrs-sqla works with, and the newest, which the oldest Python does not have.
SQLALCHEMY = {PYTHONS[0]: "sqlalchemy[asyncio]==2.0.31", PYTHONS[-1]: "sqlalchemy[asyncio]>=2.1,<2.2"}
#: They need drivers, and one run of them will do.
DATABASE_BENCHMARKS = ["tests/benchmarks/test_outbox_benchmark.py", "tests/benchmarks/test_saga_benchmark.py"]
#: What `bench` measures, and the variable that names the server for it.
BENCHMARKS = {
    "dispatch": None,
    "discovery": None,
    "broker": None,
    "saga": None,
    "outbox": "TEST_POSTGRES_URL",
    "kafka": "TEST_KAFKA_BOOTSTRAP",
}
#: What `bench` measures the core, the outbox and sagas against, in environments of their own.
PEERS = [
    "python-cqrs[kafka,sqlalchemy]==5.3.0",
    "aiobreaker==1.2.0",
    "aiosqlite>=0.20",
    "asyncmy>=0.2.9",
    "asyncpg>=0.29",
]
DBOS = ["dbos==3.4.0", "asyncpg>=0.29"]


def install_group(session: nox.Session, *groups: str) -> None:
    """Install dependency groups of the root pyproject.toml."""
    if requirements := nox.project.dependency_groups(PYPROJECT, *groups):
        session.install(*requirements)


def install_checkout(session: nox.Session, *groups: str) -> None:
    """Install the four distributions, editable, and dependency groups, in one resolution."""
    editable = [argument for name in DISTRIBUTIONS for argument in ("--editable", f"./{name}")]
    session.install(*editable, *nox.project.dependency_groups(PYPROJECT, *groups))


def without(session: nox.Session, *paths: str) -> list[str]:
    """Tell pytest to leave *paths* out, and on a Python in between all that two are enough for."""
    left_out = [*paths, *([] if session.python in OLDEST_AND_NEWEST else ENDS_ALONE)]
    return [f"--ignore={path}" for path in left_out]


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
    # By the sessions `databases`, `kafka`, `debezium`, `examples` and `plugins`.
    elsewhere = [
        "tests/sqla",
        "tests/kafka",
        "tests/debezium",
        "tests/examples",
        "tests/meta/test_documentation.py",
        *DATABASE_BENCHMARKS,
        "tests/plugins/test_distributions.py",
    ]
    paths = session.posargs or ["tests", *without(session, *elsewhere)]
    session.run("coverage", "run", "-m", "pytest", *paths, env=coverage)
    options = ["--fail-under=0"] if session.posargs else ["--omit=*/cqrs_sqla/*,*/cqrs_kafka/*"]
    session.run("coverage", "report", *options, env=coverage)


@nox.session(python=OLDEST_AND_NEWEST)
def databases(session: nox.Session) -> None:
    """
    Run tests/sqla on every driver, under the oldest SQLAlchemy and the newest; arguments after -- go to pytest.

    The servers are those of `eval "$(scripts/services start)"`; without, SQLite alone is tested.
    Under the newest, coverage is measured, and the benchmarks of databases are tried.
    """
    install_checkout(session, "test-sqla")
    session.install(SQLALCHEMY[str(session.python)], "pip>=23.1")
    if session.python == PYTHONS[0]:
        # That the same lines are reached is measured once: it makes every call dearer.
        session.run("pytest", *(session.posargs or ["tests/sqla"]))
        return
    other = new_environment(session, Path(session.create_tmp()).resolve() / "other")
    packages = ["./cqrs_core", "./cqrs_sqla[asyncpg,mysql,psycopg,sqlite]", "sqlalchemy[asyncio]>=2.0,<2.1"]
    session.run("python", "-m", "pip", "--python", other, "install", "--quiet", *packages)
    coverage = str(Path(session.create_tmp()) / "coverage")
    environment = {"COVERAGE_FILE": coverage, "TEST_OTHER_SQLALCHEMY_PYTHON": other}
    # SQLAlchemy calls back from greenlets.
    measure = ["coverage", "run", "--concurrency=greenlet,thread", "-m", "pytest"]
    session.run(*measure, *(session.posargs or ["tests/sqla", *DATABASE_BENCHMARKS]), env=environment)
    is_whole = not session.posargs and {"TEST_POSTGRES_URL", "TEST_MARIADB_URL"} <= os.environ.keys()
    options = ["--include=*/cqrs_sqla/*", *([] if is_whole else ["--fail-under=0"])]
    session.run("coverage", "report", *options, env=environment)


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


@nox.session(python=PYTHONS[-1])
def debezium(session: nox.Session) -> None:
    """
    Run tests/debezium: the real connector, under Kafka Connect, beside our relay; arguments after -- go to pytest.

    The servers are those of `eval "$(scripts/services start postgres kafka)"`; the tests start the worker themselves.
    """
    install_checkout(session, "test-debezium")
    session.run("pytest", *(session.posargs or ["tests/debezium"]))


@nox.session(python=PYTHONS)
def core_alone(session: nox.Session) -> None:
    """
    Install the core's wheel alone, outside the checkout: one distribution, nothing foreign loaded.

    Its tests pass there, on the oldest Python and the newest; they run on each in `tests`.
    """
    session.install("build[uv]", "pip>=23.1")
    with tempfile.TemporaryDirectory(prefix="core-alone-") as folder:
        outside = Path(folder).resolve()
        build_distribution(session, "cqrs_core", outside / "dist", "--wheel")
        (wheel,) = (outside / "dist").glob("*.whl")
        python = new_environment(session, outside / "environment")
        # No index to ask: a dependency would be an error.
        session.run("python", "-m", "pip", "--python", python, "install", "--quiet", "--no-index", str(wheel))
        session.run(python, "-I", "scripts/check_core_alone.py", external=True)

        if session.python not in OLDEST_AND_NEWEST and not session.posargs:
            return
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
    install_checkout(session, "test", "test-sqla", "test-web")
    paths = ["tests/examples", "tests/meta/test_documentation.py", *without(session)]
    if session.python not in OLDEST_AND_NEWEST:
        paths += ["-k", "not postgresql and not mariadb"]  # as in `databases`
    session.run("pytest", *(session.posargs or paths))
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
    """Run the shop of examples/shop, with the core alone and with a database; arguments after -- go to the latter."""
    session.install("./cqrs_core")
    session.run("python", "examples/shop", "--storage", "memory")
    session.install("./cqrs_core", "./cqrs_sqla[sqlite]")
    books = f"sqlite:///{Path(session.create_tmp()).resolve() / 'shop.db'}"
    session.run("python", "examples/shop", *(session.posargs or ["--storage", books, "--fresh"]))


@nox.session
def demo_kills(session: nox.Session) -> None:
    """Kill the shop and its sagas, with the whole log, at twenty moments and at each step; only when asked for."""
    install_checkout(session, "test", "test-sqla")
    # Such a test takes minutes, and is no hang.
    options = ["-o", "faulthandler_timeout=1200", *session.posargs]
    session.run("pytest", "tests/examples/test_shop_killed.py", *options, env={"SHOP_KILLS": "long"})


@nox.session
def explore_sagas(session: nox.Session) -> None:
    """
    Play generated sagas under every fault, with a second crash at every point; not among the default sessions.

    One is played on SQLite, and on the server of `eval "$(scripts/services start postgres)"`, too.
    """
    install_checkout(session, "test", "test-sqla")
    options = ["-o", "faulthandler_timeout=1200", *session.posargs]
    played = ["tests/core/testing/test_explore.py", "tests/sqla/test_saga_exploring.py"]
    session.run("pytest", *played, *options, env={"SAGA_SCHEDULES": "long"})


@nox.session
def kill_saga_workers(session: nox.Session) -> None:
    """Kill workers a hundred times while they drive 500 sagas, on every driver; not among the default sessions."""
    install_checkout(session, "test", "test-sqla")
    options = ["-o", "faulthandler_timeout=1800", *session.posargs]
    session.run("pytest", "tests/sqla/test_saga_workers.py", *options, env={"SAGA_KILLS": "long"})


@nox.session
def bench(session: nox.Session) -> None:
    """
    Measure dispatching and sagas against bare calls and against the peers; not among the default sessions.

    So are sagas in databases, the outbox, and what takes it to Kafka, on the servers of
    `eval "$(scripts/services start)"`. Arguments after -- are for one benchmark alone, which the first of them names:
    `nox -s bench -- saga --check`.
    """
    only, *options = session.posargs or [None]
    if only not in {None, *BENCHMARKS}:
        session.error(f"{only!r} is no benchmark. There are: {', '.join(BENCHMARKS)}")
    # One that is named tells by itself that its server is not there.
    chosen = {only} if only else {name for name, server in BENCHMARKS.items() if server in {None, *os.environ}}

    def measure(program: str, *peers: str) -> None:
        if program in chosen:
            session.run("python", f"benchmarks/{program}.py", *peers, *options)

    def environment(name: str, *requirements: str) -> str:
        python = new_environment(session, Path(session.create_tmp()).resolve() / name)
        session.run("python", "-m", "pip", "--python", python, "install", "--quiet", *requirements)
        return python

    # Compiled when installed, as pip does it: the time of an import is one of the rows.
    compiled = {"UV_COMPILE_BYTECODE": "1"}
    session.install("./cqrs_core", "pip>=23.1", env=compiled)
    install_group(session, "bench")
    peer = ["--peer-python", environment("peers", *PEERS)]
    measure("dispatch", *peer)
    measure("discovery")
    measure("broker")
    # Last, so that the core is alone before. The SQLAlchemy is that of the peer, which has no newer one.
    packages = ["./cqrs_kafka", "./cqrs_sqla[asyncpg,mysql,sqlite]", "sqlalchemy[asyncio]==2.0.*"]
    if chosen & {"saga", "outbox", "kafka"}:
        session.install(*packages, env=compiled)
    if "saga" in chosen:
        measure("saga", *peer, "--dbos-python", environment("dbos", *DBOS))
    measure("outbox", *peer)
    measure("kafka")


if __name__ == "__main__":
    sys.exit("Run it with nox: nox --list")
