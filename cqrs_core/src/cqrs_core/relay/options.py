"""How a relay works, for those who want it otherwise than it is by itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from cqrs_core.durations import check_duration
from cqrs_core.errors import InvalidOption
from cqrs_core.resilience import RetryPolicy

#: What becomes of the other messages of a key when one of them is given up: they go on, or wait for a person.
OnDead = Literal["skip", "halt"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayOptions:
    """
    How the outbox is sent.

    Attributes:
        batch_size: How many messages are read, and handed over to the broker, at a time.
        retry: How often, and after what delays, a message is tried that the broker refuses. While the broker is not
            available, nothing is counted.
        on_dead: Whether, when a message is given up, the others of its key go on or wait for a person.
        lease_ttl_s: For how many seconds a relay keeps its share of the keys, if it dies: until then they wait.
        shortest_poll_s: Seconds between two looks at an outbox that has just become empty; then more and more.
        longest_poll_s: Seconds between two looks at one that stays empty: how long an event may wait that another
            process has committed.
        drain_deadline_s: Seconds that what is on its way has to arrive in when the relay stops.
        observe_every_s: Seconds between two looks at the whole outbox, for an observer, if there is one.

    Raises:
        InvalidOption: One of them is outside its bounds.
    """

    batch_size: int = 500
    retry: RetryPolicy = field(
        default_factory=lambda: RetryPolicy(max_attempts=10, delay_s=1.0, max_delay_s=300.0, jitter=0.2)
    )
    on_dead: OnDead = "skip"
    lease_ttl_s: float = 30.0
    shortest_poll_s: float = 0.05
    longest_poll_s: float = 1.0
    drain_deadline_s: float = 10.0
    observe_every_s: float = 15.0

    def __post_init__(self) -> None:
        batch_size, retry = self.batch_size, self.retry
        if not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size < 1:
            raise InvalidOption("batch_size", batch_size, "a whole number, at least 1")
        if not isinstance(retry, RetryPolicy):
            raise InvalidOption("retry", retry, "a RetryPolicy")
        if self.on_dead not in get_args(OnDead):
            raise InvalidOption("on_dead", self.on_dead, "'skip' or 'halt'")
        for name in ("lease_ttl_s", "shortest_poll_s", "longest_poll_s", "drain_deadline_s", "observe_every_s"):
            check_duration(name, getattr(self, name))
        if self.longest_poll_s < self.shortest_poll_s:
            raise InvalidOption("longest_poll_s", self.longest_poll_s, "at least shortest_poll_s")
