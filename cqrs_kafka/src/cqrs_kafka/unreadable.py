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

    Hold = Callable[[Mapping[TopicPartition, list[Any]]], None]

logger = logging.getLogger(__name__)

_LIMIT = 500
_WAIT_S = 0.6  # a little more than a broker waits for messages to come


async def step_over(member: Member, partitions: Iterable[TopicPartition], error: Exception, hold: Hold) -> int:
    """
    Find the record that caused *error*, and go on behind it; what was read before it is read again, and kept.

    Args:
        hold: Takes what is read meanwhile.

    Returns:
        How many records were left out.

    Raises:
        BrokerUnavailable: No broker answers.
    """
    owned = [partition for partition in partitions if member.is_assigned(partition)]
    for partition in owned:
        member.seek(partition, await member.position(partition))
    left_out = 0
    for partition in owned:
        if not member.is_assigned(partition):
            continue
        offset = await member.position(partition)
        try:
            hold(await member.poll([partition], limit=_LIMIT, wait_s=_WAIT_S))
        except type(error):
            member.seek(partition, offset)
            left_out += await _creep(member, partition, error, hold)
    return left_out


async def _creep(member: Member, partition: TopicPartition, error: Exception, hold: Hold) -> int:
    """Read one record after the other; leave out those that cannot be read, up to the first that can."""
    left_out = 0
    while member.is_assigned(partition):
        offset = await member.position(partition)
        try:
            found = await member.poll([partition], limit=1, wait_s=_WAIT_S)
        except type(error):
            logger.error(  # noqa: TRY400 - the traceback of the error that came first
                "The message at offset %d of %s, partition %d, is left out: the client cannot read it, or one before "
                "it in its batch, with a header whose name is not UTF-8.",
                offset,
                partition.topic,
                partition.partition,
                exc_info=error,
                extra={"topic": partition.topic, "partition": partition.partition, "offset": offset},
            )
            member.seek(partition, offset + 1)
            left_out += 1
            continue
        hold(found)
        if left_out or not found:
            break
    return left_out
