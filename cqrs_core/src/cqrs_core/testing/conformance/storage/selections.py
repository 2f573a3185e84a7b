"""Messages that differ in one thing each, and what selections of them mean."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from cqrs_core.outbox_keeper import Selection
from cqrs_core.testing.conformance.storage.suite import envelope

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cqrs_core.envelope import Envelope

#: Every message.
ALL = Selection()


def of_keys_and_topics() -> list[Envelope]:
    """Make messages that differ in one thing each, whose bodies are their numbers."""
    facts = [("a", "x"), ("A", "x"), ("a", "X"), (None, "x"), ("", "y"), ("a ", "x"), ("a", "y"), (r"a\x", r"z\w")]
    return [envelope(b"%d" % number, key, topic=topic) for number, (key, topic) in enumerate(facts)]


def selections(enqueued: Sequence[Envelope]) -> list[tuple[Selection, list[bytes]]]:
    """Pair selections with the bodies of those of :func:`of_keys_and_topics` that are meant."""
    first = uuid.UUID(str(enqueued[0].id))
    return [
        (ALL, [one.body for one in enqueued]),
        (Selection(id=first), [b"0"]),
        (Selection(key="a"), [b"0", b"2", b"6"]),
        (Selection(key=""), [b"4"]),
        (Selection(topic="x"), [b"0", b"1", b"3", b"5"]),
        (Selection(key="a", topic="x"), [b"0"]),
        (Selection(key=r"a\x"), [b"7"]),
        (Selection(topic=r"z\w"), [b"7"]),
        (Selection(id=first, key="A"), []),
        (Selection(id=uuid.uuid4()), []),
    ]
