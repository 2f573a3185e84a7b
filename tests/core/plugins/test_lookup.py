"""Which backend a name or a scheme means, and what is said when it means none, or too many."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

import pytest

import cqrs_core as cqrs
from cqrs_core.plugins import (
    BackendAmbiguous,
    BackendNotFound,
    PluggyMissing,
    PluginWarning,
    WrongBackendKind,
    forget_discovery,
)
from cqrs_core.plugins.lookup import find
from cqrs_core.plugins.specs import parse

if TYPE_CHECKING:
    from conftest import Site

pytest.importorskip("pluggy")


def found(spec: str, kind: Any = "broker") -> str:
    return str(find(parse(kind, spec)))


@pytest.mark.parametrize(
    ("spec", "who"),
    [
        ("nats", "broker 'nats' of acme-nats 1.0"),
        ("acme-nats:nats", "broker 'nats' of acme-nats 1.0"),
        ("Acme_NATS:nats", "broker 'nats' of acme-nats 1.0"),
        ("nats://host", "broker 'nats' of acme-nats 1.0"),
        ("nats+tls://host", "broker 'nats' of acme-nats 1.0"),
        ("tls://host", "broker 'nats' of acme-nats 1.0"),
        ("acme-nats:tls://host", "broker 'nats' of acme-nats 1.0"),
        ("amqp", "broker 'amqp' of beta 1.0"),
        ("cqrs-core:memory", f"broker 'memory' of cqrs-core {cqrs.__version__}"),
    ],
)
def test_a_backend_is_found_by_name_by_distribution_and_by_scheme(site: Site, spec: str, who: str) -> None:
    site.install_broker("acme-nats", "nats", schemes=("nats", "tls"))
    site.install_broker("beta", "amqp", entry_point="rabbit")

    assert who == found(spec)


@pytest.mark.parametrize("kind", ["broker", "storage"])
@pytest.mark.parametrize("spec", ["memory", "memory://", "cqrs-core:memory"])
def test_what_is_built_in_is_found_without_looking_for_plugins(site: Site, spec: str, kind: str) -> None:
    """Nothing is searched, nothing imported, and nobody can take the name away; a name means one of each kind."""
    site.install("broken-cqrs", "memory = broken_plugin", broken_plugin="1 / 0")

    assert f"{kind} 'memory' of cqrs-core {cqrs.__version__}" == found(spec, kind)


def test_an_entry_point_of_the_name_is_looked_at_alone(site: Site) -> None:
    """A broken or slow stranger costs nothing, and says nothing, when another is asked for."""
    site.install("broken-cqrs", "broken = broken_plugin", broken_plugin="1 / 0")
    site.install_broker("acme-nats", "nats", schemes=("nats",))

    assert "broker 'nats' of acme-nats 1.0" == found("nats") == found("nats://host") == found("acme-nats:nats")
    assert "broken_plugin" not in sys.modules


def test_a_name_belongs_to_the_entry_point_that_is_called_so(site: Site) -> None:
    """A stranger's offer of the same name is there for who names the stranger; the order of loading plays no part."""
    site.install_broker("acme-nats", "nats")
    site.install_broker("other", "nats", entry_point="aaa")

    for _ in range(2):
        assert "broker 'nats' of acme-nats 1.0" == found("nats")
        assert "broker 'nats' of other 1.0" == found("other:nats")


