"""Work with the tables as another process does, under another SQLAlchemy; see ``test_sqlalchemy_lines.py``."""

from __future__ import annotations

import asyncio
import json
import sys
import uuid

import sqlalchemy as sa

from cqrs_sqla.engines import make_engine
from cqrs_sqla.storage import SqlAlchemyStorage
from cqrs_sqla.tables import define_tables


async def main(url: str, sent: uuid.UUID, answered: uuid.UUID) -> None:
    """Copy the row with the id *sent* under the id *answered*, and tell what was seen."""
    tables = define_tables(sa.MetaData())
    engine = make_engine(url)
    await SqlAlchemyStorage(engine, tables=tables).create()
    async with engine.begin() as connection:
        found = await connection.execute(sa.select(tables.outbox).where(tables.outbox.c.id == sent))
        for row in found.mappings().all():
            values = {name: value for name, value in row.items() if name != "seq"}
            await connection.execute(sa.insert(tables.outbox), [values | {"id": answered}])
    problems = await SqlAlchemyStorage(engine, tables=tables).check()
    await engine.dispose()
    sys.stdout.write(json.dumps({"sqlalchemy": sa.__version__, "problems": problems}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], *map(uuid.UUID, sys.argv[2:])))
