"""The names under which python-cqrs sends to Kafka, for programs that move over: what they give works as it did."""

from __future__ import annotations

import asyncio
import logging
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cqrs_core.envelope import Envelope
from cqrs_core.errors import BrokerUnavailable, InvalidOption, OutcomeUnknown
from cqrs_core.serialization.codec import codec_for
from cqrs_kafka.addresses import parse_servers
from cqrs_kafka.broker import KafkaBroker
from cqrs_kafka.settings import KafkaSettings
from cqrs_kafka.verdicts import not_reached

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Collection, Mapping, Sequence

    from cqrs_core.broker import OnRevoked, SendOutcome, Subscription
    from cqrs_kafka.settings import SaslMechanism, SecurityProtocol

    Serializer = Callable[[Any], bytes | None]

logger = logging.getLogger(__name__)


@dataclass
class Message:
    """
    What ``send_message`` sends.

    Attributes:
        message_name: What it is called; it is not sent, for the payload of python-cqrs names it.
        topic: Where it goes.
        payload: Its content: bytes as they are, anything else as JSON.
        message_id: What it is called by its sender; it is not sent either.
        payload_bytes: Its content, encoded; it goes before *payload*.
        content_type: How to read that.
        headers: Facts about it.
        key: Messages of one key stay in order. python-cqrs has none.
    """

    message_name: str
    topic: str
    payload: Any
    message_id: uuid.UUID = field(default_factory=uuid.uuid4)
    payload_bytes: bytes | None = None
    content_type: str | None = None
    headers: Mapping[str, str] | None = None
    key: str | None = None


class KafkaProducer:
    """
    Sends one message after the other; it starts with the first, and again on another event loop.

    Attributes:
        broker: What it sends with.
    """

    def __init__(
        self,
        broker: KafkaBroker,
        *,
        retry_count: int = 3,
        retry_delay: float = 1,
        value_serializer: Serializer | None = None,
    ) -> None:
        if retry_count < 1:
            raise InvalidOption("retry_count", retry_count, "at least 1")
        if retry_delay < 0:
            raise InvalidOption("retry_delay", retry_delay, "seconds, not less than 0")
        self.broker = broker
        self._tries = retry_count
        self._delay_s = retry_delay
        self._serializer = value_serializer
        self._loop: asyncio.AbstractEventLoop | None = None
        self._starting = asyncio.Lock()
        self._is_started = False

    async def produce(
        self,
        topic: str,
        message: Any,  # noqa: ANN401 - whatever can be written as JSON
        headers: Mapping[str, str] | None = None,
        *,
        key: str | None = None,
    ) -> None:
        """
        Send a message, and return as soon as the broker has it.

        A broker that is away is tried ``retry_count`` times; a message may arrive twice then.

        Raises:
            BrokerUnavailable: It is away still.
            OutcomeUnknown: It did not answer, each time.
            MessageRefused: It does not want the message.
            CodecError: The message holds what JSON cannot carry.
        """
        await self._send(Envelope(topic, self._written(message), key, dict(headers or {})))

    async def send_bytes(self, topic: str, body: bytes, headers: Mapping[str, str], *, key: str | None = None) -> None:
        """Do as :meth:`produce` with content that is encoded already."""
        await self._send(Envelope(topic, body, key, headers))

    async def _send(self, envelope: Envelope) -> None:
        for left in reversed(range(self._tries)):
            try:
                await self.start()
                await self.broker.send(envelope)
            except (BrokerUnavailable, OutcomeUnknown) as error:
                if not left:
                    raise
                logger.warning("A message for %s was not sent, %d tries are left: %s", envelope.topic, left, error)
                await asyncio.sleep(self._delay_s)
            else:
                return

    async def start(self) -> None:
        """
        Connect, unless it is connected on this loop.

        Raises:
            BrokerUnavailable: No broker answers.
        """
        async with self._one_at_a_time():
            if not self._is_started:
                await self.broker.start()
                self._is_started = True

    async def stop(self) -> None:
        """Disconnect, if it is connected on this loop; the next message connects again."""
        async with self._one_at_a_time():
            if self._is_started:
                self._is_started = False
                await self.broker.stop()

    def _one_at_a_time(self) -> asyncio.Lock:
        loop = asyncio.get_running_loop()
        if self._loop is not loop:  # what was started on another one has ended with it
            self._starting, self._loop, self._is_started = asyncio.Lock(), loop, False
        return self._starting

    def _written(self, message: Any) -> bytes:  # noqa: ANN401 - as above
        if self._serializer is not None:
            return self._serializer(message) or b""
        if isinstance(message, (bytes, bytearray, memoryview)):
            return bytes(message)
        return codec_for(type(message)).encode(message)


