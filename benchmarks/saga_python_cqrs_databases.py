"""The same sagas with python-cqrs, kept in the database that it is told; a :class:`peer.Peer` runs it."""

# Types are checked where python-cqrs is not installed.
# mypy: disable-error-code="import-not-found,misc"

from __future__ import annotations

import logging
import os
import sys
from importlib.metadata import version

import cqrs
import sqlalchemy as sa
from at_once import pieces
from cqrs.saga.storage.sqlalchemy import Base, SagaLogModel, SqlAlchemySagaStorage
from database import DATABASE, Database, let_ids_count
from peer import serve
from python_cqrs import TrivialContainer
from saga_python_cqrs import Order, OrderSaga


def main() -> None:
    """Serve until stdin ends."""
    logging.disable(logging.CRITICAL)
    let_ids_count(SagaLogModel.__table__)
    database = Database(os.environ[DATABASE], Base.metadata)
    saga_map = cqrs.SagaMap()
    saga_map.bind(Order, OrderSaga)
    mediator = cqrs.SagaMediator(saga_map, TrivialContainer(), storage=SqlAlchemySagaStorage(database.sessions))

    async def run() -> int:
        # Under an id of its own making: a given one costs it a SELECT and a ROLLBACK more.
        return len([result async for result in mediator.execute(Order("o-1"))])

    about = {"version": version("python-cqrs"), "python": sys.version.split()[0], "sqlalchemy": sa.__version__}
    serve({key: database.block(piece) for key, piece in pieces(run).items()}, about)
    database.close()


if __name__ == "__main__":
    main()
