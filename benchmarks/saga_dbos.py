"""
The same work with DBOS, a workflow of three steps, in the environment where it is installed; a Peer runs it.

Its functions are plain ones, each workflow in a thread: that takes less of the processor than its coroutines, which
hand every write to a thread.
"""

# Types are checked where DBOS is not installed.
# mypy: disable-error-code="import-not-found,misc"

from __future__ import annotations

import asyncio
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version

import sqlalchemy as sa
from at_once import WAYS, pieces
from database import DATABASE, Database
from dbos import DBOS, DBOSConfig
from peer import serve

#: What a launch needs to find again.
KEPT = ("dbos.application_versions", "dbos.dbos_migrations")


@DBOS.step()
def reserve(order_id: str) -> str:  # noqa: ARG001 - it does nothing
    return "r-1"


@DBOS.step()
def pay(order_id: str) -> str:  # noqa: ARG001 - as above
    return "p-1"


@DBOS.step()
def ship(order_id: str) -> str:  # noqa: ARG001 - as above
    return "s-1"


@DBOS.workflow()
def order(order_id: str) -> list[str]:
    return [step(order_id) for step in (reserve, pay, ship)]


def main() -> None:
    """Serve until stdin ends."""
    address = sa.make_url(os.environ[DATABASE]).set(drivername="postgresql+psycopg")
    url = address.render_as_string(hide_password=False)
    DBOS(config=DBOSConfig(name="bench", system_database_url=url, log_level="ERROR"))
    DBOS.launch()
    database = Database(os.environ[DATABASE], tables(address), kept=KEPT)
    with ThreadPoolExecutor(max(WAYS.values())) as threads:

        async def run() -> int:
            return len(await asyncio.get_running_loop().run_in_executor(threads, order, "o-1"))

        about = {"version": version("dbos"), "python": sys.version.split()[0], "sqlalchemy": sa.__version__}
        serve({key: database.block(piece) for key, piece in pieces(run).items()}, about)
    database.close()
    DBOS.destroy()


def tables(address: sa.URL) -> sa.MetaData:
    """Read what the launch has made."""
    found = sa.MetaData(schema="dbos")
    engine = sa.create_engine(address)
    found.reflect(engine)
    engine.dispose()
    return found


if __name__ == "__main__":
    main()
