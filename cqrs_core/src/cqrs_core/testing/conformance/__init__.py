"""
What every plug-in of a kind must do, as tests that its author runs: subclass, give a backend, and start pytest.

A check's docstring is the rule. What a backend cannot do is ``waived`` with a reason, which users read.
"""

from __future__ import annotations

import pytest

# Before these modules are imported, or a failing assertion would not show its values.
pytest.register_assert_rewrite("cqrs_core.testing.conformance.broker", "cqrs_core.testing.conformance.suite")

from cqrs_core.testing.conformance.broker import BrokerConformance  # noqa: E402 - see above

__all__ = ["BrokerConformance"]