def test_a_broken_plugin_keeps_its_name_until_it_is_switched_off(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Better no broker than another than was meant."""
    site.install("acme-nats", "nats = broken_plugin", broken_plugin="1 / 0")
    site.install_broker("other", "nats", entry_point="aaa")

    with (
        pytest.warns(PluginWarning),
        pytest.raises(BackendNotFound, match="Note: The plug-in 'nats' of acme-nats 1.0 "),
    ):
        found("nats")
    assert "broker 'nats' of other 1.0" == found("other:nats")

    monkeypatch.setenv("CQRS_CORE_DISABLE_PLUGINS", "acme-nats")
    forget_discovery()
    assert "broker 'nats' of other 1.0" == found("nats")


@pytest.mark.parametrize(("spec", "scheme"), [("nats", ""), ("nats://host", "://")])
def test_two_of_one_name_are_an_error_for_who_asks_for_it(site: Site, spec: str, scheme: str) -> None:
    site.install_broker("acme-nats", "nats", schemes=("nats",))
    site.install_broker("other", "nats", schemes=("nats",))
    site.install_broker("beta", "amqp")

    with pytest.raises(BackendAmbiguous) as caught:
        found(spec)

    assert (
        f"nats{scheme} is offered by plug-in 'nats' of acme-nats 1.0, and by plug-in 'nats' of other 1.0. Uninstall "
        f"all but one, or say which: 'acme-nats:nats{scheme}' or 'other:nats{scheme}'."
    ) == str(caught.value)
    assert ["acme-nats", "other"] == [offer.plugin.distribution for offer in caught.value.offers]
    assert "broker 'nats' of other 1.0" == found(f"other:{spec}")
    assert "broker 'amqp' of beta 1.0" == found("amqp")


@pytest.mark.parametrize(
    ("kind", "spec", "text"),
    [
        (
            "broker",
            "kafka",
            "No broker is called 'kafka'. Install it: pip install \"cqrs-core[kafka]\". Available: memory.",
        ),
        (
            "broker",
            "kafka://localhost",
            "No broker answers to 'kafka://'. Install it: pip install \"cqrs-core[kafka]\". Available: memory://.",
        ),
        (
            "storage",
            "postgresql+asyncpg://host",
            (
                "No storage answers to 'postgresql+asyncpg://'. Install it: pip install \"cqrs-core[sqla]\". "
                "Available: memory://."
            ),
        ),
        (
            "circuit_breaker",
            "aiobreaker",
            (
                "No circuit breaker is called 'aiobreaker'. Install it: pip install \"cqrs-core[breaker]\". "
                "Available: none."
            ),
        ),
        ("broker", "memry", "No broker is called 'memry'. Did you mean 'memory'? Available: memory."),
        ("broker", "memry://", "No broker answers to 'memry://'. Did you mean 'memory://'? Available: memory://."),
        (
            "broker",
            "kafak://host",
            (
                "No broker answers to 'kafak://'. Did you mean 'kafka://'? It comes with pip install "
                '"cqrs-core[kafka]". Available: memory://.'
            ),
        ),
        (
            "storage",
            "postgresql",
            (
                "No storage is called 'postgresql'. Did you mean 'postgresql://'? It comes with pip install "
                '"cqrs-core[sqla]". Available: memory.'
            ),
        ),
        ("observer", "zzz", "No observer is called 'zzz'. Available: none."),
        ("broker", "acme:nats", "No broker is called 'acme:nats'. Available: cqrs-core:memory."),
        ("broker", "acme:kafka", "No broker is called 'acme:kafka'. Available: cqrs-core:memory."),
        (
            "broker",
            "cqrs-kafka:kafka",
            (
                "No broker is called 'cqrs-kafka:kafka'. Install it: pip install \"cqrs-core[kafka]\". Available: "
                "cqrs-core:memory."
            ),
        ),
    ],
)
@pytest.mark.usefixtures("site")
def test_a_name_that_nobody_offers_is_told_with_what_there_is(kind: str, spec: str, text: str) -> None:
    """And with what could be installed, or was meant."""
    with pytest.raises(BackendNotFound) as caught:
        found(spec, kind)

    assert text == str(caught.value)


def test_what_was_meant_may_be_a_plugin(site: Site) -> None:
    site.install_broker("acme-nats", "nats")

    with pytest.raises(BackendNotFound, match="called 'nast'. Did you mean 'nats'. Available: memory, nats.$"):
        found("nast")
    with pytest.raises(
        BackendNotFound, match="'acme:nats'. Did you mean 'acme-nats:nats'. Available: acme-nats:nats, "
    ):
        found("acme:nats")


def test_plugins_that_do_not_work_are_told_to_who_does_not_find_something(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each time, while the warning is given once."""
    site.install("broken-cqrs", "broken = broken_plugin", broken_plugin="1 / 0")
    site.install_broker("acme-nats", "nats")
    monkeypatch.setenv("CQRS_CORE_DISABLE_PLUGINS", "nats")

    with pytest.warns(PluginWarning), pytest.raises(BackendNotFound):
        found("nats")
    with pytest.raises(BackendNotFound) as caught:
        found("nats")

    assert (
        "No broker is called 'nats'. Available: memory.\n"
        "Note: The plug-in 'broken' of broken-cqrs 1.0 failed: ZeroDivisionError: division by zero. Upgrade it (pip "
        "install --upgrade broken-cqrs), uninstall it, or switch it off: CQRS_CORE_DISABLE_PLUGINS=broken.\n"
        "Note: The plug-in 'nats' of acme-nats 1.0 is disabled: CQRS_CORE_DISABLE_PLUGINS names it. Take it out there, "
        "and start again."
    ) == str(caught.value)
    assert ["broken", "nats"] == [plugin.entry_point for plugin in caught.value.plugins]


@pytest.mark.parametrize(
    ("kind", "spec", "text"),
    [
        ("storage", "nats", "nats is a broker: give it as broker=, not as storage=."),
        ("circuit_breaker", "memory", "memory is a broker: give it as broker=, not as circuit_breaker=."),
        ("storage", "nats://host", "nats:// is a broker: give it as broker=, not as storage=."),
        (
            "broker",
            "sqlite:///shop.db",
            'sqlite:// is a storage: give it as storage=, not as broker=. Install it: pip install "cqrs-core[sqla]".',
        ),
    ],
)
def test_a_backend_of_another_kind_is_told_as_what_it_is(site: Site, kind: str, spec: str, text: str) -> None:
    site.install_broker("acme-nats", "nats", schemes=("nats",))

    with pytest.raises(WrongBackendKind, match=f"^{re.escape(text)}$"):
        found(spec, kind)


def test_without_pluggy_a_plugin_cannot_be_asked(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told which; what is built in works."""
    site.install_broker("acme-nats", "nats")
    monkeypatch.setitem(sys.modules, "pluggy", None)

    with pytest.raises(PluggyMissing) as caught:
        found("nats")

    assert (
        "pluggy is not installed, and without it these cannot be loaded: plug-in 'nats' of acme-nats 1.0. Install it: "
        'pip install "cqrs-core[plugins]". Or switch plug-ins off: CQRS_CORE_DISABLE_PLUGINS=*.'
    ) == str(caught.value)
    assert f"broker 'memory' of cqrs-core {cqrs.__version__}" == found("memory")


def test_without_plugins_pluggy_is_not_missed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """None installed, or none switched on."""
    monkeypatch.setitem(sys.modules, "pluggy", None)
    monkeypatch.setenv("CQRS_CORE_DISABLE_PLUGINS", "acme-nats")
    site.install_broker("acme-nats", "nats")

    with pytest.raises(BackendNotFound, match="called 'nats'"):
        found("nats")
