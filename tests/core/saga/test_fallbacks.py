"""A step and another one in its place: which was begun is recorded, and what may have taken effect is undone first."""

from __future__ import annotations

import logging
import uuid
from typing import Any

import pytest

import cqrs_core as cqrs
from cqrs_core import errors
from cqrs_core.resilience import RetryPolicy
from cqrs_core.saga.log import Branch, SagaStatus


async def sides(mediator: Any, saga_id: uuid.UUID) -> list[str]:
    history = await mediator.storage.get_step_history(saga_id)
    return [f"{entry.action} {entry.step_id} {entry.branch.name} {entry.status}" for entry in history]


async def test_a_primary_that_succeeds_is_all_that_is_done(story: Any) -> None:
    mediator = story.mediator(story.saga("A", cqrs.Fallback(story.step("B"), story.step("F"))))

    assert ["a", "b"] == await story.run(mediator)
    assert ["act A", "act B"] == story.events


async def test_the_fallback_is_done_when_the_primary_has_failed(story: Any) -> None:
    mediator = story.mediator(story.saga("A", cqrs.Fallback(story.step("B"), story.step("F")), "C"))
    story.failures["act B"] = [ValueError("no")]
    saga_id = uuid.uuid4()

    assert ["a", "f", "c"] == await story.run(mediator, saga_id)
    assert ["act A", "act B", "act F", "act C"] == story.events
    assert [
        "act A PRIMARY completed",
        "act B PRIMARY failed",
        "act B FALLBACK completed",
        "act C PRIMARY completed",
    ] == await sides(mediator, saga_id)


async def test_what_was_done_is_what_is_undone(story: Any) -> None:
    mediator = story.mediator(story.saga(cqrs.Fallback(story.step("B"), story.step("F")), "C"))
    story.failures |= {"act B": [ValueError("no")], "act C": [ValueError("no")]}
    with pytest.raises(ValueError, match="no"):
        await story.run(mediator)

    assert ["act B", "act F", "act C", "undo F"] == story.events


async def test_a_primary_in_doubt_is_undone_before_the_fallback_begins(story: Any) -> None:
    """And that it is to be undone is durable before it is: whoever goes on does not begin the primary again."""
    mediator = story.mediator(story.saga("A", cqrs.Fallback(story.step("B"), story.step("F"))))
    story.failures["act B"] = [TimeoutError()]
    saga_id, seen = uuid.uuid4(), []

    async def look() -> None:
        seen.append((await mediator.storage.load(saga_id)).branch)

    story.on |= {"act B": look, "undo B": look, "act F": look}

    assert ["a", "f"] == await story.run(mediator, saga_id)
    assert ["act A", "act B", "undo B", "act F"] == story.events
    assert [Branch.PRIMARY, Branch.LEAVING, Branch.FALLBACK] == seen
    assert [
        "act A PRIMARY completed",
        "act B PRIMARY in_doubt",
        "compensate B PRIMARY completed",
        "act B FALLBACK completed",
    ] == await sides(mediator, saga_id)


async def test_a_primary_in_doubt_that_cannot_be_undone_waits_for_a_person(story: Any) -> None:
    """The fallback does not begin: the effect would be there twice."""
    mediator = story.mediator(story.saga("A", cqrs.Fallback(story.step("B"), story.step("F"))))
    story.failures |= {"act B": [TimeoutError()], "undo B": [OSError("down")] * 3}
    saga_id = uuid.uuid4()
    with pytest.raises(errors.SagaSuspended):
        await story.run(mediator, saga_id)
    record = await mediator.storage.load(saga_id)

    assert "act F" not in story.events
    assert (SagaStatus.SUSPENDED, Branch.LEAVING) == (record.status, record.branch)


async def test_both_sides_may_be_undone(story: Any) -> None:
    """The primary may have taken effect, and so may the fallback."""
    mediator = story.mediator(story.saga("A", cqrs.Fallback(story.step("B"), story.step("F"))))
    story.failures |= {"act B": [TimeoutError()], "act F": [TimeoutError()]}
    with pytest.raises(TimeoutError):
        await story.run(mediator)

    assert ["act A", "act B", "undo B", "act F", "undo F", "undo A"] == story.events


