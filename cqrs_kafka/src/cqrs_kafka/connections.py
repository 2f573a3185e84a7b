"""What both sides, sending and receiving, tell the client about the connection."""

from __future__ import annotations

import asyncio
import importlib.util
import ssl
from typing import TYPE_CHECKING, Any

from aiokafka import codec
from aiokafka.conn import create_conn
from aiokafka.errors import (
    AuthenticationFailedError,
    AuthenticationMethodNotSupported,
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)

from cqrs_core.errors import BrokerUnavailable, InvalidOption
from cqrs_kafka.errors import AccessDenied, CompressionMissing, KerberosMissing
from cqrs_kafka.patience import TooSlow, within

if TYPE_CHECKING:
    from cqrs_kafka.settings import KafkaSettings

_DENIALS = (
    AuthenticationFailedError,
    AuthenticationMethodNotSupported,
    IllegalSaslStateError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)

#: How long a client pauses before it asks again.
RETRY_BACKOFF_S = 0.1


def check_libraries(settings: KafkaSettings) -> None:
    """
    Check that what *settings* ask for is installed.

    Raises:
        CompressionMissing: The library that compresses is not.
        KerberosMissing: The library for Kerberos is not.
    """
    if settings.compression != "none" and not getattr(codec, f"has_{settings.compression}")():
        raise CompressionMissing(settings.compression)
    is_kerberos = settings.uses_sasl and settings.sasl_mechanism == "GSSAPI"
    if is_kerberos and importlib.util.find_spec("gssapi") is None:
        raise KerberosMissing


def connection_options(settings: KafkaSettings) -> dict[str, Any]:
    """
    Give the arguments that producers and consumers of aiokafka share.

    Raises:
        InvalidOption: A file for TLS cannot be read, or holds something else.
    """
    return {
        "bootstrap_servers": list(settings.servers),
        "client_id": settings.client_id,
        "request_timeout_ms": round(settings.request_timeout_s * 1000),
        "retry_backoff_ms": round(RETRY_BACKOFF_S * 1000),
        "security_protocol": settings.security_protocol,
        "ssl_context": _ssl_context(settings) if settings.uses_tls else None,
        # aiokafka looks for what a mechanism needs, used or not.
        "sasl_mechanism": settings.sasl_mechanism if settings.uses_sasl else "PLAIN",
        "sasl_plain_username": settings.username,
        "sasl_plain_password": settings.password,
        "sasl_oauth_token_provider": settings.token_provider,
    }


def broker_unavailable(settings: KafkaSettings, problem: str | Exception) -> BrokerUnavailable:
    """Say what is wrong with the brokers of *settings*: a sentence, or the client's error."""
    text = problem if isinstance(problem, str) else f"{str(problem) or repr(problem)}."
    return BrokerUnavailable(f"Kafka at {', '.join(settings.servers)}: {text}")


async def why_unavailable(settings: KafkaSettings, within_s: float) -> BrokerUnavailable | AccessDenied:
    """Find out what keeps brokers from being reached: aiokafka tells it to its log alone. All are asked together."""
    options = connection_options(settings)
    servers = options.pop("bootstrap_servers")
    del options["retry_backoff_ms"]
    asking = [_problem_of(server, within_s, options, uses_sasl=settings.uses_sasl) for server in servers]
    problems = await asyncio.gather(*asking)
    for problem in problems:
        if isinstance(problem, AccessDenied):
            return problem
    return BrokerUnavailable(f"Kafka cannot be reached. {'; '.join(map(str, problems))}.")


async def _problem_of(server: str, within_s: float, options: dict[str, Any], *, uses_sasl: bool) -> str | AccessDenied:
    host, _, port = server.rpartition(":")
    try:
        connection = await within(within_s, create_conn(host.strip("[]"), int(port), **options))
    except _DENIALS as error:
        return AccessDenied(f"{error}.")
    except TooSlow:
        problem = f"no answer within {within_s:.0f} s"
    except ssl.SSLCertVerificationError as error:
        problem = (
            f"its certificate is not trusted: {error.verify_message.rstrip('.')}. Name the authority that signed it, "
            "as tls_ca_file, and the server as the certificate does"
        )
    except KafkaConnectionError:
        problem = (
            "it closes the connection. Perhaps it expects another security_protocol, or a certificate that it trusts "
            "(tls_cert_file)"
        )
    except (KafkaError, OSError) as error:
        problem = str(error)
    else:
        closing = connection.close()
        if closing is not None:
            await asyncio.wait({closing}, timeout=within_s)
        problem = "it has only just answered"
        if not uses_sasl:
            problem = "it answers, and then lets nobody in. Perhaps it wants to know who asks (SASL_SSL, and a user)"
    return f"{server}: {problem}"


def _ssl_context(settings: KafkaSettings) -> ssl.SSLContext:
    if settings.ssl_context is not None:
        return settings.ssl_context
    option = "tls_ca_file"
    try:
        context = ssl.create_default_context(cafile=settings.tls_ca_file)
        option = "tls_cert_file"
        if settings.tls_cert_file is not None:
            context.load_cert_chain(settings.tls_cert_file, settings.tls_key_file, password=_refuse_to_ask)
    except OSError as error:
        raise InvalidOption(option, getattr(settings, option), f"a file in PEM that can be read ({error})") from error
    return context


def _refuse_to_ask() -> str:
    """Keep a program from waiting at its start for somebody to type."""
    raise InvalidOption("tls_key_file", "a key with a passphrase", "one without, or an ssl_context instead of files")
