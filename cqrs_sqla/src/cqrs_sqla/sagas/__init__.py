"""
Sagas in SQL: where they stand, what was done in them, and whose they are.

:mod:`.storage` is what the engine of the core asks. What many ask at once, :mod:`.lanes` make few statements of:
:mod:`.postgresql` has one for everything that is written together, :mod:`.transactions` does the same in a transaction
where a database has no such statement. All that goes over :mod:`.connections` of its own. :mod:`.claiming` takes sagas,
and keeps them; :mod:`.keeping` is for people. :mod:`.records` knows what a saga looks like as a row, and what does not
fit into one.
"""

from __future__ import annotations

from cqrs_sqla.sagas.storage import SqlAlchemySagaStorage

__all__ = ["SqlAlchemySagaStorage"]
