"""The outbox of python-cqrs, in the environment where that is installed; a :class:`peer.Peer` runs it."""

# Types are checked where python-cqrs is not installed.
# mypy: disable-error-code="import-not-found,misc"

from __future__ import annotations

import os
import sys
from importlib.metadata import version

import cqrs
import sqlalchemy as sa
from cqrs.outbox.sqlalchemy import OutboxModel
from database import SERVER, Database
from orders import NAME, TOPIC, Base, Placed, placed, writing
from peer import serve

OrderPlaced = cqrs.NotificationEvent[Placed]


def order_placed(number: int) -> cqrs.NotificationEvent:
    return OrderPlaced(event_name=NAME, topic=TOPIC, payload=placed(number))


def main() -> None:
    """Serve until stdin ends: ``write_3`` is a transaction with three events, ``order_3`` one with an order as well."""
    cqrs.OutboxedEventMap.register(NAME, OrderPlaced)
    database = Database(os.environ[SERVER], Base.metadata, OutboxModel.metadata)
    blocks = {
        f"{name}_{events}": database.block(
            writing(
                database.sessions,
                cqrs.SqlAlchemyOutboxedEventRepository,
                order_placed,
                orders=orders,
                events=events,
            )
        )
        for name, orders, counts in (("write", 0, (1, 3, 100)), ("order", 1, (0, 1, 3, 20)))
        for events in counts
    }
    about = {"version": version("python-cqrs"), "python": sys.version.split()[0], "sqlalchemy": sa.__version__}
    serve(blocks, about)
    database.close()


if __name__ == "__main__":
    main()
