"""Finding plug-ins, and what becomes of those that do not work."""

from __future__ import annotations

import logging
import sys
import threading
import warnings
from typing import TYPE_CHECKING

import pytest

import cqrs_core as cqrs
from cqrs_core.plugins import PluginWarning, forget_discovery, installed
from cqrs_core.plugins.discovery import discovery

if TYPE_CHECKING:
    from conftest import Site

pytest.importorskip("pluggy")

HOOK = """
    from cqrs_core.plugins import Backend, hookimpl

    @hookimpl
    def cqrs_backends():
        return {returned}
"""


def status_of(name: str) -> tuple[str, str, str]:
    (plugin,) = (plugin for plugin in installed() if plugin.entry_point == name)
    return plugin.status, plugin.error, plugin.cure


def test_what_is_installed_is_told_in_order_the_core_first(site: Site) -> None:
    site.install_broker("zeta", "nats")
    site.install_broker("acme-nats", "nats")
    site.install_broker("beta", "amqp")

    found = [(plugin.entry_point, plugin.distribution, plugin.version, plugin.status) for plugin in installed()[1:]]

    assert "cqrs-core" == installed()[0].distribution
    assert [("amqp", "beta", "1.0", "ok"), ("nats", "acme-nats", "1.0", "ok"), ("nats", "zeta", "1.0", "ok")] == found


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("import not_installed_at_all", "ModuleNotFoundError: No module named 'not_installed_at_all'."),
        ("raise SystemExit('not on this system')", "SystemExit: not on this system."),
        ("1 / 0", "ZeroDivisionError: division by zero."),
        (HOOK.replace("cqrs_backends", "cqrs_backend"), "PluginValidationError: unknown hook 'cqrs_backend' in plugin"),
        (HOOK.format(returned="None"), "TypeError: cqrs_backends() returned None, not backends."),
        (HOOK.format(returned="['nats']"), "TypeError: cqrs_backends() returned 'nats', which is no Backend."),
        (HOOK.format(returned="7"), "TypeError: cqrs_backends() returned 7, which is no Backend."),
        (HOOK.format(returned="1 / 0"), "ZeroDivisionError: division by zero."),
        (
            HOOK.format(returned="[Backend(kind='brokr', name='n', factory='a:b')]"),
            "InvalidOption: kind is 'brokr'. It must be one of broker, storage, circuit_breaker, container, codec, ",
        ),
        (
            HOOK.format(returned="[Backend(kind='broker', name='n', factory=f) for f in ('a:b', 'a:c')]"),
            "ValueError: cqrs_backends() returned two of the kind broker that are called n.",
        ),
        (
            "def cqrs_backends(): return []",
            "TypeError: no function cqrs_backends() is marked with cqrs_core.plugins.hookimpl.",
        ),
        (HOOK.replace("()", "(spare)"), "PluginValidationError: Plugin 'broken' for hook 'cqrs_backends'"),
    ],
)
def test_a_broken_plugin_is_named_once_and_the_others_work(site: Site, source: str, error: str) -> None:
    """DESIGN 4: the distribution, its version and the cure; whatever the plug-in does wrong."""
    site.install("broken-cqrs", "broken = broken_plugin", version="0.3", broken_plugin=source)
    site.install_broker("acme-nats", "nats")

    with pytest.warns(PluginWarning, match="^The plug-in 'broken' of broken-cqrs 0.3 failed: ") as warned:
        status, told, cure = status_of("broken")

    assert 1 == len(warned)
    assert ("failed", error) == (status, told[: len(error)])
    assert (
        "Upgrade it (pip install --upgrade broken-cqrs), uninstall it, or switch it off: "
        "CQRS_CORE_DISABLE_PLUGINS=broken."
    ) == cure
    assert "ok" == status_of("nats")[0]  # and no second warning, which would be an error


def test_several_functions_may_implement_one_hook(site: Site) -> None:
    """The offers of all of them count."""
    source = """
        from cqrs_core.plugins import Backend, hookimpl

        @hookimpl
        def cqrs_backends():
            yield Backend(kind="broker", name="one", factory="acme:Broker")

        @hookimpl(specname="cqrs_backends")
        def more():
            return Backend(kind="broker", name="two", factory="acme:Broker")
    """
    site.install("acme", "acme = acme_plugin", acme_plugin=source)

    assert ["one", "two"] == sorted(backend.name for backend in installed()[1].backends)


