"""Runs handlers of events that were put off: those of one level, side by side or in one unit of work."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from cqrs_core.concurrency import run_all
from cqrs_core.errors import EventHandlersFailed
from cqrs_core.reactions import react

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cqrs_core.messages import Event
    from cqrs_core.open_unit import OpenUnit
    from cqrs_core.reactions import Job, Outcome
    from cqrs_core.wiring import HandlerSource, Resolve

logger = logging.getLogger(__name__)


async def run_jobs(
    jobs: Sequence[Job],
    brought: Sequence[list[Event]],
    outcome: Outcome,
    resolve: Resolve,
    *,
    limit: int,
    scopes: HandlerSource | None,
) -> None:
    """
    Run handlers; all of them, whatever fails.

    Args:
        jobs: In the order in which they begin.
        brought: For each, where the events that it emits go.
        outcome: Takes the errors.
        resolve: Makes handlers in the scope that is open.
        limit: How many may run at the same time.
        scopes: Opens a scope for each that runs beside others: what a scope shares, such as a session, is not for two
            at the same time. ``None``: they need none.
    """
    limit = min(limit, len(jobs))

    async def run(number: int, job: Job) -> None:
        try:
            if limit > 1 and scopes is not None:
                async with scopes.resolving() as own:
                    await react(job.event, job.reaction, own, brought[number])
            else:
                await react(job.event, job.reaction, resolve, brought[number])
        except Exception as error:  # noqa: BLE001 - the policy decides what becomes of it
            outcome.errors.append(error)

    await run_all([partial(run, number, job) for number, job in enumerate(jobs)], limit=limit)


async def run_jobs_in_unit(
    jobs: Sequence[Job],
    brought: Sequence[list[Event]],
    outcome: Outcome,
    unit: OpenUnit,
    *,
    is_raising: bool,
) -> None:
    """
    Run handlers that share a transaction: one after the other.

    Args:
        jobs: As for :func:`run_jobs`; so are *brought* and *outcome*.
        unit: Whose transaction it is.
        is_raising: Whether the first that fails ends the rest; else what it did is undone, its error is logged, and
            the others run.

    Raises:
        EventHandlersFailed: One failed, and *is_raising*.
    """
    for job, emitted in zip(jobs, brought, strict=True):
        if not is_raising:
            await unit.work.flush()  # what fails there is not the handler's
        try:
            if is_raising:
                await react(job.event, job.reaction, unit.resolve, emitted, unit)
            else:
                async with unit.savepoint():
                    await react(job.event, job.reaction, unit.resolve, emitted, unit)
        except Exception as error:
            emitted.clear()
            if is_raising:
                outcome.errors.append(error)
                raise EventHandlersFailed(outcome.errors, is_rolled_back=True) from error
            logger.exception("An event handler failed; what it did is undone, and the policy is to go on.")
