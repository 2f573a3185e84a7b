"""What a plug-in may say of its backends."""

from __future__ import annotations

import re
from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from cqrs_core.errors import InvalidOption
from cqrs_core.plugins import Backend
from cqrs_core.plugins.builtin import cqrs_backends
from cqrs_core.plugins.hooks import backends_of, builtin_plugin

GOOD: dict[str, Any] = {"kind": "broker", "name": "nats", "factory": "acme.nats:Broker.from_url", "schemes": ("nats",)}


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (
            {"kind": "brokr"},
            "kind is 'brokr'. It must be one of broker, storage, circuit_breaker, container, codec, observer.",
        ),
        ({"name": ""}, "name is ''. It must be a word such as 'nats'."),
        ({"name": "a:b"}, "name is 'a:b'."),
        ({"name": None}, "name is None."),
        (
            {"factory": "acme.nats.Broker"},
            "factory is 'acme.nats.Broker'. It must be a path such as 'acme_nats.broker:",
        ),
        ({"factory": dict}, "factory is <class 'dict'>."),
        ({"schemes": "nats"}, "schemes is 'nats'. It must be a tuple of URL schemes in lower case, such as ('nats',)."),
        ({"schemes": ("Nats",)}, "schemes is ('Nats',)."),
        ({"schemes": ("nats://",)}, "schemes is ('nats://',)."),
    ],
)
def test_what_could_never_be_found_is_refused(wrong: dict[str, Any], text: str) -> None:
    """By the constructor, in the plug-in's own hook."""
    with pytest.raises(InvalidOption, match=re.escape(text)):
        Backend(**{**GOOD, **wrong})


def test_a_backend_is_a_fact() -> None:
    backend = Backend(**GOOD)

    with pytest.raises(FrozenInstanceError):
        backend.name = "other"  # type: ignore[misc]  # it cannot be changed
    assert {backend} == {Backend(**GOOD)}


def test_what_is_built_in_is_offered_through_the_same_hook() -> None:
    """pluggy reads the core's own module as it reads a stranger's."""
    pytest.importorskip("pluggy")
    from cqrs_core.plugins import builtin

    assert builtin_plugin().backends == backends_of(builtin, "builtin") == cqrs_backends()
