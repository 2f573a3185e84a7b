"""What this distribution offers to cqrs-core. It imports no aiobreaker: that is for whoever opens the breaker."""

from __future__ import annotations

import importlib
from contextlib import suppress
from typing import TYPE_CHECKING

from cqrs_breaker.errors import RedisMissing
from cqrs_core.errors import InvalidOption
from cqrs_core.plugins import Backend, hookimpl

if TYPE_CHECKING:
    from cqrs_breaker.adapter import AioBreakerAdapter

CQRS_API = 1


@hookimpl
def cqrs_backends() -> list[Backend]:
    """Offer the circuit breaker ``aiobreaker``, in one process or shared through Redis."""
    return [
        Backend(
            kind="circuit_breaker",
            name="aiobreaker",
            factory="cqrs_breaker.plugin:open_circuit_breaker",
            schemes=("aiobreaker",),
        )
    ]


def open_circuit_breaker(
    address: str, *, fail_max: int = 5, timeout_duration_s: float = 60.0, namespace: str = ""
) -> AioBreakerAdapter:
    """
    Make the breaker that a program names.

    It writes ``"aiobreaker"``, or ``"aiobreaker://?fail_max=3"``, or, to share circuits through a Redis,
    ``"aiobreaker+redis://host:6379/0?namespace=shop"``.

    Args:
        address: What follows ``aiobreaker+`` is the URL of a Redis, as ``redis.Redis.from_url`` takes it.
        fail_max: How many failures in a row open a circuit.
        timeout_duration_s: For how many seconds.
        namespace: Goes before the names of circuits on the Redis.

    Raises:
        InvalidOption: A number is outside its bounds, or the address is no URL of a Redis.
        RedisMissing: The package redis is not installed.
    """
    from cqrs_breaker.adapter import AioBreakerAdapter  # noqa: PLC0415 - a plug-in imports aiobreaker when it is used

    scheme, _, rest = address.partition("://")
    _, is_shared, server_scheme = scheme.partition("+")
    if not is_shared:
        if rest:
            # Not the address itself: it may hold a password.
            expected = "'aiobreaker', or with the URL of a Redis 'aiobreaker+redis://host:6379/0'"
            raise InvalidOption("circuit_breaker", "aiobreaker://...", expected)
        return AioBreakerAdapter(fail_max, timeout_duration_s)
    client = _connect(f"{server_scheme}://{rest}")
    from cqrs_breaker.storage import CircuitRedisStorage  # noqa: PLC0415 - as above

    storage = CircuitRedisStorage("closed", client, namespace or None)
    return AioBreakerAdapter(fail_max, timeout_duration_s, storage_factory=lambda _name: storage)


def _connect(url: str) -> object:
    try:
        redis = importlib.import_module("redis")  # only a breaker that is shared needs it
    except ModuleNotFoundError as error:
        raise RedisMissing from error
    client: object = None
    with suppress(ValueError):  # its text may quote a part of the password
        client = redis.Redis.from_url(url)
    if client is None:
        expected = (
            "the URL of a Redis, 'aiobreaker+redis://user:password@host:6379/0'; what is special in the password is "
            "escaped, as urllib.parse.quote(password, safe='') does it"
        )
        raise InvalidOption("circuit_breaker", "aiobreaker+redis://...", expected)
    return client
