"""Connections that are opened: none is lost, whatever happens while they are."""

from __future__ import annotations

from typing import NoReturn

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from cqrs_sqla.connecting import open_connection


@pytest.mark.parametrize("driver", ["aiosqlite"])
async def test_a_connection_that_breaks_before_its_first_use_is_back_at_once(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the server is restarted: the pool would count it as taken until it is collected as garbage."""

    def fail(*_: object) -> NoReturn:
        raise ConnectionError("gone")

    async with engine.connect():
        pass
    monkeypatch.setattr(engine.dialect, "set_isolation_level", fail)
    with pytest.raises(ConnectionError, match="gone") as raised:
        await open_connection(engine, "AUTOCOMMIT")

    assert raised.traceback  # it holds on to what was opened, so that nothing is collected
    assert 0 == engine.pool.checkedout()  # type: ignore[attr-defined]  # a queue
