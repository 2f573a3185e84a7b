"""The benchmark of sagas in databases runs, and does what it says it does. How fast anything is, no test says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sqlalchemy")

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
DATABASES = ["PostgreSQL", "MariaDB", "SQLite"]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The databases that can be measured, and the benchmark's modules, as they see each other."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from database import servers

    found: dict[str, str] = servers()
    return found


def test_the_short_form_measures_every_database(here: dict[str, str], tmp_path: Path) -> None:
    """Without the peers there is what plain commits cost; each saga would say if it had not run to its end."""
    if not here:
        pytest.skip("no driver of a database is here")
    written = tmp_path / "results.json"
    command = [sys.executable, str(BENCHMARKS / "saga.py"), "--short", "--only", *here, "--json", str(written)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)

    assert (0, "") == (done.returncode, done.stderr)
    results = json.loads(written.read_text(encoding="utf-8"))
    for name in here:
        assert results[name]["server_version" if name == "PostgreSQL" else "version"]
        rows = results[f"{name}, plain commits"]
        assert ["alone", "at_once"] == [row["key"] for row in rows]
        assert all(row["other_us"] > 0 and row["ours_us"] > 0 for row in rows)


@pytest.mark.parametrize("name", DATABASES)
def test_as_many_sagas_as_are_asked_for_are_kept_to_their_ends(name: str, here: dict[str, str]) -> None:
    """One after the other, or fifty at once; a second block finds empty tables again."""
    if name not in here:
        pytest.skip(f"{name}, or the driver for it, is not here")
    import sqlalchemy as sa
    from database import Database, new_database
    from saga_databases import OURS, PLAIN, open_ours

    done: dict[str, dict[str, list[int]]] = {}
    with new_database(here[name]) as url, open_ours(url) as contestants:
        database = Database(url)

        async def counts(*statements: str) -> list[int]:
            async with database.sessions() as session:
                return [await session.scalar(sa.text(statement)) for statement in statements]

        asked = {
            OURS: ("SELECT count(*) FROM saga WHERE wake_at IS NULL", "SELECT count(*) FROM saga_step"),
            PLAIN: ("SELECT count(*) FROM plain WHERE position = 3",),
        }
        for contestant, blocks in contestants.items():
            for key, block in blocks.items():
                block(1)
                block(2)
                done.setdefault(contestant, {})[key] = database.run(counts(*asked[contestant]))
        database.close()

    assert {
        OURS: {"alone": [2, 6], "at_once": [100, 300]},
        PLAIN: {"alone": [2], "at_once": [100]},
    } == done


def test_a_saga_that_did_not_do_its_steps_is_no_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise one that fails would count as a fast one."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import asyncio

    import at_once

    async def run() -> int:
        return 2

    piece = at_once.pieces(run)["at_once"]
    with pytest.raises(at_once.WronglyRun, match="2 of 3 steps"):
        asyncio.run(piece.work(piece.prepare(1)))