def test_the_traceback_of_a_broken_plugin_can_be_had(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """Its author logs at DEBUG."""
    site.install("broken-cqrs", "broken = broken_plugin", broken_plugin="1 / 0")

    with caplog.at_level(logging.DEBUG, "cqrs_core.plugins"), pytest.warns(PluginWarning):
        installed()

    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize(
    ("version", "upgrade"),
    [("2", "cqrs-core"), ("0", "future-cqrs"), ("'one'", "cqrs-core")],
)
def test_a_plugin_for_other_hooks_is_incompatible(site: Site, version: str, upgrade: str) -> None:
    """Whoever is older has to be upgraded."""
    site.install("future-cqrs", "future = future_plugin", future_plugin=f"CQRS_API = {version}")

    with pytest.warns(PluginWarning, match="^The plug-in 'future' of future-cqrs 1.0 is incompatible: It is for "):
        status, error, cure = status_of("future")

    assert "incompatible" == status
    assert f"It is for version {version} of the hooks; cqrs-core {cqrs.__version__} has 1." == error
    assert f"Upgrade: pip install --upgrade {upgrade}." == cure


@pytest.mark.parametrize("switch", ["broken", "broken-cqrs", "x, Broken_CQRS ,y", "*"])
def test_a_plugin_that_is_switched_off_is_not_imported(
    site: Site, switch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the name of the entry point or of the distribution, which may be written in each way that pip knows."""
    site.install("broken-cqrs", "broken = broken_plugin", broken_plugin="1 / 0")
    monkeypatch.setenv("CQRS_CORE_DISABLE_PLUGINS", switch)

    assert (
        "disabled",
        "CQRS_CORE_DISABLE_PLUGINS names it.",
        "Take it out there, and start again.",
    ) == status_of("broken")
    assert "broken_plugin" not in sys.modules


def test_the_environment_is_read_when_plugins_are_first_needed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not again before discovery is forgotten."""
    site.install_broker("acme-nats", "nats")
    assert "ok" == status_of("nats")[0]
    monkeypatch.setenv("CQRS_CORE_DISABLE_PLUGINS", "*")
    assert "ok" == status_of("nats")[0]

    forget_discovery()

    assert "disabled" == status_of("nats")[0]


@pytest.mark.parametrize("line", [b"this is no entry point", b"\xff = x"])
def test_one_damaged_installation_does_not_hide_the_others(site: Site, line: bytes) -> None:
    """Python's own list of entry points raises for all of them."""
    site.install("damaged", version="6.6")
    (site.folder / "damaged-6.6.dist-info" / "entry_points.txt").write_bytes(b"[anything]\n" + line)
    site.install_broker("acme-nats", "nats")

    with pytest.warns(PluginWarning, match="The entry points of damaged 6.6 cannot be read, so its plug-ins"):
        assert "ok" == status_of("nats")[0]


def test_a_distribution_without_metadata_still_has_a_name(site: Site) -> None:
    site.install_broker("acme-nats", "nats")
    (site.folder / "acme_nats-1.0.dist-info" / "METADATA").unlink()

    (plugin,) = installed()[1:]

    assert ("nats", "an unknown distribution", "?", "ok") == (
        plugin.entry_point,
        plugin.distribution,
        plugin.version,
        plugin.status,
    )


def test_without_pluggy_plugins_are_told_as_failed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is built in works; what is switched off stays so."""
    site.install_broker("acme-nats", "nats")
    monkeypatch.setitem(sys.modules, "pluggy", None)

    assert ("failed", "pluggy is missing.", 'Install it: pip install "cqrs-core[plugins]".') == status_of("nats")
    assert "ok" == installed()[0].status
    assert "acme_nats_plugin" not in sys.modules


def test_a_broken_pluggy_is_not_called_missing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.install_broker("acme-nats", "nats")
    (site.folder / "pluggy.py").write_text("import not_installed_at_all")
    monkeypatch.delitem(sys.modules, "pluggy")

    with pytest.raises(ModuleNotFoundError, match="not_installed_at_all"):
        installed()


def test_plugins_are_loaded_once_whatever_number_of_threads_asks(site: Site) -> None:
    site.install("slow-cqrs", "slow = slow_plugin", slow_plugin="import time; time.sleep(0.05); 1 / 0")
    barrier, found = threading.Barrier(8), []

    def ask() -> None:
        barrier.wait()
        found.append((discovery(), [plugin.status for plugin in installed()]))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert 1 == len(warned)
    assert {id(discovery())} == {id(one) for one, _ in found}
    assert [["ok", "failed"]] * 8 == [statuses for _, statuses in found]
