"""The plug-in of examples/write_a_plugin: installed, used by an App, and gone again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Environment

pytest.importorskip("hatchling", reason="run by nox -s plugins")
pytest.importorskip("uv", reason="run by nox -s plugins")

APP = """
import asyncio
import cqrs_core as cqrs

class Placed(cqrs.DomainEvent):
    order_id: str

class Print(cqrs.EventHandler[Placed]):
    async def handle(self, event: Placed) -> None:
        print(event.order_id, cqrs.current_message().topic)
        if event.order_id == "o-3":
            done.set()

async def main() -> None:
    orders = cqrs.App("orders", broker={url!r})
    orders.publishes("orders", {{"Placed": Placed}}, key=lambda event: "one")
    mailing = cqrs.App("mailing", broker={url!r})
    mailing.events.bind(Placed, Print)
    mailing.consume("orders", {{"Placed": Placed}})
    async with mailing.running(), orders:
        for number in range(1, 4):
            await orders.publish(Placed(f"o-{{number}}"))
        await asyncio.wait_for(done.wait(), 60)

done = asyncio.Event()
asyncio.run(main())
"""


def test_the_example_is_found_carries_the_events_of_an_app_and_is_gone_when_uninstalled(
    install: Callable[..., Environment], tmp_path: Path
) -> None:
    """Installing its wheel is enough; nothing of the core, or of the program but the URL, knows it."""
    url = f"{(tmp_path / 'spool').as_uri().replace('file', 'directory')}?poll_interval_s=0.01"
    environment = install("cqrs-directory-broker")

    assert ["o-1 orders", "o-2 orders", "o-3 orders"] == environment.run(APP.format(url=url))[0]
    code, listed = environment.command("cqrs", "plugins")
    assert (0, True) == (code, "  broker directory  directory://" in listed)

    environment.uninstall("cqrs-directory-broker")

    (told,), _ = environment.run(f"attempt('broker', {url!r})")
    assert "BackendNotFound: No broker answers to 'directory://'. Available: memory://." == told
    assert "directory" not in environment.command("cqrs", "plugins")[1]
