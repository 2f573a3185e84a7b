"""The demo killed with -9 and started again: it goes on, with nothing twice and nothing lost."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
from shop.program import main

#: For each process; less than the run gives one test.
DEADLINE_S = 40.0
MORTAL = Path(__file__).with_name("mortal_shop.py")
#: Named, so that it is so in every run: when events are handled, and before they are taken out of the outbox, so that
#: all of them come again.
HANDLED_BUT_WAITING = "DELETE FROM shop_outbox "
#: Before the events of commands are written, before a batch of them is accepted, and within its transaction.
OTHER_STEPS = ["INSERT INTO shop_outbox ", "INSERT INTO shop_inbox", "UPDATE shop_sales"]


class Form(NamedTuple):
    """
    How much is done.

    Attributes:
        lines: How much of the sample is read.
        moments: When to kill it, as ``mortal_shop.py`` has it.
    """

    lines: int
    moments: list[str]


def drawn(count: int, *, most: int) -> list[str]:
    """Draw numbers of statements, the same in each run. The first 85 or so look for the tables, or make them."""
    draw = random.Random(3)  # noqa: S311 - nothing is secret
    return [str(draw.randint(1, most)) for _ in range(count)]


# A run of 1,000 lines has more than 500 statements of its own, the whole log 3,500: no kill comes too late.
SHORT = Form(1000, [*drawn(3, most=220), HANDLED_BUT_WAITING])
LONG = Form(6919, [*drawn(20, most=250), *OTHER_STEPS, HANDLED_BUT_WAITING])


@pytest.fixture
def form() -> Form:
    """Give the short form, or the one that the nox session ``demo_kills`` asks for."""
    return LONG if os.environ.get("SHOP_KILLS") == "long" else SHORT


@pytest.fixture
def log(form: Form, sample_log: Path, tmp_path: Path) -> Path:
    """The sample, or its beginning."""
    log = tmp_path / "log.txt"
    log.write_bytes(b"".join(sample_log.read_bytes().splitlines(keepends=True)[: form.lines]))
    return log


class Demo:
    """One demo that is started again and again."""

    def __init__(self, log: Path, environment: dict[str, str]) -> None:
        self.log = log
        self._arguments = ["--file", str(log)]
        self._environment = environment

    def run(self, storage: str) -> tuple[int, str, str]:
        """Run it to its end; gives the exit code, the answer, and what it complained of."""
        with self._popen(storage, "0") as shop:
            out, err = shop.communicate()
        return shop.returncode, out.partition("The ten best")[2], err

    def kill(self, storage: str, moment: str) -> int:
        """Kill it at a *moment*, or run it to its end if that comes before; gives the exit code."""
        with self._popen(storage, moment) as shop:
            assert shop.stderr is not None
            if shop.stderr.readline() == "now\n":
                shop.kill()
            shop.communicate()
        return shop.returncode

    def _popen(self, storage: str, moment: str) -> subprocess.Popen[str]:
        command = [sys.executable, str(MORTAL), moment, *self._arguments, "--storage", storage]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, env=self._environment, stdout=pipe, stderr=pipe, text=True)


class Parts:
    """The demo as three processes, over a broker."""

    def __init__(self, log: Path, environment: dict[str, str], storage: str, broker: str) -> None:
        self._arguments = ["--file", str(log), "--storage", storage, "--broker", broker, "--only"]
        self._environment = environment

    def begin(self, stack: ExitStack, moments: dict[str, str]) -> dict[str, subprocess.Popen[str]]:
        """Start them, one after the other: the first makes the tables, and who consumes is there before who sends."""
        started = {}
        for part in ("reports", "relay", "shop"):
            command = [sys.executable, str(MORTAL), moments.get(part, "0"), *self._arguments, part]
            # Nobody reads what they complain of: the client of the broker does so when a part has died.
            process = subprocess.Popen(
                command, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            assert process.stdout is not None
            process.stdout.readline()  # that it has begun
            started[part] = process
        return started


@pytest.fixture
def demo(log: Path, plain_environment: dict[str, str]) -> Demo:
    """The demo with that log."""
    return Demo(log, plain_environment)


@pytest.mark.parametrize("storage", ["sqlite", "postgresql"], indirect=True)
def test_killed_at_any_moment_it_goes_on(storage: str, demo: Demo, form: Form) -> None:
    """Wherever that is, in the making of its tables or in a transaction, the answer in the end is the same."""
    _, expected, _ = demo.run("memory")

    codes = [demo.kill(storage, moment) for moment in form.moments]

    assert [-signal.SIGKILL] * len(form.moments) == codes, f"killed at {form.moments}"
    assert (0, expected, "") == demo.run(storage)


#: Where each part dies: when a batch is at the broker, and in the outbox too; in the first transaction with events; and
#: in a later one of the shop.
OWN_MOMENTS = [
    {"relay": "DELETE FROM shop_outbox ", "reports": statement, "shop": "UPDATE shop_accounts"}
    for statement in ("INSERT INTO shop_sales", "INSERT INTO shop_inbox")
]


@pytest.mark.parametrize("storage", ["postgresql"], indirect=True)
def test_each_of_its_processes_may_be_killed(
    *,
    storage: str,
    kafka: str,
    demo: Demo,
    log: Path,
    plain_environment: dict[str, str],
) -> None:
    """Over Kafka, with the relay and the reports in processes of their own: the answer in the end is the same."""
    _, expected, _ = demo.run("memory")
    parts = Parts(log, plain_environment, storage, kafka)

    for moments in OWN_MOMENTS:
        with ExitStack() as stack:
            codes = {part: process.wait(DEADLINE_S) for part, process in parts.begin(stack, moments).items()}
        assert dict.fromkeys(moments, -signal.SIGKILL) == codes
    with ExitStack() as stack:
        shop = parts.begin(stack, {})["shop"]
        out, _ = shop.communicate(timeout=DEADLINE_S)

    assert 0 == shop.returncode
    assert expected == out.partition("The ten best")[2]


@pytest.mark.parametrize("storage", ["sqlite"], indirect=True)
def test_over_a_broker_outside_the_answer_is_the_same(
    storage: str, kafka: str, demo: Demo, capsys: pytest.CaptureFixture[str]
) -> None:
    """The two services in one process, and Kafka between them."""
    _, expected, _ = demo.run("memory")
    code = main(["--file", str(demo.log), "--storage", storage, "--broker", kafka])

    assert 0 == code
    assert expected == capsys.readouterr().out.partition("The ten best")[2]
