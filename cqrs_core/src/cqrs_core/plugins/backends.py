"""What a plug-in offers, told by names alone: nothing of it is imported before a program asks for it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

from cqrs_core.errors import InvalidOption

Kind = Literal["broker", "storage", "circuit_breaker", "container", "codec", "observer"]
KINDS: tuple[Kind, ...] = get_args(Kind)

_FACTORY = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
_NAME = re.compile(r"\w[\w.+-]*")
_SCHEME = re.compile(r"[a-z][a-z0-9.+-]*")


@dataclass(frozen=True, kw_only=True)
class Backend:
    """
    One thing that a plug-in can make.

    Attributes:
        kind: What it is for.
        name: What programs write to get it: ``broker="nats"``. The entry point had best be called the same: it is
            then looked at first, and no other.
        factory: Where to find the class or function that makes it, as ``"package.module:attribute.path"``. It is
            called as ``factory(address, **options)``; options are its keyword-only parameters.
        schemes: The schemes of the URLs that it serves, in lower case. ``("nats",)`` also gets ``nats+tls://``, unless
            another plug-in serves just that.

    Raises:
        InvalidOption: One of them cannot be what it says.
    """

    kind: Kind
    name: str
    factory: str
    schemes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InvalidOption("kind", self.kind, f"one of {', '.join(KINDS)}")
        if not _matches(_NAME, self.name):
            raise InvalidOption("name", self.name, "a word such as 'nats'")
        if not _matches(_FACTORY, self.factory):
            raise InvalidOption("factory", self.factory, "a path such as 'acme_nats.broker:NatsBroker'")
        if not isinstance(self.schemes, tuple) or not all(_matches(_SCHEME, scheme) for scheme in self.schemes):
            raise InvalidOption("schemes", self.schemes, "a tuple of URL schemes in lower case, such as ('nats',)")


def phrase(kind: str) -> str:
    """Write a kind as it stands in a sentence: ``a circuit breaker``."""
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind.replace('_', ' ')}"


def _matches(pattern: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None
