"""Distributions of third parties, built and installed; and the whole text of everything that goes wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cqrs_core import __version__ as VERSION  # noqa: N812 - it reads as a constant

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Environment

    Install = Callable[..., Environment]

pytest.importorskip("hatchling", reason="run by nox -s plugins")
pytest.importorskip("uv", reason="run by nox -s plugins")

KAFKA = 'Install it: pip install "cqrs-core[kafka]".'
NATS = "acme_cqrs_nats.broker {'address': '', 'client_id': '', 'batch': 1}"


def told(warnings: str) -> str:
    """The text of the one warning."""
    (line,) = (line for line in warnings.splitlines() if "PluginWarning: " in line)
    return line.partition("PluginWarning: ")[2]


def test_the_core_alone_tells_what_could_be_installed(install: Install) -> None:
    """Neither pluggy nor anything else is there."""
    core = install(options=["--no-index"])

    printed, warned = core.run(
        "attempt('broker', 'memory')\n"
        "attempt('broker', 'kafka')\n"
        "attempt('broker', 'kafka://localhost:9092')\n"
        "attempt('broker', 'memry')\n"
        "attempt('broker', 'localhost:9092')\n"
        "attempt('broker', 'sqlite:///shop.db')\n"
        "attempt('broker', '')\n"
        "print('pluggy' in sys.modules)"
    )

    assert printed[0].startswith("cqrs_core.memory.broker ")
    assert [
        f"BackendNotFound: No broker is called 'kafka'. {KAFKA} Available: memory.",
        f"BackendNotFound: No broker answers to 'kafka://'. {KAFKA} Available: memory://.",
        "BackendNotFound: No broker is called 'memry'. Did you mean 'memory'? Available: memory.",
        (
            "InvalidBackendSpec: broker='localhost:9092' looks like a URL without its scheme. Write "
            "'kafka://localhost:9092', if that is what is there."
        ),
        (
            "WrongBackendKind: sqlite:// is a storage: give it as storage=, not as broker=. Install it: pip install "
            '"cqrs-core[sqla]".'
        ),
        "InvalidBackendSpec: broker='' is empty. Give a name, such as 'memory', or a URL, such as 'kafka://host'.",
        "False",
    ] == printed[1:]
    assert "" == warned
    assert (
        0,
        f"builtin (cqrs-core {VERSION}): ok\n  broker memory  memory://\n  storage memory  memory://\n",
    ) == core.command("cqrs", "plugins")


@pytest.mark.parametrize(
    ("name", "backend", "module"),
    [("acme-cqrs-nats", "nats", "acme_cqrs_nats"), ("beta-cqrs", "amqp", "beta_cqrs")],
    ids=["our_marker", "pluggys_marker"],
)
def test_a_plugin_is_found_while_it_is_installed(install: Install, name: str, backend: str, module: str) -> None:
    """By name, by distribution and by scheme; marked by us, or by pluggy itself."""
    strangers = install(name)
    made = [
        f"{module}.broker {{'address': '{address}', 'client_id': '{client_id}', 'batch': {batch}}}"
        for address, client_id, batch in (("", "", 1), ("", "", 1), (f"{backend}://u:p@host:1", "shop", 5))
    ]
    program = (
        f"attempt('broker', '{backend}')\n"
        f"attempt('broker', '{name}:{backend}')\n"
        f"attempt('broker', '{backend}://u:p@host:1?client_id=shop&batch=5')"
    )

    assert (made, "") == strangers.run(program)

    strangers.uninstall(name)
    assert (
        [f"BackendNotFound: No broker is called '{backend}'. Available: memory."],
        "",
    ) == strangers.run(f"attempt('broker', '{backend}')")


def test_options_in_the_url_are_checked(install: Install) -> None:
    """Each with what the plug-in's annotations ask for, and with no password."""
    strangers = install("acme-cqrs-nats")
    known = "Its options: client_id, batch."

    printed, _ = strangers.run(
        "attempt('broker', 'nats://u:hunter2@host?clientid=shop')\n"
        "attempt('broker', 'nats://u:hunter2@host?batch=many')\n"
        "attempt('broker', 'nats://u:hunter2@host?batch=1&batch=2')\n"
        "attempt('storage', 'nats://u:hunter2@host')"
    )

    the = "The option {0!r} of the broker 'nats' of acme-cqrs-nats 1.2.0"
    assert [
        f"InvalidBackendOption: {the.format('clientid')} is unknown. Did you mean 'client_id'? {known}",
        f"InvalidBackendOption: {the.format('batch')} must be an integer. {known}",
        f"InvalidBackendOption: {the.format('batch')} is given twice. {known}",
        "WrongBackendKind: nats:// is a broker: give it as broker=, not as storage=.",
    ] == printed


