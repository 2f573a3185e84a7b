"""What tests of programs, and of plug-ins, need: a clock that is told the time, and the suites of `conformance`."""

from __future__ import annotations

from cqrs_core.testing.clock import VirtualClock

__all__ = ["VirtualClock"]
