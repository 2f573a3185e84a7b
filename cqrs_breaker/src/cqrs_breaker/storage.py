"""What processes share of a circuit on Redis, and the statements that read and write it."""

from __future__ import annotations

import inspect
import sys
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from cqrs_core.errors import InvalidOption

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiobreaker import CircuitBreakerState  # type: ignore[import-untyped] # it has no types

#: How long a server may take to answer the thread that asks it. Calls do not wait that long.
SERVER_TIMEOUT_S = 1.0
#: A circuit is forgotten so many seconds after it closed, or after its probe was due and nobody made it.
KEPT_S = 86_400.0

_CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Found:
    """
    What a server knows about a circuit.

    Attributes:
        state: ``"unknown"`` if nobody ever told, or the server forgot; that a circuit closed is remembered for a day.
        left_s: While it is not closed: in how many seconds a probe may be made, 0 if it is time.
    """

    state: Literal["unknown", "closed", "tripped"]
    left_s: float = 0.0


class RedisClient(Protocol):
    """What is used of a ``redis.Redis``; each method waits for the server."""

    def pttl(self, name: str) -> int:
        """Tell the milliseconds that a key has left; less than nothing if there is none."""
        ...

    def set(self, name: str, value: str, *, px: int, nx: bool = False) -> object:
        """Write a key that expires in *px* milliseconds; with *nx* only if there is none, else it gives ``None``."""
        ...

    def get(self, name: str) -> str | bytes | None:
        """Read a key: text if the client decodes it."""
        ...

    def delete(self, name: str) -> object:
        """Delete a key."""
        ...


class CircuitRedisStorage:
    """
    Says that a circuit is shared through Redis: for ``AioBreakerAdapter(storage_factory=...)``.

    Making one asks the server nothing. The state is the one that the processes share, and closed if they have none.

    Args:
        state: ``"closed"``, or ``aiobreaker.CircuitBreakerState.CLOSED``: programs that were written for aiobreaker's
            class of this name say so.
        redis_object: A ``redis.Redis``, with ``decode_responses`` or without. Its server is asked through connections
            of our own that give up after a second; of a client for Sentinel or a cluster its own are used: give that
            one a ``socket_timeout``.
        namespace: Goes before the name of the circuit, in its keys.

    Raises:
        InvalidOption: One of them is not of these.
    """

    def __init__(self, state: str | CircuitBreakerState, redis_object: Any, namespace: str | None = None) -> None:  # noqa: ANN401 - see RedisClient; what is given is looked at
        if getattr(state, "name", state) not in {"closed", "CLOSED"}:
            raise InvalidOption("state", state, "'closed': what opens a circuit is failures")
        if not all(callable(getattr(redis_object, method, None)) for method in ("pttl", "set", "get", "delete")):
            raise InvalidOption("redis_object", redis_object, "a client such as redis.Redis.from_url('redis://host')")
        if inspect.iscoroutinefunction(getattr(redis_object, "execute_command", None)):
            expected = "a synchronous client, redis.Redis: a thread uses it, so that no event loop waits"
            raise InvalidOption("redis_object", redis_object, expected)
        if namespace is not None and not isinstance(namespace, str):
            raise InvalidOption("namespace", namespace, "a text")
        own = _with_deadline(redis_object)
        self._client: RedisClient = own or redis_object
        self._pool = own.connection_pool if own is not None else None
        self._namespace = namespace

    def state_of(self, circuit: str) -> SharedState:
        """Give the state that processes share of *circuit*."""
        name = ":".join(filter(None, (self._namespace, circuit)))
        return SharedState(self._client, name, hang_up=self._hang_up)

    def _hang_up(self) -> None:
        if self._pool is not None:
            self._pool.disconnect(inuse_connections=False)


class SharedState:
    """
    The state of one circuit on a server. Each method waits for it, and raises what its client raises.

    Two keys: ``state``, and ``probe`` while somebody makes the probe. Both expire, and what they have left to live
    tells how long the circuit stays open, by the clock of the server alone: the state of one that is open lives a day
    longer than it is open.

    Attributes:
        hang_up: Closes connections that are not in use, if they are ours: the process asks no more.
    """

    def __init__(self, client: RedisClient, name: str, *, hang_up: Callable[[], None]) -> None:
        self.hang_up = hang_up
        self._client = client
        self._me = uuid.uuid4().hex
        # The braces keep the two on one node of a cluster.
        self._state = f"cqrs_breaker:{{{name}}}:state"
        self._probe = f"cqrs_breaker:{{{name}}}:probe"

    def look(self) -> Found:
        """Find out what is known."""
        state = self._client.get(self._state)
        if state is None:
            return Found("unknown")
        if state in {_CLOSED, _CLOSED.encode()}:
            return Found("closed")
        return Found("tripped", max(self._client.pttl(self._state) / 1000 - KEPT_S, 0.0))

    def trip(self, open_for_s: float) -> None:
        """Open the circuit."""
        self._client.set(self._state, "tripped", px=_milliseconds(open_for_s + KEPT_S))

    def close(self) -> None:
        """Close the circuit, and end its probe."""
        self._client.set(self._state, _CLOSED, px=_milliseconds(KEPT_S))
        self._client.delete(self._probe)

    def claim_probe(self, lease_s: float) -> float:
        """Take the right to make the probe, for *lease_s*; gives 0, or the seconds for which somebody else has it."""
        if self._client.set(self._probe, self._me, px=_milliseconds(lease_s), nx=True) or self._is_mine():
            return 0.0
        return max(self._client.pttl(self._probe) / 1000, 0.001)

    def release_probe(self) -> None:
        """Give the right to make the probe back, if it is held here."""
        # Between the two it may lapse, and be taken by somebody else: then one probe more is made.
        if self._is_mine():
            self._client.delete(self._probe)

    def _is_mine(self) -> bool:
        return self._client.get(self._probe) in {self._me, self._me.encode()}


def _milliseconds(seconds: float) -> int:
    return max(round(seconds * 1000), 1)


def _with_deadline(client: Any) -> Any | None:  # noqa: ANN401 - see CircuitRedisStorage
    """Make a client of the same server that gives up in time, where that is known how to do."""
    redis: Any = sys.modules.get("redis")  # who has a client of it has imported it
    pool: Any = client.connection_pool if redis is not None and isinstance(client, redis.Redis) else None
    if redis is None or type(pool) not in {redis.ConnectionPool, redis.BlockingConnectionPool}:
        return None
    options = {**pool.connection_kwargs, "socket_timeout": SERVER_TIMEOUT_S, "socket_connect_timeout": SERVER_TIMEOUT_S}
    # No second try: the next look is one.
    options["retry"] = redis.retry.Retry(redis.backoff.NoBackoff(), 0)
    return redis.Redis(connection_pool=redis.ConnectionPool(connection_class=pool.connection_class, **options))
