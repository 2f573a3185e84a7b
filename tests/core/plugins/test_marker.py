"""The mark of a hook, set without pluggy and read by it."""

from __future__ import annotations

import types

import pytest

from cqrs_core.plugins import Backend, hookimpl
from cqrs_core.plugins.hooks import backends_of

NATS = Backend(kind="broker", name="nats", factory="acme:Broker")


def offer() -> list[Backend]:
    return [NATS]


def plugin(**members: object) -> types.ModuleType:
    module = types.ModuleType("acme_plugin")
    vars(module).update(members)
    return module


def test_the_mark_leaves_the_function_as_it_is() -> None:
    """With parentheses and without."""

    def function() -> int:
        return 1

    assert function is hookimpl(function)
    assert function is hookimpl(optionalhook=True)(function)


def test_pluggy_reads_our_mark() -> None:
    @hookimpl
    def cqrs_backends() -> list[Backend]:
        return [NATS]

    assert (NATS,) == backends_of(plugin(cqrs_backends=cqrs_backends), "acme")


def test_the_mark_of_pluggy_itself_does_as_well() -> None:
    pluggy = pytest.importorskip("pluggy")
    marked = pluggy.HookimplMarker("cqrs_core")(offer)

    assert (NATS,) == backends_of(plugin(cqrs_backends=marked), "acme")


def test_a_function_of_another_name_says_which_hook_it_is() -> None:
    marked = hookimpl(specname="cqrs_backends")(lambda: [NATS])

    assert (NATS,) == backends_of(plugin(anything=marked), "acme")


def test_a_hook_of_a_later_core_may_be_optional() -> None:
    """A plug-in that implements what only a newer core calls still works here."""
    later = hookimpl(optionalhook=True)(lambda: None)
    members = {"cqrs_backends": hookimpl(lambda: [NATS]), "cqrs_dashboards": later}

    assert (NATS,) == backends_of(plugin(**members), "acme")