class KafkaMessageBroker:
    """
    A broker with python-cqrs's ``send_message``: for ``bootstrap(message_broker=...)``, and to be called.

    Args:
        producer: What :func:`kafka_producer_factory` makes.
        aiokafka_log_level: Taken, and of no effect: levels of logging are the program's, and what aiokafka repeats is
            left out anyway.
    """

    is_durable = True
    keeps_order_after_failure = True

    def __init__(self, producer: KafkaProducer, aiokafka_log_level: str = "ERROR") -> None:  # noqa: ARG002 - as promised
        self._producer = producer

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._producer.broker!r})"

    async def send_message(self, message: Message) -> None:
        """Send *message*, as :meth:`KafkaProducer.produce` does."""
        if message.payload_bytes is None:
            await self._producer.produce(message.topic, message.payload, message.headers, key=message.key)
            return
        headers = {**(message.headers or {})}
        if message.content_type is not None:
            headers.setdefault("content-type", message.content_type)
        await self._producer.send_bytes(message.topic, message.payload_bytes, headers, key=message.key)

    async def start(self) -> None:
        """As :meth:`cqrs_core.broker.Broker.start`."""
        await self._producer.start()

    async def stop(self) -> None:
        """As :meth:`cqrs_core.broker.Broker.stop`."""
        await self._producer.stop()

    async def send(self, envelope: Envelope) -> None:
        """As :meth:`cqrs_core.broker.Broker.send`; the first message starts it."""
        await self._producer.start()
        await self._producer.broker.send(envelope)

    async def send_many(self, envelopes: Sequence[Envelope]) -> Sequence[SendOutcome]:
        """As :meth:`cqrs_core.broker.Broker.send_many`; the first message starts it."""
        try:
            await self._producer.start()
        except BrokerUnavailable as error:
            return [not_reached(error)] * len(envelopes)
        return await self._producer.broker.send_many(envelopes)

    async def subscribe(self, topics: Collection[str], *, group: str, on_revoked: OnRevoked) -> Subscription:
        """As :meth:`cqrs_core.broker.Broker.subscribe`."""
        return await self._producer.broker.subscribe(topics, group=group, on_revoked=on_revoked)


def kafka_producer_factory(
    dsn: str,
    topics: Sequence[str] = (),
    *,
    security_protocol: SecurityProtocol = "PLAINTEXT",
    sasl_mechanism: SaslMechanism = "PLAIN",
    ssl_context: ssl.SSLContext | None = None,
    retry_count: int = 3,
    retry_delay: float = 1,
    user: str | None = None,
    password: str | None = None,
    value_serializer: Serializer | None = None,
) -> KafkaProducer:
    """
    Make a producer, anywhere: it needs no event loop before it sends.

    Args:
        dsn: ``"host:9092,other:9092"``.
        topics: Taken, as python-cqrs's documentation shows it, and of no effect: each message says where it goes.
        retry_count: How often a message is tried, at least once.
        retry_delay: Seconds between.
        value_serializer: Makes bytes of payloads, instead of JSON.

    Raises:
        InvalidOption: One of them means nothing.
    """
    if isinstance(topics, str):
        raise InvalidOption("topics", topics, "a list of names")
    settings = KafkaSettings(
        servers=parse_servers(dsn.split(",")),
        security_protocol=security_protocol,
        sasl_mechanism=sasl_mechanism,
        ssl_context=ssl_context,
        username=user,
        password=password,
    )
    broker = KafkaBroker(settings)
    return KafkaProducer(broker, retry_count=retry_count, retry_delay=retry_delay, value_serializer=value_serializer)
