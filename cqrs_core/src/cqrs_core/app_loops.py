"""The loops that an App runs beside what it is asked for: its consumers, its relay, the worker of its sagas."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cqrs_core.errors import RelayRefused
from cqrs_core.loops import chosen_loops

if TYPE_CHECKING:
    from collections.abc import Collection

    from cqrs_core.app_parts import AppParts
    from cqrs_core.consumer import Consumer
    from cqrs_core.relay import OutboxRelay, RelayOptions
    from cqrs_core.saga.worker import SagaRecoveryWorker


class AppLoops(NamedTuple):
    """
    What runs until ``running()`` ends.

    Attributes:
        consumers: One for each group.
        relay: Sends what waits in the outbox; ``None``: there is none, or nobody asked for it; so is ``saga_worker``.
        saga_worker: Drives sagas that were started, or left.
    """

    consumers: tuple[Consumer, ...] = ()
    relay: OutboxRelay | None = None
    saga_worker: SagaRecoveryWorker | None = None


async def loops_of(parts: AppParts, only: Collection[str] | None, options: RelayOptions | None) -> AppLoops:
    """
    Make the loops of an App that is started.

    Args:
        parts: What it is made of.
        only: Which loops; ``None``: all that there are.
        options: How the relay sends, if the App was told.

    Raises:
        InvalidOption: *only* names something else.
        RelayRefused: Somebody else sends the outbox, and *only* asks for a relay, or there are *options* for one.
    """
    chosen = chosen_loops(only)
    traffic, sagas = parts.traffic, parts.sagas
    has_relay = _needs_relay(parts, only, chosen, options)
    return AppLoops(
        consumers=tuple(traffic.consumers(parts.observer)) if traffic is not None and "consumers" in chosen else (),
        relay=await _make_relay(parts, options) if has_relay else None,
        saga_worker=(
            sagas.worker(stop_deadline_s=parts.stop_deadline_s) if sagas is not None and "sagas" in chosen else None
        ),
    )


def _needs_relay(
    parts: AppParts, only: Collection[str] | None, chosen: Collection[str], options: RelayOptions | None
) -> bool:
    sent_by = parts.units.sent_by
    if sent_by is None:
        return parts.units.are_used and "relay" in chosen
    if options is not None or (only is not None and "relay" in chosen):
        raise RelayRefused(sent_by)
    return False


async def _make_relay(parts: AppParts, options: RelayOptions | None) -> OutboxRelay:
    # Only who has an outbox pays for it.
    from cqrs_core.bell import Bell  # noqa: PLC0415 - see above
    from cqrs_core.relay import OutboxRelay, RelayOptions  # noqa: PLC0415 - see above
    from cqrs_core.storage import outbox_keeper_of  # noqa: PLC0415 - see above

    traffic = await parts.started_traffic()
    options = options or RelayOptions()
    storage = parts.units.storage
    parts.bell = Bell()
    return OutboxRelay(
        storage.outbox.lease(parts.name, ttl_s=options.lease_ttl_s),
        traffic.broker,
        options=options,
        bell=parts.bell,
        observer=parts.observer,
        keeper=outbox_keeper_of(storage),
        signal=parts.signal,
        clock=parts.clock,
    )
