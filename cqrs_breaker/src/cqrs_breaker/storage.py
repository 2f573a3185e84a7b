"""What processes share of a circuit on Redis, and the commands that read and write it."""

from __future__ import annotations

import inspect
import sys
import uuid
from dataclasses import dataclass
from operator import methodcaller
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakKeyDictionary

from cqrs_core.errors import InvalidOption

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiobreaker import CircuitBreakerState  # type: ignore[import-untyped] # it has no types

    from cqrs_breaker.round_trips import Conversation, RedisClient

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


class CircuitRedisStorage:
    """
    Says that a circuit is shared through Redis: for ``AioBreakerAdapter(storage_factory=...)``.

    Making one asks the server nothing. The state is the one that the processes share, and closed if they have none.

    Args:
        state: ``"closed"``, or ``aiobreaker.CircuitBreakerState.CLOSED``: programs that were written for aiobreaker's
            class of this name say so.
        redis_object: A ``redis.Redis``, with ``decode_responses`` or without. Its server is asked through connections
            of our own that give up after a second, and that all clients of it with the same options share. Of a client
            for Sentinel or a cluster its own are used: make one for all circuits, and give it a ``socket_timeout``.
        namespace: Goes before the name of the circuit, in its keys.

    Raises:
        InvalidOption: One of them is not of these.
    """

    def __init__(self, state: str | CircuitBreakerState, redis_object: Any, namespace: str | None = None) -> None:  # noqa: ANN401 - see round_trips; what is given is looked at
        if getattr(state, "name", state) not in {"closed", "CLOSED"}:
            raise InvalidOption("state", state, "'closed': what opens a circuit is failures")
        if not callable(getattr(redis_object, "pipeline", None)):
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
    The state of one circuit on a server: what is said to it, for :func:`cqrs_breaker.round_trips.converse`.

    Two keys: ``state``, and ``probe`` while somebody makes the probe. Both expire, and what they have left to live
    tells how long the circuit stays open, by the clock of the server alone: the state of one that is open lives a day
    longer than it is open.

    Attributes:
        client: Knows the server.
        hang_up: Closes connections that are not in use, if they are ours: the process asks no more.
    """

    def __init__(self, client: RedisClient, name: str, *, hang_up: Callable[[], None]) -> None:
        self.client = client
        self.hang_up = hang_up
        self._me = uuid.uuid4().hex
        # The braces keep the two on one node of a cluster.
        self._state = f"cqrs_breaker:{{{name}}}:state"
        self._probe = f"cqrs_breaker:{{{name}}}:probe"

    def become_another(self) -> None:
        """Be told from who has said something until now: this process was forked from that one."""
        self._me = uuid.uuid4().hex

    def look(self) -> Conversation[Found]:
        """Find out what is known."""
        (state,) = yield [methodcaller("get", self._state)]
        if state is None:
            return Found("unknown")
        if state in {_CLOSED, _CLOSED.encode()}:
            return Found("closed")
        (left_ms,) = yield [methodcaller("pttl", self._state)]
        return Found("tripped", max(left_ms / 1000 - KEPT_S, 0.0))

    def trip(self, open_for_s: float) -> Conversation[None]:
        """Open the circuit."""
        yield [methodcaller("set", self._state, "tripped", px=_milliseconds(open_for_s + KEPT_S))]

    def close(self) -> Conversation[None]:
        """Close the circuit, and end its probe."""
        yield [
            methodcaller("set", self._state, _CLOSED, px=_milliseconds(KEPT_S)),
            methodcaller("delete", self._probe),
        ]

    def claim_probe(self, lease_s: float) -> Conversation[float]:
        """Take the right to make the probe, for *lease_s*; gives 0, or the seconds for which somebody else has it."""
        is_taken, holder, left_ms = yield [
            methodcaller("set", self._probe, self._me, px=_milliseconds(lease_s), nx=True),
            methodcaller("get", self._probe),
            methodcaller("pttl", self._probe),
        ]
        return 0.0 if is_taken or self._is_me(holder) else max(left_ms / 1000, 0.001)

    def release_probe(self) -> Conversation[None]:
        """Give the right to make the probe back, if it is held here."""
        # Between the two it may lapse, and be taken by somebody else: then one probe more is made.
        (holder,) = yield [methodcaller("get", self._probe)]
        if self._is_me(holder):
            yield [methodcaller("delete", self._probe)]

    def _is_me(self, holder: object) -> bool:
        return holder in {self._me, self._me.encode()}


def _milliseconds(seconds: float) -> int:
    return max(round(seconds * 1000), 1)


#: The clients that were made here, and for each what says which server it asks, and as whom.
_own: WeakKeyDictionary[Any, dict[str, Any]] = WeakKeyDictionary()


def _with_deadline(client: Any) -> Any | None:  # noqa: ANN401 - see CircuitRedisStorage
    """Give a client of the same server that gives up in time, where that is known how to do; for each server one."""
    redis: Any = sys.modules.get("redis")  # who has a client of it has imported it
    pool: Any = client.connection_pool if redis is not None and isinstance(client, redis.Redis) else None
    if redis is None or type(pool) not in {redis.ConnectionPool, redis.BlockingConnectionPool}:
        return None
    options = {**pool.connection_kwargs, "connection_class": pool.connection_class}
    # redis puts objects of its own among them, new ones for each client; none says where the server is.
    telling = {name: value for name, value in options.items() if name in _TELLING or not _is_of_redis(value)}
    for known, its_own in list(_own.items()):
        if its_own == telling:
            return known
    options |= {"socket_timeout": SERVER_TIMEOUT_S, "socket_connect_timeout": SERVER_TIMEOUT_S}
    # No second try: the next look is one.
    options["retry"] = redis.retry.Retry(redis.backoff.NoBackoff(), 0)
    own = redis.Redis(connection_pool=redis.ConnectionPool(**options))
    _own[own] = telling
    return own


_TELLING = {"connection_class", "credential_provider"}


def _is_of_redis(value: object) -> bool:
    return type(value).__module__.partition(".")[0] == "redis"
