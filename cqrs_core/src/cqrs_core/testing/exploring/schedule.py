"""What is to go wrong in one play of a saga, and what came of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

from cqrs_core.errors import InvalidOption

if TYPE_CHECKING:
    import uuid
    from collections.abc import Mapping, Sequence

    from cqrs_core.saga.log import SagaLogEntry
    from cqrs_core.saga.storage import SagaRecord

#: What happens at a point: nothing; the process dies; it dies, and so does the one that recovers the saga; it stands
#: still until others have driven the saga to its end; its driver is cancelled; every call of a handler is made twice;
#: the answer of a write is lost; it stands still for a while, in which a person has the saga undone.
Mode = Literal["none", "crash", "double_crash", "zombie", "cancel", "repeat", "lost_answer", "undo"]
MODES: tuple[Mode, ...] = get_args(Mode)

#: How a call fails: before its effect; after it, by a time-out; before it, but not the first time; or, of an undo, the
#: first time only, or always.
Fault = Literal["refused", "lost", "refused_later", "fails_once", "fails"]
FAULTS: tuple[Fault, ...] = get_args(Fault)

#: What is promised of sagas, as violations name it: docs/sagas.md has the same numbers.
PROMISES = {
    "Promise 1": "no step runs before the saga is durable",
    "Promise 2": "a step whose record is durable never runs again",
    "Promise 3": "the key of a step is the same in every attempt",
    "Promise 4": "a driver that has lost the saga changes nothing any more, and learns it",
    "Promise 5": "once it is durable that a saga is undone, none of its steps is begun; before it is, none is undone",
    "Promise 6": "every saga ends, as it then stays, or waits for a person with a reason",
    "Promise 7": "the messages of a step are sent if, and only if, its record is durable, and once",
}


@dataclass(frozen=True, slots=True)
class Schedule:
    """
    One play.

    Attributes:
        mode: What happens at a point.
        at: Which point: they are numbered as the driver comes to them.
        then: In a double crash, at which point of the one that recovers.
        faults: How calls fail, by what they are: ``"act Charge"``, ``"undo Charge"``.
        is_durable: Whether the storage says that it outlives the process: who is cancelled then leaves it to others.
    """

    mode: Mode = "none"
    at: int = 0
    then: int = 0
    faults: Mapping[str, Fault] = field(default_factory=dict)
    is_durable: bool = True

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise InvalidOption("mode", self.mode, f"one of {', '.join(MODES)}")
        for fault in self.faults.values():
            if fault not in FAULTS:
                raise InvalidOption("faults", fault, f"one of {', '.join(FAULTS)}")

    def __str__(self) -> str:
        default = Schedule()
        names = ("mode", "at", "then", "faults", "is_durable")
        written = [f"{name}={getattr(self, name)!r}" for name in names if getattr(self, name) != getattr(default, name)]
        return f"Schedule({', '.join(written)})"

    @property
    def weight(self) -> tuple[int, int, int]:
        """The lighter a schedule, the easier to follow."""
        return len(self.faults), MODES.index(self.mode), self.at + self.then


@dataclass
class Played:
    """
    What came of one schedule.

    Attributes:
        schedule: Which.
        saga_id: Of the saga that was played.
        record: The saga at the end; ``None``: it never was.
        history: What was done.
        trace: The points that drivers came to, in order.
        violations: The promises that were broken, one sentence each.
        was_reached: Whether the schedule's points were come to; if not, it says nothing.
    """

    schedule: Schedule
    saga_id: uuid.UUID
    record: SagaRecord | None = None
    history: Sequence[SagaLogEntry] = ()
    trace: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    was_reached: bool = True


@dataclass
class Exploration:
    """
    What came of all schedules.

    Attributes:
        counts: How many were played, by their modes.
        ends: How many sagas ended so, by their statuses.
        failed: Those that broke a promise.
        unreached: Schedules that were asked for, and whose points the saga does not come to: they say nothing of it.
    """

    counts: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    failed: list[Played] = field(default_factory=list)
    unreached: list[Schedule] = field(default_factory=list)

    @property
    def total(self) -> int:
        """How many schedules were played."""
        return sum(self.counts.values())


class ExplorationFailed(AssertionError):
    """
    A saga broke a promise.

    Attributes:
        exploration: Everything that was found.
        shortest: The schedule that is easiest to follow.
    """

    def __init__(self, name: str, exploration: Exploration) -> None:
        self.exploration = exploration
        self.shortest = shortest = min(exploration.failed, key=lambda played: played.schedule.weight)
        lines = [
            f"{name}: {len(exploration.failed)} of {exploration.total} schedules break a promise. The shortest:",
            *(f"  - {violation}" for violation in shortest.violations),
            *_promises_in(shortest.violations),
            *(f"    {number:>3} {point}" for number, point in enumerate(shortest.trace)),
            "As a test, with the arguments that explore() was given:",
            "",
            *_test_of(name, shortest.schedule),
        ]
        super().__init__("\n".join(lines))


def _promises_in(violations: Sequence[str]) -> list[str]:
    """Say what the promises are that are named by their numbers."""
    return [
        f"    ({number}: {promise}.)"
        for number, promise in PROMISES.items()
        if any(violation.startswith(f"{number}:") for violation in violations)
    ]


def _test_of(name: str, schedule: Schedule) -> list[str]:
    """
    Write a test.

    It asks for the point if there is one that the saga comes to by itself: that this is gone would pass for a mend. The
    second point of a double crash is in the recovery, which a mend may well shorten.
    """
    word = f"{schedule.mode}_at_{schedule.at}" if schedule.mode != "none" else "with_faults"
    call = f"explore({name}, ..., schedules=[{schedule}])"
    if schedule.mode in {"none", "repeat", "double_crash"}:
        body = [f"    {call}"]
    else:
        body = [f"    found = {call}", "    assert [] == found.unreached, 'it says nothing any more: explore anew'"]
    return [
        "from cqrs_core.testing import Schedule, explore",
        "",
        "",
        f"def test_{name.lower()}_{word}() -> None:",
        *body,
    ]
