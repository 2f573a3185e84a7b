"""What can go wrong with Kafka, beside what the core's contract of brokers has."""

from __future__ import annotations

from cqrs_core.errors import CqrsError, InvalidOption


class InvalidKafkaUrl(InvalidOption):
    """
    The address of a broker is none.

    Its text never shows what stands before an ``@``: it may be a password.
    """


class CompressionMissing(CqrsError, ImportError):
    """
    Messages are to be compressed, and the library for it is not installed.

    Attributes:
        compression: How.
    """

    def __init__(self, compression: str) -> None:
        self.compression = compression
        super().__init__(
            f"compression={compression!r} needs a library that is not installed. Install it: "
            f'pip install "cqrs-kafka[{compression}]".'
        )


class KerberosMissing(CqrsError, ImportError):
    """Users are to be authenticated by Kerberos, and the library for it is not installed."""

    def __init__(self) -> None:
        super().__init__(
            "sasl_mechanism='GSSAPI' needs a library that is not installed. Install it: "
            'pip install "cqrs-kafka[kerberos]".'
        )


class UnknownTopic(CqrsError, LookupError):
    """
    Topics are to be consumed, or read, that do not exist.

    Attributes:
        topics: Their names.
    """

    def __init__(self, *topics: str) -> None:
        self.topics = topics
        names = ", ".join(map(repr, topics))
        which, they, them = ("topic", "does", "it") if len(topics) == 1 else ("topics", "do", "them")
        commands = "; ".join(f"kafka-topics.sh --create --topic {topic} --partitions 6" for topic in topics)
        super().__init__(
            f"The {which} {names} {they} not exist, and the broker does not make topics by itself "
            f"(auto.create.topics.enable). Make {them}: {commands}. Or look whether the names are right, and this user "
            "may see them."
        )


class AccessDenied(CqrsError, PermissionError):
    """
    The broker knows who asks, or not, and does not allow it.

    Attributes:
        problem: What it said.
    """

    def __init__(self, problem: str) -> None:
        self.problem = problem
        super().__init__(f"Kafka does not allow it: {problem} Look at the user, its password and its rights (ACLs).")