BROKEN = [
    (
        "broken-cqrs",
        (
            "The plug-in 'broken' of broken-cqrs 0.1.0 failed: ModuleNotFoundError: No module named "
            "'client_that_is_not_installed'. Upgrade it (pip install --upgrade broken-cqrs), uninstall it, or switch "
            "it off: CQRS_CORE_DISABLE_PLUGINS=broken."
        ),
    ),
    (
        "misspelt-cqrs",
        (
            "The plug-in 'misspelt' of misspelt-cqrs 0.1.0 failed: PluginValidationError: unknown hook 'cqrs_backend' "
            "in plugin <module 'misspelt_cqrs.plugin' from '...'>. Upgrade it (pip install --upgrade misspelt-cqrs), "
            "uninstall it, or switch it off: CQRS_CORE_DISABLE_PLUGINS=misspelt."
        ),
    ),
    (
        "future-cqrs",
        (
            "The plug-in 'future' of future-cqrs 2.0.0 is incompatible: It is for version 2 of the hooks; cqrs-core "
            f"{VERSION} has 1. Upgrade: pip install --upgrade cqrs-core."
        ),
    ),
]


@pytest.mark.parametrize(("name", "text"), BROKEN, ids=[name for name, _ in BROKEN])
def test_a_broken_plugin_beside_a_good_one(install: Install, name: str, text: str) -> None:
    """It is not touched for the good one; it is told once, and to everybody who does not find something."""
    strangers = install("acme-cqrs-nats", name)

    printed, warned = strangers.run(
        "attempt('broker', 'nats')\n"
        "attempt('broker', 'kafka')\n"
        "attempt('broker', 'kafka')\n"
        "attempt('broker', 'nats')\n"
        "attempt('broker', 'memory')\n"
    )
    missing = f"No broker is called 'kafka'. {KAFKA} Available: memory, nats."
    shortened = [shorten(line) for line in printed]

    assert [NATS, f"BackendNotFound: {missing}", f"Note: {text}"] == shortened[:3]
    assert [f"BackendNotFound: {missing}", f"Note: {text}", NATS] == shortened[3:6]
    assert shortened[6].startswith("cqrs_core.memory.broker ")
    assert text == shorten(told(warned))

    code, listed = strangers.command("cqrs", "plugins")
    assert 1 == code
    assert "nats (acme-cqrs-nats 1.2.0): ok\n  broker nats  nats://\n" in listed


def test_two_of_one_name_are_told_apart(install: Install) -> None:
    strangers = install("acme-cqrs-nats", "other-cqrs-nats", "beta-cqrs")

    printed, warned = strangers.run(
        "attempt('broker', 'nats')\n"
        "attempt('broker', 'nats://host')\n"
        "attempt('broker', 'acme-cqrs-nats:nats')\n"
        "attempt('broker', 'other-cqrs-nats:nats://host')\n"
        "attempt('broker', 'amqp')"
    )

    who = (
        "is offered by plug-in 'nats' of acme-cqrs-nats 1.2.0, and by plug-in 'nats' of other-cqrs-nats 9.9.0. "
        "Uninstall all but one, or say which:"
    )
    assert [
        f"BackendAmbiguous: nats {who} 'acme-cqrs-nats:nats' or 'other-cqrs-nats:nats'.",
        f"BackendAmbiguous: nats:// {who} 'acme-cqrs-nats:nats://' or 'other-cqrs-nats:nats://'.",
        NATS,
        "other_cqrs_nats.broker {'address': 'nats://host', 'client_id': '', 'batch': 1}",
        "beta_cqrs.broker {'address': '', 'client_id': '', 'batch': 1}",
    ] == printed
    assert "" == warned


def test_a_plugin_that_did_not_bring_pluggy(install: Install) -> None:
    """What is built in works; the list tells as well."""
    strangers = install("forgetful-cqrs", options=["--no-index"])

    printed, _ = strangers.run("attempt('broker', 'memory')\nattempt('broker', 'forgetful')")

    assert printed[0].startswith("cqrs_core.memory.broker ")
    assert [
        (
            "PluggyMissing: pluggy is not installed, and without it these cannot be loaded: plug-in 'forgetful' of "
            'forgetful-cqrs 0.1.0. Install it: pip install "cqrs-core[plugins]". Or switch plug-ins off: '
            "CQRS_CORE_DISABLE_PLUGINS=*."
        )
    ] == printed[1:]
    assert (
        1,
        (
            f"builtin (cqrs-core {VERSION}): ok\n"
            "  broker memory  memory://\n"
            "  storage memory  memory://\n"
            "forgetful (forgetful-cqrs 0.1.0): failed\n"
            "  pluggy is missing.\n"
            '  Install it: pip install "cqrs-core[plugins]".\n'
        ),
    ) == strangers.command("cqrs", "plugins")


