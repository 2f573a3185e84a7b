"""Read where the brokers of a cluster are: ``kafka://user:password@host:9092,other:9092``."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

from cqrs_core.errors import InvalidOption
from cqrs_kafka.errors import InvalidKafkaUrl

if TYPE_CHECKING:
    from collections.abc import Iterable

DEFAULT_PORT = 9092
_LAST_PORT = 65_535


class Address(NamedTuple):
    """
    Where a cluster is, and who asks.

    Attributes:
        servers: ``host:port`` of each broker that is asked first for the others.
    """

    servers: tuple[str, ...]
    username: str | None = None
    password: str | None = None


def parse(url: str) -> Address:
    """
    Take a URL apart; empty, it means ``localhost:9092``.

    Raises:
        InvalidKafkaUrl: It is none, or there is more in it.
    """
    if not url:
        return Address((f"localhost:{DEFAULT_PORT}",))
    rest = url.partition("://")[2] if "://" in url else url
    userinfo, at, hosts = rest.rpartition("@")
    servers = parse_servers(hosts.removesuffix("/").split(","))
    if not at:
        return Address(servers)
    username, colon, password = userinfo.partition(":")
    if not (username and colon and password):
        raise _invalid("user and password, 'kafka://user:password@host:9092', or none of them")
    return Address(servers, unquote(username), unquote(password))


def parse_servers(servers: Iterable[str]) -> tuple[str, ...]:
    """
    Check a list of ``host:port``, and fill in the port that Kafka has usually.

    Raises:
        InvalidOption: It is no list, or one of them is no server.
    """
    if isinstance(servers, str):  # each letter would be a server; it is not shown, for there may be a password in it
        raise InvalidOption("servers", "...", "a tuple of 'host:port', not a text")
    found = tuple(_server(server.strip()) for server in servers)
    if not found:
        raise _invalid("at least one 'host:port'")
    return found


def _server(server: str) -> str:
    host, colon, port = server.rpartition(":")
    if not colon or server.endswith("]"):  # [::1] alone
        host, port = server, str(DEFAULT_PORT)
    is_bare = not {"/", "?", "#", "@", " "}.intersection(host)
    is_host = bool(host) and is_bare and (":" not in host or (host.startswith("[") and host.endswith("]")))
    if not is_host or not (port.isascii() and port.isdigit() and 0 < int(port[:6]) <= _LAST_PORT):
        raise _invalid("'host:port', or several with commas between them: 'kafka://one:9092,other:9092'")
    return f"{host}:{int(port)}"


def _invalid(expected: str) -> InvalidKafkaUrl:
    # Not what was given: there may be a password in it, at the wrong place even.
    return InvalidKafkaUrl("address", "kafka://...", expected)
