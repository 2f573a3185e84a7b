"""
What every plug-in of a kind must do, as tests that its author runs: subclass, give a backend, and start pytest.

A check's docstring is the rule. What a backend cannot do is ``waived`` with a reason, which users read.
"""

from __future__ import annotations

import pytest

# Before these modules are imported, or a failing assertion would not show its values.
_PARTS = ("breaker", "broker", "sagas", "storage", "suite")
pytest.register_assert_rewrite(*(f"cqrs_core.testing.conformance.{part}" for part in _PARTS))

from cqrs_core.testing.conformance.breaker import CircuitBreakerConformance  # noqa: E402 - see above
from cqrs_core.testing.conformance.broker import BrokerConformance  # noqa: E402 - as above
from cqrs_core.testing.conformance.sagas import SagaStorageConformance  # noqa: E402 - as above
from cqrs_core.testing.conformance.storage import StorageConformance  # noqa: E402 - as above

__all__ = ["BrokerConformance", "CircuitBreakerConformance", "SagaStorageConformance", "StorageConformance"]