async def test_only_errors_that_it_is_for_lead_to_the_fallback(story: Any) -> None:
    fallback = cqrs.Fallback(story.step("B"), story.step("F"), failure_exceptions=(KeyError,))
    mediator = story.mediator(story.saga("A", fallback))
    story.failures["act B"] = [ValueError("no")]
    with pytest.raises(ValueError, match="no"):
        await story.run(mediator)

    assert ["act A", "act B", "undo A"] == story.events


async def test_a_circuit_that_is_open_leads_to_the_fallback_and_nothing_is_in_doubt(story: Any) -> None:
    """The breaker hears of each saga once, after the retries; an open circuit is no effect, so nothing is undone."""
    breaker = cqrs.LocalCircuitBreaker(fail_max=2, open_for_s=60, clock=story.clock)
    primary = story.step("B", retry=RetryPolicy(max_attempts=2, delay_s=0.1))
    fallback = cqrs.Fallback(primary, story.step("F"), circuit_breaker=breaker)
    mediator = story.mediator(story.saga(fallback))
    story.failures["act B"] = [ValueError(f"{number}") for number in range(4)]
    ran = [await story.run(mediator) for _ in range(3)]

    assert [["f"]] * 3 == ran
    assert ["act B", "act B", "act F"] * 2 + ["act F"] == story.events


async def test_a_breaker_may_be_named(story: Any) -> None:
    """It is opened when the mediator is built, as for requests; a name that nobody has is told then."""
    fallback = cqrs.Fallback(story.step("B"), story.step("F"), circuit_breaker="nobody://has-this")
    with pytest.raises(cqrs.WiringError, match="nobody"):
        story.mediator(story.saga(fallback))


async def test_the_two_sides_have_keys_of_their_own(story: Any) -> None:
    mediator = story.mediator(story.saga(cqrs.Fallback(story.step("B"), story.step("F"))))
    story.failures["act B"] = [TimeoutError()]
    await story.run(mediator)

    assert 3 == len({key for keys in story.keys.values() for key in keys})


@pytest.mark.parametrize(
    ("named", "level"), [((), "WARNING"), ((Exception,), "WARNING"), ((ValueError,), "DEBUG")], ids=str
)
async def test_a_failure_that_is_named_is_nothing_for_people_to_look_at(
    story: Any, caplog: pytest.LogCaptureFixture, named: tuple[type[Exception], ...], level: str
) -> None:
    """It was foreseen, and has its way. One for which no more is said than that any is, is told with its traceback."""
    caplog.set_level(logging.DEBUG, "cqrs_core.resilience.calls")
    fallback = cqrs.Fallback(story.step("B"), story.step("F"), failure_exceptions=named)
    story.failures["act B"] = [ValueError("none is left")]
    await story.run(story.mediator(story.saga(fallback)))

    (record,) = caplog.records
    assert level == record.levelname
    assert "takes over for Order, because of ValueError." in record.getMessage()
    assert (level == "WARNING") is (record.exc_info is not None)


async def test_what_is_completed_after_all_shows_no_error(story: Any) -> None:
    """The history has it; until then the saga shows it, and without more writes than one for each step."""
    mediator = story.mediator(story.saga("A", cqrs.Fallback(story.step("B"), story.step("F")), "C"))
    story.failures["act B"] = [ValueError("none is left")]
    saga_id, before = uuid.uuid4(), []

    async def look() -> None:
        before.append((await mediator.storage.load(saga_id)).error)

    story.on["act C"] = look
    await story.run(mediator, saga_id)
    record = await mediator.storage.load(saga_id)

    assert ["ValueError: none is left"] == before
    assert (SagaStatus.COMPLETED, None) == (record.status, record.error)
    assert 1 + 4 == record.version
    assert ["ValueError: none is left"] == [
        e.error for e in await mediator.storage.get_step_history(saga_id) if e.error
    ]
