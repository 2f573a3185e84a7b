"""How sagas are driven, for those who want it otherwise than it is by itself."""

from __future__ import annotations

from dataclasses import dataclass

from cqrs_core.durations import check_duration
from cqrs_core.errors import InvalidOption


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaOptions:
    """
    How sagas are driven.

    Attributes:
        lease_s: For how many seconds nobody takes over what a process drives that has died. It may be shorter than a
            step: while the process lives, it is renewed.
        poll_s: Seconds between two looks for sagas that are due, a fifth more or less.
        max_concurrent: How many sagas a worker drives at the same time.
        max_claims: How often a saga is taken over without a step getting done, before it is suspended. The last time,
            its worker claims nothing more, ends the sagas that it has, and drives this one alone until a step is done,
            or all is undone: if that process dies as well, it was this saga and none beside it. With 1, there is no
            such time.
        orphans_after_s: Seconds that a saga may have been due whose name no worker knows, before it is suspended.

    Raises:
        InvalidOption: One of them is outside its bounds.
    """

    lease_s: float = 30.0
    poll_s: float = 1.0
    max_concurrent: int = 20
    max_claims: int = 5
    orphans_after_s: float = 3600.0

    def __post_init__(self) -> None:
        for name in ("max_concurrent", "max_claims"):
            count = getattr(self, name)
            if not isinstance(count, int) or isinstance(count, bool) or count < 1:
                raise InvalidOption(name, count, "a whole number, at least 1")
        for name in ("lease_s", "poll_s", "orphans_after_s"):
            check_duration(name, getattr(self, name))
