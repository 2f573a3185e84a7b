"""The breaker that a program names, instead of importing it."""

from __future__ import annotations

import subprocess
import sys
import traceback
from typing import Any

import pytest

import cqrs_breaker
from cqrs_breaker import AioBreakerAdapter
from cqrs_breaker.errors import RedisMissing
from cqrs_breaker.plugin import cqrs_backends, open_circuit_breaker
from cqrs_core.errors import CircuitOpen, CqrsError, InvalidOption

# A plug-in is found by its entry point, with pluggy; what stands in a URL is the core's part, and tested there.


def test_it_registers_its_name_and_scheme() -> None:
    (backend,) = cqrs_backends()

    found = (backend.kind, backend.name, backend.factory, backend.schemes)
    assert ("circuit_breaker", "aiobreaker", "cqrs_breaker.plugin:open_circuit_breaker", ("aiobreaker",)) == found


def test_to_find_it_imports_no_client_library() -> None:
    """What a program does not use, it does not load; the names of the package are there when they are asked for."""
    program = (
        "import sys, cqrs_breaker.plugin as p\n"
        "p.cqrs_backends()\n"
        "print({'aiobreaker', 'redis', 'asyncio'} & set(sys.modules))\n"
        "from cqrs_breaker import AioBreakerAdapter, CircuitRedisStorage\n"
        "print('aiobreaker' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)

    assert ["set()", "True"] == run.stdout.splitlines()


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'cqrs_breaker' has no attribute 'AioBreaker'"):
        cqrs_breaker.AioBreaker  # type: ignore[attr-defined] # it is not there  # noqa: B018 - to ask is enough


@pytest.mark.parametrize("address", ["", "aiobreaker://"])
async def test_without_a_server_it_is_for_one_process(address: str) -> None:
    """As a name, or as a URL, which can have options."""
    breaker = open_circuit_breaker(address, fail_max=1, timeout_duration_s=7)
    await (await breaker.acquire("Pay.handle")).failed(ConnectionError())

    with pytest.raises(CircuitOpen) as refused:
        await breaker.acquire("Pay.handle")
    assert 6 < refused.value.retry_after_s <= 7


@pytest.mark.parametrize("scheme", ["redis", "rediss", "unix"])
def test_what_follows_the_plus_is_the_url_of_a_redis(scheme: str) -> None:
    """Nothing is connected before a circuit is used."""
    pytest.importorskip("redis")

    assert isinstance(open_circuit_breaker(f"aiobreaker+{scheme}://user:secret@host/0"), AioBreakerAdapter)


def test_a_host_that_is_not_said_to_be_a_redis_is_refused() -> None:
    """Without quoting what may hold a password."""
    with pytest.raises(InvalidOption) as caught:
        open_circuit_breaker("aiobreaker://user:secret@host")

    assert (
        "circuit_breaker is 'aiobreaker://...'. It must be 'aiobreaker', or with the URL of a Redis "
        "'aiobreaker+redis://host:6379/0'."
    ) == str(caught.value)


@pytest.mark.parametrize(
    "address",
    ["redis://user:pa/ss@host", "redis://user:pa[ss@host", "redis://user:pa?ss@host:1", "redys://user:pass@h"],
)
def test_a_url_that_redis_does_not_understand_is_refused_without_its_password(address: str) -> None:
    """Nor does what redis itself said of it, which quotes a part, go along."""
    pytest.importorskip("redis")
    with pytest.raises(InvalidOption) as caught:
        open_circuit_breaker(f"aiobreaker+{address}")

    assert (
        "circuit_breaker is 'aiobreaker+redis://...'. It must be the URL of a Redis, "
        "'aiobreaker+redis://user:password@host:6379/0'; what is special in the password is escaped, as "
        "urllib.parse.quote(password, safe='') does it."
    ) == str(caught.value)
    assert (None, None) == (caught.value.__cause__, caught.value.__context__)
    shown = "".join(traceback.format_exception(None, caught.value, caught.value.__traceback__))
    assert address.partition(":pa")[2][:3] not in shown.replace(address, "")


@pytest.mark.parametrize("options", [{"fail_max": 0}, {"timeout_duration_s": -1.0}])
def test_options_that_mean_nothing_are_refused(options: Any) -> None:
    with pytest.raises(InvalidOption):
        open_circuit_breaker("aiobreaker://", **options)


def test_a_missing_package_is_told_with_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    """redis is an extra: a breaker for one process does without."""
    monkeypatch.setitem(sys.modules, "redis", None)

    with pytest.raises(RedisMissing) as caught:
        open_circuit_breaker("aiobreaker+redis://host")

    assert (
        'A circuit breaker on Redis needs the package redis. Install it: pip install "cqrs-breaker[redis]".'
    ) == str(caught.value)
    assert isinstance(caught.value, CqrsError)
    assert isinstance(caught.value, ImportError)
