"""
Plays a saga under everything that can go wrong, in virtual time.

``explore`` goes through all ``schedule``s; a ``stage`` plays one, with ``incarnation``s of a worker that die, stand
still or are cancelled; a ``ledger`` judges what the steps have done.
"""

from __future__ import annotations

from cqrs_core.testing.exploring.explore import explore
from cqrs_core.testing.exploring.idempotence import assert_idempotent
from cqrs_core.testing.exploring.schedule import Exploration, ExplorationFailed, Played, Schedule

__all__ = ["Exploration", "ExplorationFailed", "Played", "Schedule", "assert_idempotent", "explore"]
