"""The command ``cqrs``."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import cqrs_core as cqrs
from cqrs_core import plugins
from cqrs_core.app_target import AppNotFound, find_app
from cqrs_core.cli import main
from cqrs_core.plugins import Backend, Plugin

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NATS = Plugin(
    entry_point="nats",
    distribution="acme-nats",
    version="1.2",
    backends=(Backend(kind="broker", name="nats", factory="acme:Broker", schemes=("nats", "tls")),),
)
OFF = Plugin(entry_point="off", distribution="off", version="1", status="disabled", error="Named.", cure="Take it out.")
BROKEN = Plugin(
    entry_point="b", distribution="broken", version="1", status="failed", error="E: no.", cure="Upgrade it."
)


@pytest.fixture
def _installed(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    monkeypatch.setattr("cqrs_core.cli.installed", lambda: request.param)


@pytest.mark.usefixtures("_installed")
@pytest.mark.parametrize(
    ("_installed", "code", "text"),
    [
        ([NATS], 0, "nats (acme-nats 1.2): ok\n  broker nats  nats://  tls://\n"),
        ([OFF], 0, "off (off 1): disabled\n  Named.\n  Take it out.\n"),
        (
            [BROKEN, NATS],
            1,
            "b (broken 1): failed\n  E: no.\n  Upgrade it.\nnats (acme-nats 1.2): ok\n  broker nats  nats://  tls://\n",
        ),
    ],
    indirect=["_installed"],
)
def test_plugins_lists_what_is_installed_and_answers_whether_it_works(
    code: int, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that is switched off is no fault."""
    assert code == main(["plugins"])
    assert text == capsys.readouterr().out


@pytest.mark.usefixtures("_installed")
@pytest.mark.parametrize("_installed", [[NATS, BROKEN]], indirect=True)
def test_programs_can_read_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert 1 == main(["plugins", "--json"])

    nats, broken = json.loads(capsys.readouterr().out)

    backend = {"kind": "broker", "name": "nats", "factory": "acme:Broker", "schemes": ["nats", "tls"]}
    assert {
        "entry_point": "nats",
        "distribution": "acme-nats",
        "version": "1.2",
        "status": "ok",
        "error": "",
        "cure": "",
        "backends": [backend],
    } == nats
    assert ("failed", "E: no.", "Upgrade it.") == (broken["status"], broken["error"], broken["cure"])


def test_python_runs_the_package_as_the_command_does() -> None:
    """And what is built in is listed first."""
    environment = {**os.environ, "CQRS_CORE_DISABLE_PLUGINS": "*"}
    command = [sys.executable, "-m", "cqrs_core"]
    ran = subprocess.run(
        [*command, "plugins"], env=environment, capture_output=True, encoding="utf-8", check=True, cwd=os.path.sep
    )
    helped = subprocess.run([*command, "-h"], capture_output=True, encoding="utf-8", check=True, cwd=os.path.sep)

    assert ran.stdout.startswith(f"builtin (cqrs-core {cqrs.__version__}): ok\n  broker memory  memory://\n")
    assert "usage: python -m cqrs_core" in helped.stdout
    assert plugins.installed()[0].backends


# Finding an App ------------------------------------------------------------------------------------------------------

SHOP = """
import contextlib

import cqrs_core as cqrs


class Fake(cqrs.App):
    @contextlib.asynccontextmanager
    async def running(self, only=None):
        print("only", only, flush=True)
        yield
        print("stopped", flush=True)


app = Fake("shop")


class factories:
    @staticmethod
    def make():
        return app


def needs(name):
    return app


async def later():
    return app


number = 7
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current directory, with a package in it."""
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").write_text("")
    (tmp_path / "shop" / "main.py").write_text(SHOP)
    (tmp_path / "shop" / "broken.py").write_text("import not_installed_at_all\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    # The demo of the examples is called the same, and may have been imported by its own tests.
    others = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "shop"}
    _forget_shop()
    yield tmp_path
    _forget_shop()
    sys.modules.update(others)


def _forget_shop() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "shop"]:
        del sys.modules[name]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("target", ["shop.main:app", "shop.main:factories.make"])
def test_an_app_is_found_by_module_and_attribute(target: str) -> None:
    """Or a function that makes one; modules of the current directory are found."""
    assert "shop" == find_app(target).name


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("shp:app", "there is no module 'shp'. Did you mean 'shop'?"),
        ("shop.mian:app", "there is no module 'shop.mian'. Did you mean 'shop.main'?"),
        ("zzz.main:app", "there is no module 'zzz'."),
        ("shop.main:ap", "shop.main has no 'ap'. Did you mean 'app'?"),
        ("shop.main:factories.mak", "shop.main.factories has no 'mak'. Did you mean 'make'?"),
        ("shop.main:number", "shop.main.number is of type int; it must be an App, or a function without arguments."),
        ("shop.main:needs", "shop.main.needs is of type function; it must be an App, or a function without arguments."),
        ("shop.main:Fake", "shop.main.Fake is of type type; it must be an App, or a function without arguments."),
        ("shop.main:dict", "shop.main has no 'dict'."),
        ("shop.main:factories", "shop.main.factories() made an object of type factories."),
    ],
)
def test_a_target_that_leads_to_no_app_is_told_with_what_is_near(target: str, problem: str) -> None:
    with pytest.raises(AppNotFound, match=f"^{re.escape(f'{target!r} leads to no App: {problem}')}$"):
        find_app(target)


