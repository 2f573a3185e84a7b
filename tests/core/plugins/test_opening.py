"""Making the backend that was found."""

from __future__ import annotations

import sys
import traceback
from typing import TYPE_CHECKING, Any

import pytest

from cqrs_core.plugins import (
    BackendIncomplete,
    BackendLoadError,
    BackendNotBuilt,
    BackendNotFound,
    InvalidBackendOption,
    open_backend,
)

if TYPE_CHECKING:
    from conftest import Site

pytest.importorskip("pluggy")


def install(site: Site, broker: str) -> None:
    site.install_broker("acme-nats", "nats", schemes=("nats",))
    (site.folder / "acme_nats_broker.py").write_text(broker)


def test_the_factory_gets_the_address_and_the_options(site: Site) -> None:
    site.install_broker("acme-nats", "nats", schemes=("nats",))

    broker: Any = open_backend("broker", "nats://u:p@host:4222?client_id=shop")

    assert ("nats://u:p@host:4222", {"client_id": "shop"}) == (broker.address, broker.options)


def test_a_name_has_no_address(site: Site) -> None:
    site.install_broker("acme-nats", "nats")

    broker: Any = open_backend("broker", "acme-nats:nats")

    assert ("", {}) == (broker.address, broker.options)


@pytest.mark.parametrize("spec", ["memory", "memory://"])
@pytest.mark.usefixtures("site")
def test_what_is_in_memory_needs_no_plugin(spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One name, and one scheme, stand for a broker and for a storage: what it is given as tells which is meant."""
    monkeypatch.setitem(sys.modules, "pluggy", None)
    made = open_backend("broker", spec), open_backend("storage", spec)

    assert ["MemoryBroker", "MemoryStorage"] == [type(backend).__name__ for backend in made]


@pytest.mark.usefixtures("site")
def test_options_are_those_of_what_is_meant() -> None:
    """The memory broker has partitions, and the memory storage has none."""
    open_backend("broker", "memory://?partitions=2&max_message_bytes=10")

    with pytest.raises(InvalidBackendOption) as caught:
        open_backend("storage", "memory://?partitions=2")

    assert "Its options: max_message_bytes." in str(caught.value)


def test_the_code_of_a_backend_is_imported_when_it_is_opened(site: Site) -> None:
    """Not when its plug-in is loaded."""
    site.install_broker("acme-nats", "nats")
    site.install_broker("beta", "amqp")
    (site.folder / "beta_broker.py").write_text("1 / 0")

    open_backend("broker", "nats")

    assert "acme_nats_broker" in sys.modules
    assert "beta_broker" not in sys.modules


UPGRADE = "pip install --upgrade acme-nats."


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (
            "import not_installed_at_all",
            f"ModuleNotFoundError: No module named 'not_installed_at_all'. Install what it needs: {UPGRADE}",
        ),
        (
            "",
            (
                "AttributeError: module 'acme_nats_broker' has no attribute 'Broker'. Look at the cause, above; or "
                f"upgrade: {UPGRADE}"
            ),
        ),
        ("Broker = 7", f"TypeError: 7 is not a callable object. Look at the cause, above; or upgrade: {UPGRADE}"),
        (
            "def Broker(address): raise OSError('no such host')",
            f"OSError: no such host. Look at the cause, above; or upgrade: {UPGRADE}",
        ),
    ],
)
def test_a_backend_that_cannot_be_made_is_named_with_its_distribution(site: Site, source: str, text: str) -> None:
    """And the cause is chained."""
    install(site, source)

    with pytest.raises(BackendLoadError) as caught:
        open_backend("broker", "nats://u:hunter%202@host")

    assert (f"The broker 'nats' of acme-nats 1.0 cannot be made: acme_nats_broker:Broker failed with {text}") == str(
        caught.value
    )
    assert text.startswith(type(caught.value.__cause__).__name__)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("ValueError(f'bad address {address}, password hunter 2')", "bad address nats://***@host, password ***."),
        ("InvalidOption('address', address, 'good')", "address is 'nats://***@host'. It must be good."),
    ],
)
def test_an_error_that_holds_the_password_is_quoted_without_it(site: Site, error: str, said: str) -> None:
    """Nor is it chained, one of ours neither: its traceback would tell."""
    install(site, f"from cqrs_core.errors import InvalidOption\ndef Broker(address): raise {error}")
    spec = "nats://u:hunter%202@host"

    with pytest.raises(BackendLoadError) as caught:
        open_backend("broker", spec)

    assert f"failed with {error.partition('(')[0]}: {said} Its traceback is left out, for it holds" in str(caught.value)
    assert "hunter" not in "".join(traceback.format_exception(caught.value))


def test_a_password_that_is_also_a_name_takes_nothing_away(site: Site) -> None:
    """Neither from errors of ours, nor from what could not be imported."""
    install(site, "import nats_client_that_is_not_installed")

    with pytest.raises(BackendLoadError, match="No module named 'nats_client_that_is_not_installed'. Install what"):
        open_backend("broker", "nats://nats:nats@host")
    with pytest.raises(BackendNotFound, match="'nast'"):
        open_backend("broker", "nast")


def test_an_error_of_ours_is_passed_on(site: Site) -> None:
    """It says what to do already."""
    install(
        site,
        "from cqrs_core.plugins import BackendNotBuilt\n"
        "def Broker(address, **options):\n"
        "    raise BackendNotBuilt('nats', distribution='acme-nats', version='1.0', meanwhile='Use memory.')\n",
    )

    with pytest.raises(BackendNotBuilt, match="^nats is not built yet in acme-nats 1.0. Use memory.$"):
        open_backend("broker", "nats://host?a=b")


def test_what_is_made_must_be_of_the_kind(site: Site) -> None:
    install(site, "class Broker:\n    def __init__(self, address): ...\n    def start(self): ...\n    send = None\n")

    with pytest.raises(BackendIncomplete) as caught:
        open_backend("broker", "nats")

    assert (
        "The broker 'nats' of acme-nats 1.0 is not a broker: acme_nats_broker:Broker made an object of type Broker, "
        "which lacks stop(), send(), send_many(), subscribe(). Upgrade it (pip install --upgrade acme-nats), or "
        "tell its authors."
    ) == str(caught.value)
    assert ("stop", "send", "send_many", "subscribe") == caught.value.missing


def test_a_wrong_option_is_told_before_the_factory_is_called(site: Site) -> None:
    install(site, "def Broker(address, *, client_id: str = ''): 1 / 0")

    with pytest.raises(InvalidBackendOption) as caught:
        open_backend("broker", "nats://u:hunter2@host?clientid=x")

    assert (
        "The option 'clientid' of the broker 'nats' of acme-nats 1.0 is unknown. Did you mean 'client_id'? "
        "Its options: client_id."
    ) == str(caught.value)
    assert "hunter2" not in str(caught.value)
