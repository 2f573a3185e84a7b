"""What tests of programs, and of plug-ins, need: a clock that is told the time, sagas that are crashed, the suites."""

from __future__ import annotations

from cqrs_core.testing.clock import VirtualClock
from cqrs_core.testing.exploring import Exploration, ExplorationFailed, Played, Schedule, assert_idempotent, explore

__all__ = ["Exploration", "ExplorationFailed", "Played", "Schedule", "VirtualClock", "assert_idempotent", "explore"]
