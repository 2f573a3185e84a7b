"""What many write at once is written together, and each is told of its own."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from cqrs_core.concurrency import run_shielded
from cqrs_core.errors import StorageUnavailable
from cqrs_sqla.sagas.lanes import Lanes, Wish


class Line:
    """A connection that does its work when it is let go on."""

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.begin_anew()

    def begin_anew(self) -> None:
        self.asked = asyncio.Event()
        self.goes_on = asyncio.Event()
        self.goes_on.set()
        #: Where it stands still, when that alone is to be written.
        self.stands_at: str | None = None
        self.stands = asyncio.Event()
        self.done: list[list[str]] = []

    async def run(self, work: Callable[[Any], Sequence[object]]) -> Sequence[object]:
        self.asked.set()
        await self.goes_on.wait()
        if self.failure is not None:
            raise self.failure
        self.begun = []
        try:
            return work(self)
        finally:
            if [self.stands_at] == self.begun:
                self.stands.set()
                await asyncio.Event().wait()


def perform(line: Line, items: Sequence[str]) -> Sequence[object]:
    line.begun = list(items)
    line.done.append(line.begun)
    if "poison" in items:
        raise ValueError("poison")
    return [LookupError(item) if item.startswith("lost") else item.upper() for item in items]


def other(line: Line, items: Sequence[str]) -> Sequence[object]:
    return perform(line, items)


def wish(item: str, *, saga: int | None = None, size: int = 1, by: Any = perform) -> Wish:
    return Wish(by, item, uuid.uuid4() if saga is None else uuid.UUID(int=saga), size)


async def outcome(lanes: Lanes, what: Wish) -> object:
    try:
        return await lanes.write(what)
    except Exception as error:  # noqa: BLE001 - what is compared
        return f"{type(error).__name__}: {error}"


async def all_outcomes(lanes: Lanes, *wishes: Wish) -> list[object]:
    return list(await asyncio.gather(*(outcome(lanes, what) for what in wishes)))


async def test_what_is_asked_for_at_once_is_written_together() -> None:
    """Fifty sagas, one statement; each has its own answer."""
    lines = [Line(), Line()]
    names = [f"saga {number}" for number in range(50)]

    answers = await all_outcomes(Lanes(lines, "the database"), *map(wish, names))

    assert [[names]] == [one.done for one in lines if one.done]
    assert [name.upper() for name in names] == answers


async def test_who_is_alone_waits_for_nobody() -> None:
    """What is asked for is begun before anything else happens."""
    line = Line()
    lanes = Lanes([line], "the database")

    assert "ONE" == await lanes.write(wish("one"))
    assert "TWO" == await lanes.write(wish("two"))
    assert [["one"], ["two"]] == line.done


async def test_what_comes_while_all_lanes_are_busy_goes_together_with_the_next() -> None:
    line = Line()
    line.goes_on.clear()
    lanes = Lanes([line], "the database")
    first = asyncio.ensure_future(lanes.write(wish("first")))
    await line.asked.wait()
    later = [asyncio.ensure_future(lanes.write(wish(name))) for name in ("second", "third", "fourth")]
    await asyncio.sleep(0)

    line.goes_on.set()
    await asyncio.gather(first, *later)

    assert [["first"], ["second", "third", "fourth"]] == line.done


async def test_a_second_lane_takes_what_comes_while_the_first_is_busy() -> None:
    lines = [Line(), Line()]
    lanes = Lanes(lines, "the database")
    for line in lines:
        line.goes_on.clear()
    tasks = []
    for name in ("first", "second"):
        tasks.append(asyncio.ensure_future(lanes.write(wish(name))))
        busy = [asyncio.ensure_future(line.asked.wait()) for line in lines if not line.asked.is_set()]
        await asyncio.wait(busy, return_when=asyncio.FIRST_COMPLETED)
        for waiting in busy:
            waiting.cancel()

    assert all(line.asked.is_set() for line in lines)
    for line in lines:
        line.goes_on.set()
    await asyncio.gather(*tasks)
    assert [["first"], ["second"]] == sorted(line.done[0] for line in lines)


async def test_of_one_saga_one_thing_is_written_at_a_time() -> None:
    """And in the order in which it was asked for, behind which nothing of that saga goes first."""
    line = Line()
    lanes = Lanes([line], "the database")

    await all_outcomes(lanes, wish("a1", saga=1), wish("b1", saga=2), wish("a2", saga=1), wish("a3", saga=1))

    assert [["a1", "b1"], ["a2"], ["a3"]] == line.done


async def test_what_is_done_otherwise_is_written_by_itself() -> None:
    line = Line()

    await all_outcomes(Lanes([line], "the database"), wish("a"), wish("b", by=other), wish("c"))

    assert [["a", "c"], ["b"]] == line.done


async def test_a_statement_has_at_most_a_megabyte_and_256_sagas() -> None:
    """But one that is longer than that is written all the same."""
    line = Line()
    lanes = Lanes([line], "the database")

    await all_outcomes(lanes, wish("long", size=2**21), wish("short"))
    await all_outcomes(lanes, *(wish(f"{number}") for number in range(300)))

    assert [1, 1, 256, 44] == [len(items) for items in line.done]


async def test_an_answer_that_is_an_error_is_raised_for_the_one_who_asked() -> None:
    answers = await all_outcomes(Lanes([Line()], "the database"), wish("a"), wish("lost b"), wish("c"))

    assert ["A", "LookupError: lost b", "C"] == answers


async def test_what_is_wrong_with_one_harms_no_other() -> None:
    """Together they fail; one by one, all but one go well."""
    line = Line()

    answers = await all_outcomes(Lanes([line], "the database"), wish("a"), wish("poison"), wish("c"))

    assert ["A", "ValueError: poison", "C"] == answers
    assert [["a", "poison", "c"], ["a"], ["poison"], ["c"]] == line.done


async def test_an_outage_is_told_to_all_and_nothing_is_tried_again() -> None:
    """Each has an error of its own, with the first as its cause; the next who ask are served."""
    line = Line()
    lanes = Lanes([line], "the database")
    line.failure = StorageUnavailable("the database", "it is down.")
    errors = await asyncio.gather(*(lanes.write(wish(name)) for name in "ab"), return_exceptions=True)
    line.failure = None

    assert all(isinstance(error, StorageUnavailable) for error in errors)
    assert errors[0] is not errors[1]
    assert [] == line.done
    assert "C" == await lanes.write(wish("c"))


async def test_a_cancellation_arrives_when_what_was_asked_for_is_written() -> None:
    """To be interrupted, it is too late: nobody would know whether it was written."""
    line = Line()
    line.goes_on.clear()
    task = asyncio.ensure_future(Lanes([line], "the database").write(wish("a")))
    await line.asked.wait()
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()

    line.goes_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [["a"]] == line.done


async def test_who_is_shielded_already_is_answered_too() -> None:
    """As an engine that lets a saga go while it is cancelled."""
    answers: list[object] = []
    lanes = Lanes([Line()], "the database")

    async def write() -> None:
        answers.append(await lanes.write(wish("a")))

    await run_shielded(write)

    assert ["A"] == answers


@pytest.mark.parametrize("moment", ["before the lane begins", "while it writes", "while it writes one by one"])
def test_a_loop_that_ends_leaves_nobody_waiting_and_the_next_one_is_served(moment: str) -> None:
    """asyncio.run() cancels what is left: those who write, those who wait, and the lane."""
    line = Line()
    lanes = Lanes([line], "the database")

    async def leave() -> None:
        if moment == "while it writes one by one":
            line.stands_at = "poison"
        elif moment == "while it writes":
            line.goes_on.clear()
        for name in ("a", "poison"):
            asyncio.ensure_future(lanes.write(wish(name)))  # noqa: RUF006 - that they are left is the point
        if moment == "before the lane begins":
            return  # in the last turn of the loop, they call the lane
        await (line.stands.wait() if line.stands_at else line.asked.wait())
        asyncio.ensure_future(lanes.write(wish("b")))  # noqa: RUF006 - as above
        await asyncio.sleep(0)

    async def write() -> object:
        return await lanes.write(wish("c"))

    asyncio.run(leave())
    line.begin_anew()

    assert "C" == asyncio.run(write())
    assert [["c"]] == line.done
