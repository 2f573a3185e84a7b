"""What the siblings register while they hold nothing behind it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from cqrs_core.plugins import BackendNotBuilt

if TYPE_CHECKING:
    from cqrs_core.plugins import Backend


@pytest.mark.parametrize(
    ("package", "kind", "name", "schemes"),
    [("cqrs_kafka", "broker", "kafka", ("kafka",))],
)
def test_a_sibling_registers_its_name_and_says_that_it_is_not_built(
    package: str, kind: str, name: str, schemes: tuple[str, ...]
) -> None:
    """Whatever the options: who asks is told the same."""
    plugin = pytest.importorskip(f"{package}.plugin")
    backend: Backend
    (backend,) = plugin.cqrs_backends()
    module, _, factory = backend.factory.partition(":")

    assert (kind, name, schemes, plugin.__name__) == (backend.kind, backend.name, backend.schemes, module)
    text = f"{name} is not built yet in {package.replace('_', '-')} "
    with pytest.raises(BackendNotBuilt, match=f"^{re.escape(text)}[^ ]+. Meanwhile ") as caught:
        getattr(plugin, factory)("scheme://host", any_option="x")
    assert name == caught.value.name
