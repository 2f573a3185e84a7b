"""How a broker is reached, and how patient it is: everything that can be chosen."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Literal, get_args

from cqrs_core.errors import InvalidOption
from cqrs_kafka.addresses import parse, parse_servers

if TYPE_CHECKING:
    import ssl

    from aiokafka.abc import AbstractTokenProvider

SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "GSSAPI", "OAUTHBEARER"]
Compression = Literal["none", "gzip", "snappy", "lz4", "zstd"]

_WITH_PASSWORD = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


@dataclass(frozen=True, kw_only=True, slots=True)
class KafkaSettings:
    """
    How to reach a cluster, and what to expect of it.

    Attributes:
        servers: ``host:port`` of brokers; each tells of all others. More than one, so that one may be down.
        client_id: What the broker calls this program in its logs and quotas.
        security_protocol: Whether connections are encrypted (``SSL``), and users tell who they are (``SASL``).
        sasl_mechanism: How they do.
        username: Who asks.
        password: Never shown.
        tls_ca_file: Certificates to trust, in PEM; those of the system unless given.
        tls_cert_file: A certificate of our own, in PEM.
        tls_key_file: Its key.
        ssl_context: Instead of the three files.
        token_provider: Gives tokens, for ``OAUTHBEARER``.
        compression: Of what is sent.
        max_message_bytes: How large a message may be, with key and headers. The broker, and the topic, have a limit of
            their own (``message.max.bytes``), which this should not exceed.
        max_batch_bytes: How much of one partition is sent at once.
        request_timeout_s: Seconds in which a broker answers, or the connection is given up.
        delivery_timeout_s: Seconds after which it is not waited any longer for a message to be confirmed.
        unavailable_after_s: Seconds after which a broker that cannot be reached counts as unavailable.
        session_timeout_s: Seconds after which a consumer that is not heard of loses its partitions.
        rebalance_timeout_s: Seconds that the members of a group have to finish with their partitions when these are
            dealt out anew: more than a consumer's ``stop_deadline_s``, and the same for all of a group.
        commit_interval_s: Seconds between two commits. What was acknowledged since the last one comes again after a
            crash.
        commit_every: As many acknowledgements are committed without waiting for that.
        max_fetch_bytes: How much of one partition is fetched at once; a larger message comes alone.
        isolation_level: Whether what others send in transactions is received before these are committed.
        group_instance_id: Makes the member a static one: a restart within the session timeout moves no partition. It
            must be another one for each process.

    Raises:
        InvalidOption: One of them means nothing, or two do not fit together.
    """

    servers: tuple[str, ...]
    client_id: str = "cqrs"
    security_protocol: SecurityProtocol = "PLAINTEXT"
    sasl_mechanism: SaslMechanism = "PLAIN"
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls_ca_file: str | None = None
    tls_cert_file: str | None = None
    tls_key_file: str | None = None
    ssl_context: ssl.SSLContext | None = field(default=None, repr=False)
    token_provider: AbstractTokenProvider | None = field(default=None, repr=False)
    compression: Compression = "none"
    max_message_bytes: int = 1_048_576
    max_batch_bytes: int = 131_072
    request_timeout_s: float = 10.0
    delivery_timeout_s: float = 30.0
    unavailable_after_s: float = 10.0
    session_timeout_s: float = 10.0
    rebalance_timeout_s: float = 60.0
    commit_interval_s: float = 1.0
    commit_every: int = 500
    max_fetch_bytes: int = 1_048_576
    isolation_level: Literal["read_committed", "read_uncommitted"] = "read_committed"
    group_instance_id: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "servers", parse_servers(self.servers))
        _check_choice("security_protocol", self.security_protocol, SecurityProtocol)
        _check_choice("sasl_mechanism", self.sasl_mechanism, SaslMechanism)
        _check_choice("compression", self.compression, Compression)
        for name in ("max_message_bytes", "max_batch_bytes", "commit_every", "max_fetch_bytes"):
            if getattr(self, name) < 1:
                raise InvalidOption(name, getattr(self, name), "at least 1")
        for name in (entry.name for entry in fields(self) if entry.name.endswith("_s")):
            if not 0 < getattr(self, name) <= _LONGEST_S:
                raise InvalidOption(name, getattr(self, name), "seconds, more than 0 and at most a day")
        self._check_users()

    def _check_users(self) -> None:
        has_user = self.username is not None or self.password is not None
        if not self.uses_sasl:
            if has_user:
                expected = "SASL_SSL, or SASL_PLAINTEXT, for there are a user and a password"
                raise InvalidOption("security_protocol", self.security_protocol, expected)
        elif self.sasl_mechanism in _WITH_PASSWORD and not (self.username and self.password):
            raise InvalidOption("username", self.username, f"given, and a password, for {self.sasl_mechanism}")
        elif self.sasl_mechanism == "OAUTHBEARER" and self.token_provider is None:
            raise InvalidOption("token_provider", None, "an aiokafka.abc.AbstractTokenProvider, for OAUTHBEARER")

    @property
    def uses_tls(self) -> bool:
        """Whether connections are encrypted."""
        return self.security_protocol in {"SSL", "SASL_SSL"}

    @property
    def uses_sasl(self) -> bool:
        """Whether the broker is told who asks."""
        return self.security_protocol.startswith("SASL")


#: A day.
_LONGEST_S = 86_400.0


def settings_of(url: str, **options: object) -> KafkaSettings:
    """
    Make settings of a URL and options of :class:`KafkaSettings`.

    A user, in the URL or as an option, is told to the broker by ``SASL_PLAINTEXT`` unless there is another protocol.

    Raises:
        InvalidOption: They mean nothing.
    """
    address = parse(url)
    if address.username is not None:
        if options.get("username") or options.get("password"):
            raise InvalidOption("username", "...", "either in the address or an option")
        options |= {"username": address.username, "password": address.password}
    if options.get("username"):
        options.setdefault("security_protocol", "SASL_PLAINTEXT")
    return KafkaSettings(servers=address.servers, **options)  # type: ignore[arg-type] # they are checked there


def _check_choice(name: str, value: object, choices: object) -> None:
    if value not in get_args(choices):
        raise InvalidOption(name, value, f"one of {', '.join(get_args(choices))}")
