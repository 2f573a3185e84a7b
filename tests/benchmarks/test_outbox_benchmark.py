"""The benchmark of the outbox runs, and writes what it says it does. How fast anything is, no test says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
WAYS = ("by the repository", "by a handler")


@pytest.fixture
def server() -> str:
    """The URL of a server, where there is one, and what reaches it."""
    pytest.importorskip("asyncpg")
    pytest.importorskip("sqlalchemy")
    url = os.environ.get("TEST_POSTGRES_URL")
    if not url:
        pytest.skip('TEST_POSTGRES_URL is not set: eval "$(scripts/services start)" starts what it names')
    return url


@pytest.mark.usefixtures("server")
def test_the_short_form_measures_every_row(tmp_path: Path) -> None:
    """Without the peer there are the tables of our own; what it made on the server is gone in the end."""
    written = tmp_path / "results.json"
    command = [sys.executable, str(BENCHMARKS / "outbox.py"), "--short", "--json", str(written)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)

    assert (0, "") == (done.returncode, done.stderr)
    facts = json.loads(written.read_text(encoding="utf-8"))
    assert {"fsync", "synchronous_commit"} < facts.keys()
    titles = {about: [row["title"] for row in rows] for about, rows in facts["results"].items()}
    assert {
        "outbox write, one transaction": [f"{n}, {way}" for n in ("1 event", "3 events", "100 events") for way in WAYS],
        "an order and events, one transaction": [
            f"{n}, {way}" for n in ("1 event", "3 events", "20 events") for way in WAYS
        ],
        "unit of work": ["an order, in the handler's session", "a query that touches no session"],
        "relay on PostgreSQL": [
            *(f"no-op broker, batches of {batch}" for batch in (100, 500, 1000)),
            *(f"broker of 1 ms, batches of {batch}" for batch in (100, 500)),
            *(["Kafka, batches of 500"] if os.environ.get("TEST_KAFKA_BOOTSTRAP") else []),
        ],
    } == titles
    for rows in facts["results"].values():
        for row in rows:
            assert row["title"] in done.stdout
            assert row["other_us"] > 0
            assert row["ours_us"] > 0


def test_all_of_the_work_is_done(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each piece commits as many orders and events as its name says."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import outbox
    import outbox_ours
    import sqlalchemy as sa
    from database import new_database

    done: dict[str, Any] = {}
    with new_database(server) as url, outbox.open_ours(url) as database:

        async def counts() -> tuple[int, ...]:
            async with database.sessions() as session:
                return tuple(
                    [await session.scalar(sa.text(f"SELECT count(*) FROM {name}")) for name in ("orders", "outbox")]  # noqa: S608 - our names
                )

        works = AsyncExitStack()
        for name, piece in database.run(works.enter_async_context(outbox_ours.works(database))).items():
            database.block(piece)(2)
            done[name] = database.run(counts())
        database.run(works.aclose())

    alone = {f"{way}_{events}": (0, 2 * events) for way in ("raw", "write", "handler") for events in (1, 3, 100)}
    with_order = {f"{way}_{events}": (2, 2 * events) for way in ("order", "unit") for events in (0, 1, 3, 20)}
    assert {**alone, **with_order, "by_hand": (2, 0), "ask": (0, 0), "ask_stored": (0, 0)} == done


@pytest.mark.parametrize("name", ["PostgreSQL", "MariaDB", "SQLite"])
@pytest.mark.usefixtures("server")
def test_everything_is_drained(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A block would say if it had sent more or less than was committed; a second one finds an empty table again."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from database import new_database, servers
    from draining import drains
    from outbox_ours_relay import RAW, open_relays

    server = servers().get(name)
    if server is None:
        pytest.skip(f"{name}, or the driver for it, is not here")
    keys = {drain.key for drain in drains()}
    with new_database(server) as url, open_relays(url) as blocks:
        taken = [block(count) for block in blocks.values() for count in (230, 1)]

    assert keys | ({f"{RAW}{key}" for key in keys} if name == "PostgreSQL" else set()) == set(blocks)
    assert all(seconds > 0 for seconds in taken)


def test_what_the_events_add_is_compared_above_what_each_side_needs_without(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both sides have their own base, and the medians of the differences are compared."""
    pytest.importorskip("asyncpg")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import outbox

    row = outbox.Comparison(outbox.ADDED, "3 events", "theirs", "ours", 0.5, above=("their base", "base"))
    taken = {"theirs": [14.0, 16.0], "their base": [10.0, 10.0], "ours": [7.0, 8.0], "base": [5.0, 6.0]}
    result = row.judge(taken)

    assert (5e6, 2e6) == (result.other_us, result.ours_us)  # (4 + 6) / 2 and (2 + 2) / 2 seconds
    assert (0.4, 0.4, 0.4) == result.ratio
    assert "ok" == result.verdict
