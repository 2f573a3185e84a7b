"""
The SQL side of a relay: what it holds of the outbox, and how it reads and empties it.

:mod:`.lease` is what the relay asks; it has two :mod:`.lines` to the database, of its own, which :mod:`.preparing`
looks at and sets. :mod:`.sharing` keeps who has which slots, as :mod:`.shares` decides; :mod:`.messages` reads,
removes, postpones and buries, and :mod:`.decoding` makes messages of rows. What each database calls all that is in
:mod:`.dialects`.
"""

from __future__ import annotations

from cqrs_sqla.relaying.lease import SqlAlchemyOutboxLease

__all__ = ["SqlAlchemyOutboxLease"]
