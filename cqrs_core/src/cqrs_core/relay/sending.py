"""Hands a batch over to the broker, so that messages of one key stay in order whatever happens to some of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cqrs_core.broker import SendOutcome, SendStatus
from cqrs_core.concurrency import as_failure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cqrs_core.broker import Broker
    from cqrs_core.outbox import OutboxRecord

_HELD_BACK = SendOutcome(SendStatus.NOT_SENT)


async def send_in_order(broker: Broker, records: Sequence[OutboxRecord]) -> Sequence[SendOutcome]:
    """
    Send *records*, which are in their order, and tell of each what became of it.

    Of a key, nothing is sent after a message that failed.
    """
    if broker.keeps_order_after_failure:
        return await broker.send_many([record.envelope for record in records])
    outcomes = [_HELD_BACK] * len(records)
    failed: set[str] = set()
    left = list(range(len(records)))
    while left:
        wave, later = _first_of_each_key(left, records)
        for index, outcome in zip(wave, await broker.send_many([records[i].envelope for i in wave]), strict=True):
            outcomes[index] = outcome
            key = records[index].envelope.key
            if not outcome.is_delivered and key is not None:
                failed.add(key)
        if any(outcomes[index].status is SendStatus.UNAVAILABLE for index in wave):
            break
        left = [index for index in later if records[index].envelope.key not in failed]
    return outcomes


async def send_one_by_one(broker: Broker, records: Sequence[OutboxRecord]) -> Sequence[SendOutcome]:
    """
    Send *records* to a broker that raised when it was given all of them: one may be at fault.

    That one is refused, if others pass. If none does, it is the broker that is not available.
    """
    outcomes = [_HELD_BACK] * len(records)
    raised: dict[int, Exception] = {}
    failed: set[str] = set()
    for index, record in enumerate(records):
        key = record.envelope.key
        if key is not None and key in failed:
            continue
        try:
            (outcomes[index],) = await broker.send_many([record.envelope])
        except BaseException as error:  # noqa: BLE001 - a cancellation that was asked of this task goes on
            raised[index] = as_failure(error)
        if key is not None and not outcomes[index].is_delivered:
            failed.add(key)
    is_working = any(outcome.is_delivered for outcome in outcomes)
    for index, failure in raised.items():
        outcomes[index] = SendOutcome(SendStatus.REFUSED if is_working else SendStatus.UNKNOWN, failure)
    return outcomes


def _first_of_each_key(left: Sequence[int], records: Sequence[OutboxRecord]) -> tuple[list[int], list[int]]:
    wave: list[int] = []
    later: list[int] = []
    seen: set[str] = set()
    for index in left:
        key = records[index].envelope.key
        if key is not None and key in seen:
            later.append(index)
            continue
        wave.append(index)
        if key is not None:
            seen.add(key)
    return wave, later
