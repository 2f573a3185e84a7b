"""What asyncio and trio both have, under one name: sleep and gates; and what is said where neither runs."""

from __future__ import annotations

import asyncio
from functools import partial

import anyio
import pytest

from cqrs_core.concurrency import Gate, TaskGroup, open_task_group, run_shielded, run_within, sleep
from cqrs_core.errors import NoEventLoop


async def checkpoint(times: int = 1) -> None:
    """Let others run."""
    for _ in range(times):
        await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("seconds", [0, -1, -0.5])
async def test_less_than_no_time_is_no_time(seconds: float) -> None:
    """Under trio as under asyncio; others run meanwhile."""
    log: list[str] = []

    async def other() -> None:
        log.append("other")

    async with open_task_group() as group:
        group.start(other)
        await sleep(seconds)
        await sleep(seconds)
        log.append("slept")

    assert ["other", "slept"] == log


async def test_a_gate_lets_pass_who_waits_and_who_comes_later() -> None:
    """It is opened once, for everybody."""
    log: list[str] = []
    gate = Gate()

    async def pass_through(name: str) -> None:
        await gate.wait()
        log.append(name)

    async with open_task_group() as group:
        group.start(partial(pass_through, "early"))
        await checkpoint(3)
        log.append("opened")
        gate.open()
        gate.open()
        await pass_through("late")

    assert "opened" == log[0]
    assert {"early", "late"} == set(log[1:])
    assert gate.is_of_this_loop()


def test_a_gate_is_of_the_loop_that_it_was_made_on_and_of_no_other() -> None:
    """Nor of none."""

    async def make() -> Gate:
        return Gate()

    async def is_of_this_loop(gate: Gate) -> bool:
        return gate.is_of_this_loop()

    gate = asyncio.run(make())

    assert not gate.is_of_this_loop()
    assert not asyncio.run(is_of_this_loop(gate))
    assert not anyio.run(is_of_this_loop, gate, backend="trio")


def test_outside_any_loop_it_says_what_it_needs() -> None:
    """As everything does that has to wait."""

    async def open_one() -> None:
        async with open_task_group():
            pass

    for work in (open_one(), run_within(1, anyio.sleep_forever, sleep), sleep(1)):
        with pytest.raises(NoEventLoop, match="Neither asyncio nor trio is running"):
            work.send(None)
    with pytest.raises(NoEventLoop):
        Gate()


def test_where_no_loop_runs_nothing_has_to_be_shielded() -> None:
    """Nobody can cancel there; an App that awaits nothing can be left without a loop."""
    log: list[str] = []

    async def work() -> None:
        log.append("done")

    with pytest.raises(StopIteration):
        run_shielded(work).send(None)
    assert ["done"] == log


def test_a_task_group_is_what_its_protocol_says() -> None:
    """Nobody makes one without a block."""
    with pytest.raises(TypeError, match="abstract"):
        TaskGroup()  # type: ignore[abstract]  # which is refused
