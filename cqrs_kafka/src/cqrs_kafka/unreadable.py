"""
Records of which aiokafka can make nothing.

Keys, values and bodies may be any bytes. Only a header whose name is not UTF-8 is more than it can read. Then it gives
nothing of what it has fetched: neither what is wrong nor where, and on the next call it goes on behind what it had read
and not given. It reads from the beginning of the batch that its sender made, so what follows in that is lost as well.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from aiokafka import TopicPartition

    from cqrs_kafka.member import Member
    from cqrs_kafka.progress import Progress

    Hold = Callable[[Mapping[TopicPartition, list[Any]]], None]

logger = logging.getLogger(__name__)

_LIMIT = 500
_WAIT_S = 0.6  # a little more than a broker waits for messages to come


async def step_over(member: Member, owned: Iterable[Progress], error: UnicodeDecodeError, hold: Hold) -> None:
    """
    Find the record that caused *error*, and go on behind it; what comes before it is read, and kept.

    Args:
        owned: Where it may be. Of each, the member goes on with what comes next.
        hold: Takes what is read meanwhile.

    Raises:
        KafkaError: Something else is wrong.
    """
    for progress in owned:
        if progress.next_offset is None or progress.is_leaving or not member.is_assigned(progress.partition):
            continue
        try:
            hold(await member.poll([progress.partition], limit=_LIMIT, wait_s=_WAIT_S))
        except UnicodeDecodeError:
            await _creep(member, progress, progress.next_offset, hold, error)


async def _creep(member: Member, progress: Progress, offset: int, hold: Hold, error: UnicodeDecodeError) -> None:
    """Read one record after the other, leave out those that cannot be read, and end behind them."""
    partition = progress.partition
    has_failed, has_left_out = True, False
    while not progress.is_leaving and member.is_assigned(partition):
        if has_failed:
            member.seek(partition, offset)
        try:
            found = (await member.poll([partition], limit=1, wait_s=_WAIT_S)).get(partition)
        except UnicodeDecodeError:
            _tell(partition, offset, error)
            offset += 1
            progress.moved_to(offset)
            has_failed = has_left_out = True
            continue
        if not found:
            break
        hold({partition: found})
        if has_left_out:
            break
        offset = found[-1].offset + 1
        has_failed = False


def _tell(partition: TopicPartition, offset: int, error: UnicodeDecodeError) -> None:
    logger.error(
        "The message at offset %d of %s, partition %d, is left out: the client cannot read it, or one before it in its "
        "batch, with a header whose name is not UTF-8.",
        offset,
        partition.topic,
        partition.partition,
        exc_info=error,
        extra={"topic": partition.topic, "partition": partition.partition, "offset": offset},
    )
