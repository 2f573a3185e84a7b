"""What all suites have in common: what is waived, and on which loops a check runs."""

from __future__ import annotations

from typing import ClassVar

import pytest


class Suite:
    """
    Checks for one kind of backend. No abstract class: pytest would leave an incomplete subclass out without a word.

    Attributes:
        waived: Checks that this backend cannot pass, each with the reason that users read.
        backends: The loops on which each check runs; with ``"trio"``, trio must be installed.
        deadline_s: Seconds within which anything that has to happen must have happened: far more than it takes.
    """

    waived: ClassVar[dict[str, str]] = {}
    backends: ClassVar[tuple[str, ...]] = ("asyncio",)
    deadline_s: ClassVar[float] = 30.0

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run each check once on each loop."""
        if "backend" in metafunc.fixturenames:
            metafunc.parametrize("backend", self.backends)

    @pytest.fixture(autouse=True)
    def _skip_what_is_waived(self, request: pytest.FixtureRequest) -> None:
        unknown = [name for name in self.waived if not hasattr(self, name)]
        if unknown:
            pytest.fail(f"{type(self).__name__}.waived names what is no check: {', '.join(unknown)}.")
        name = request.node.originalname
        if name in self.waived:
            pytest.skip(f"waived: {self.waived[name]}")