def test_a_backend_that_cannot_be_loaded(install: Install) -> None:
    """Its plug-in is fine, and so is the list; only who asks for it is told."""
    strangers = install("unloadable-cqrs")

    printed, warned = strangers.run("attempt('broker', 'unloadable')\nprint({p.status for p in installed()})")

    assert [
        (
            "BackendLoadError: The broker 'unloadable' of unloadable-cqrs 0.3.0 cannot be made: "
            "unloadable_cqrs.broker:Broker failed with ModuleNotFoundError: No module named "
            "'client_that_is_not_installed'. Install what it needs: pip install --upgrade unloadable-cqrs."
        ),
        "{'ok'}",
    ] == printed
    assert "" == warned


def test_a_slow_backend_is_imported_by_who_asks_for_it_alone(install: Install) -> None:
    """Neither another name nor the list of all costs it; the plug-in of another name is not even looked at."""
    strangers = install("slow-cqrs", "acme-cqrs-nats")
    loaded = "print([name for name in sorted(sys.modules) if name.startswith('slow_cqrs')])"

    printed, _ = strangers.run(
        f"attempt('broker', 'nats')\n{loaded}\ninstalled()\n{loaded}\nopen_backend('broker', 'slow')\n{loaded}"
    )

    assert [
        NATS,
        "[]",
        "['slow_cqrs', 'slow_cqrs.plugin']",
        "['slow_cqrs', 'slow_cqrs.broker', 'slow_cqrs.plugin']",
    ] == printed


def test_the_siblings_say_what_they_need(install: Install) -> None:
    """Here without their client libraries, which finding them does not need."""
    siblings = install("cqrs-core[plugins]")
    siblings.install("cqrs-kafka", "cqrs-sqla", "cqrs-breaker", options=["--no-deps"])

    printed, warned = siblings.run(
        "attempt('broker', 'kafka://localhost:9092?client_id=shop')\n"
        "attempt('storage', 'postgresql+asyncpg://u:p@host/shop')\n"
        "attempt('circuit_breaker', 'aiobreaker')\n"
        "attempt('broker', 'sqlite:///shop.db')"
    )

    assert [
        (
            f"BackendLoadError: The broker 'kafka' of cqrs-kafka {VERSION} cannot be made: "
            "cqrs_kafka.plugin:open_broker failed with ModuleNotFoundError: No module named 'aiokafka'. "
            "Install what it needs: pip install --upgrade cqrs-kafka."
        ),
        (
            f"BackendLoadError: The storage 'sqlalchemy' of cqrs-sqla {VERSION} cannot be made: "
            "cqrs_sqla.plugin:open_storage failed with ModuleNotFoundError: No module named 'sqlalchemy'. "
            "Install what it needs: pip install --upgrade cqrs-sqla."
        ),
        (
            f"BackendLoadError: The circuit breaker 'aiobreaker' of cqrs-breaker {VERSION} cannot be made: "
            "cqrs_breaker.plugin:open_circuit_breaker failed with ModuleNotFoundError: No module named 'aiobreaker'. "
            "Install what it needs: pip install --upgrade cqrs-breaker."
        ),
        "WrongBackendKind: sqlite:// is a storage: give it as storage=, not as broker=.",
    ] == printed
    assert "" == warned
    assert (
        0,
        (
            f"builtin (cqrs-core {VERSION}): ok\n"
            "  broker memory  memory://\n"
            "  storage memory  memory://\n"
            f"aiobreaker (cqrs-breaker {VERSION}): ok\n"
            "  circuit breaker aiobreaker  aiobreaker://\n"
            f"kafka (cqrs-kafka {VERSION}): ok\n"
            "  broker kafka  kafka://\n"
            f"sqlalchemy (cqrs-sqla {VERSION}): ok\n"
            "  storage sqlalchemy  postgresql://  mysql://  mariadb://  sqlite://\n"
        ),
    ) == siblings.command("cqrs", "plugins")


def shorten(text: str) -> str:
    """Leave out where a module was installed."""
    before, found, after = text.partition(" from '")
    return f"{before} from '...'{after.partition(chr(39))[2]}" if found else text
