"""How a program names a backend: ``nats``, ``acme-nats:nats``, ``nats://host:4222?option=value``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cqrs_core.errors import InvalidOption
from cqrs_core.plugins.backends import KINDS, Kind
from cqrs_core.plugins.errors import InvalidBackendSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cqrs_core.plugins.backends import Backend

#: A name and a scheme for the texts of errors.
_EXAMPLES = {"broker": ("memory", "kafka"), "storage": ("sqlalchemy", "postgresql")}


@dataclass(frozen=True, kw_only=True)
class Spec:
    """
    A name or a URL, taken apart.

    Attributes:
        kind: What the backend is for.
        name: Its name, or the scheme of the URL.
        distribution: Who has to offer it; empty if anybody may.
        address: The URL without distribution and query, its scheme in lower case; empty for a name. It may hold a
            password.
        query: What stands behind the question mark. It may hold a password.
    """

    kind: Kind
    name: str
    distribution: str = ""
    address: str = field(default="", repr=False)
    query: str = field(default="", repr=False)

    @property
    def is_url(self) -> bool:
        """Whether the name is the scheme of a URL."""
        return bool(self.address)

    @property
    def family(self) -> str:
        """The name without what follows a plus: ``postgresql+asyncpg://`` is served by whoever serves postgresql."""
        return self.name.partition("+")[0] if self.is_url else self.name

    def __str__(self) -> str:
        return self.spelt(self.name, self.distribution)

    def spelt(self, name: str, distribution: str = "") -> str:
        """Write a name in the way of this one: as a name, or as a scheme."""
        prefix = f"{distribution}:" if distribution else ""
        return f"{prefix}{name}://" if self.is_url else f"{prefix}{name}"

    def fits(self, backend: Backend) -> bool:
        """Tell whether *backend* is meant, whatever its kind."""
        return bool({self.name, self.family}.intersection(backend.schemes if self.is_url else [backend.name]))

    def is_quoted_in(self, text: str) -> bool:
        """Tell whether somebody else's text holds user and password of the URL."""
        return any(f"{userinfo}@" in text for userinfo in self._userinfos())

    def without_secrets(self, text: str) -> str:
        """Take user, password and options of the URL out of a text that somebody else wrote."""
        from urllib.parse import parse_qsl, unquote  # noqa: PLC0415 - only when something failed

        for _, value in parse_qsl(self.query):
            if len(value) >= _SHORTEST_SECRET:
                text = text.replace(value, "***")
        for userinfo in self._userinfos():
            password = userinfo.partition(":")[2]
            for secret in filter(None, (userinfo, password, unquote(password))):
                text = text.replace(secret, "***")
        return text

    def _userinfos(self) -> Iterator[str]:
        """Give what may be user and password: up to the last ``@``, and up to the first if there are several."""
        userinfo = self.address.partition("://")[2].rpartition("@")[0]
        return filter(None, dict.fromkeys([userinfo, userinfo.partition("@")[0]]))


#: Options that are shorter, such as numbers, are not taken for secrets.
_SHORTEST_SECRET = 5


def parse(kind: Kind, spec: object) -> Spec:
    """
    Take apart what a program gave to choose a backend.

    Raises:
        InvalidOption: There is no such kind.
        InvalidBackendSpec: It is no text, or empty, or a URL without a scheme.
    """
    if kind not in KINDS:
        raise InvalidOption("kind", kind, f"one of {', '.join(KINDS)}")
    example, example_scheme = _EXAMPLES.get(kind, ("acme", "acme"))
    cure = f"Give a name, such as {example!r}, or a URL, such as '{example_scheme}://host'."
    if not isinstance(spec, str):
        raise InvalidBackendSpec(kind, f"<{type(spec).__qualname__}>", f"is no text. {cure}")
    if not spec.strip():
        raise InvalidBackendSpec(kind, repr(spec), f"is empty. {cure}")
    head, has_scheme, rest = spec.partition("://")
    distribution, _, name = head.rpartition(":")
    if has_scheme and name:
        address, _, query = rest.partition("?")
        scheme = name.lower()
        return Spec(kind=kind, name=scheme, distribution=distribution, address=f"{scheme}://{address}", query=query)
    if has_scheme or name.isdigit() or not {"/", "\\", "@", "?"}.isdisjoint(spec):
        masked = masked_address(rest if has_scheme else spec)
        problem = f"looks like a URL without its scheme. Write {f'{example_scheme}://{masked}'!r}, if that is what"
        raise InvalidBackendSpec(kind, repr(masked), f"{problem} is there.")
    if ":" in distribution:
        problem = f"has more colons than a name, which may have one behind a distribution's. {cure}"
        raise InvalidBackendSpec(kind, repr(f"{distribution.partition(':')[0]}:***"), problem)
    return Spec(kind=kind, name=name, distribution=distribution)


def masked_address(address: str) -> str:
    """
    Take out of a URL, without its scheme, what may be secret: user and password, and the query.

    Up to the last ``@``, wherever it is: a password in which ``/`` or ``?`` are not escaped must not show either.
    """
    userinfo, at, rest = address.rpartition("@")
    return f"{'***' if userinfo else ''}{at}{rest.partition('?')[0]}"
