"""
SQL databases for :mod:`cqrs_core`, through SQLAlchemy 2: PostgreSQL, MariaDB, MySQL and SQLite.

What a handler changes goes this way: :mod:`.storage` (makes units over one engine) → :mod:`.unit` (one session, one
transaction; :mod:`.guard` keeps others from ending it) → :mod:`.writing` (events wait in a :mod:`.buffer`, as
:mod:`.rows`) → :mod:`.inserting` (one statement, just before the commit) → :mod:`.outbox` (they wait to be sent).
By hand, :mod:`.repository` comes in the place of the unit, and for who sends by hand, too, by :mod:`.taking`. A person
looks after what waits through :mod:`.keeper`. Messages that come in are noted by :mod:`.accepting`; :mod:`.inbox` has
them :mod:`forgotten <.forgetting>`. Where sagas stand is kept by :mod:`.sagas`, and what they have done here by
:mod:`.effect_guard`. The tables of all that are in :mod:`.tables`, and :mod:`.schema` looks after them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cqrs_sqla.compressor import Compressor, ZlibCompressor
    from cqrs_sqla.effect_guard import EffectGuard
    from cqrs_sqla.engines import make_engine
    from cqrs_sqla.event_map import OutboxedEventMap
    from cqrs_sqla.repository import SqlAlchemyOutboxedEventRepository
    from cqrs_sqla.storage import SqlAlchemyStorage
    from cqrs_sqla.tables import Tables, define_tables
else:

    def __getattr__(name: str) -> object:  # hidden from type checkers, which would believe any name
        """Import SQLAlchemy when something is asked for: to find the plug-in does not need it."""
        import importlib  # noqa: PLC0415 - as the docstring says

        if name not in _ON_DEMAND:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"cqrs_sqla.{_ON_DEMAND[name]}"), name)
        globals()[name] = value
        return value


_ON_DEMAND = {
    "Compressor": "compressor",
    "EffectGuard": "effect_guard",
    "OutboxedEventMap": "event_map",
    "SqlAlchemyOutboxedEventRepository": "repository",
    "SqlAlchemyStorage": "storage",
    "Tables": "tables",
    "ZlibCompressor": "compressor",
    "define_tables": "tables",
    "make_engine": "engines",
}

__version__ = "0.1.0"

__all__ = [
    "Compressor",
    "EffectGuard",
    "OutboxedEventMap",
    "SqlAlchemyOutboxedEventRepository",
    "SqlAlchemyStorage",
    "Tables",
    "ZlibCompressor",
    "define_tables",
    "make_engine",
]