@pytest.mark.usefixtures("folder")
def test_what_a_module_itself_fails_to_import_is_not_called_a_missing_app(capsys: pytest.CaptureFixture[str]) -> None:
    """It is a crash, shown with its traceback."""
    assert 1 == main(["run", "shop.broken:app"])

    told = capsys.readouterr().err
    assert "Traceback" in told
    assert "No module named 'not_installed_at_all'" in told


@pytest.mark.usefixtures("folder")
def test_an_error_of_ours_is_told_without_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert 1 == main(["run", "shop.main:ap"])

    assert (
        "AppNotFound: 'shop.main:ap' leads to no App: shop.main has no 'ap'. Did you mean 'app'?\n"
    ) == capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [[], ["run"], ["run", "shop"], ["run", "shop:"], ["run", "shop/main.py:app"], ["rnu"]]
)
def test_what_cannot_be_understood_ends_with_2(words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)

    assert 2 == ended.value.code


# Running it ----------------------------------------------------------------------------------------------------------

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals are sent as on POSIX")


def start(folder: Path, *words: str, source: str = "") -> subprocess.Popen[str]:
    if source:
        (folder / "shop" / "main.py").write_text(SHOP + source)
    command = [sys.executable, "-m", "cqrs_core", "run", "shop.main:app", *words]
    return subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", env={**os.environ}
    )


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_an_app_gracefully(folder: Path, number: signal.Signals) -> None:
    """The block is left as at the end of a program, and all is well."""
    with start(folder, "--only", "relay, consumers") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert "shop is running. Ctrl-C stops it.\n" == process.stderr.readline()
        process.send_signal(number)
        out, told = process.communicate(timeout=30)

    assert "only ['relay', 'consumers']\nstopped\n" == out
    assert "shop is stopping. Ctrl-C again ends it at once.\n" == told
    assert 0 == process.returncode


ENDS = """
import asyncio, signal

class Ends(Fake):
    @contextlib.asynccontextmanager
    async def running(self, only=None):
        for _ in range({times}):
            asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGTERM)
        yield
        await asyncio.sleep(0.1)

app = Ends("shop")
"""


@posix
@pytest.mark.parametrize(("times", "code", "last"), [(1, 0, "shop is stopping."), (2, 1, "Ended at once.")])
def test_the_number_of_signals_decides_how_it_ends(
    folder: Path, capsys: pytest.CaptureFixture[str], times: int, code: int, last: str
) -> None:
    """The same two ways, in the process of the test."""
    (folder / "shop" / "main.py").write_text(SHOP + ENDS.format(times=times))

    assert code == main(["run", "shop.main:app"])
    assert capsys.readouterr().err.splitlines()[-1].startswith(last)


STARTS_FOR_EVER = """
import asyncio, signal

class Starts(Fake):
    @contextlib.asynccontextmanager
    async def running(self, only=None):
        asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGTERM)
        await asyncio.sleep(3600)
        yield

app = Starts("shop")
"""


@posix
def test_a_signal_while_it_starts_ends_it_at_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A broker that does not answer is not waited for; nothing is under way yet."""
    (folder / "shop" / "main.py").write_text(SHOP + STARTS_FOR_EVER)

    assert 1 == main(["run", "shop.main:app"])
    assert capsys.readouterr().err.splitlines()[-1].startswith("Ended at once.")


def test_a_loop_that_the_app_does_not_have_is_an_error_of_ours(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "shop" / "main.py").write_text("import cqrs_core\napp = cqrs_core.App('shop')\n")

    assert 1 == main(["run", "shop.main:app", "--only", "rely"])
    assert capsys.readouterr().err.startswith("InvalidOption: only is ")


HANGS = """
import asyncio

class Hangs(Fake):
    @contextlib.asynccontextmanager
    async def running(self, only=None):
        yield
        await asyncio.sleep(3600)

app = Hangs("shop")
"""


@posix
def test_a_second_signal_ends_it_at_once(folder: Path) -> None:
    with start(folder, source=HANGS) as process:
        assert process.stderr is not None
        process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        assert "shop is stopping. Ctrl-C again ends it at once.\n" == process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=30)

    assert (1, "Ended at once. What was under way was cancelled.\n") == (process.returncode, told)


CRASHES = """
import asyncio

class Crashes(Fake):
    @contextlib.asynccontextmanager
    async def running(self, only=None):
        task = asyncio.current_task()
        asyncio.get_running_loop().call_soon(task.cancel)
        try:
            yield
        except asyncio.CancelledError:
            raise OSError("the disk is full")

app = Crashes("shop")
"""


def test_a_loop_that_crashes_ends_the_process_with_its_traceback(folder: Path) -> None:
    """So that whoever supervises it starts it again."""
    with start(folder, source=CRASHES) as process:
        _, told = process.communicate(timeout=30)

    assert 1 == process.returncode
    assert "Traceback" in told
    assert told.endswith("OSError: the disk is full\n")


def test_loops_of_windows_leave_signals_to_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the loop refuses, ``signal`` does, and hands it to the loop."""
    import asyncio

    from cqrs_core.cli import _call_on_signals

    def refuse(*_: object) -> None:
        raise NotImplementedError

    async def end() -> None:
        loop, called = asyncio.get_running_loop(), asyncio.Event()
        monkeypatch.setattr(loop, "add_signal_handler", refuse, raising=False)
        _call_on_signals(loop, called.set)
        signal.raise_signal(signal.SIGINT)
        await asyncio.wait_for(called.wait(), 10)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        asyncio.run(end())
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
