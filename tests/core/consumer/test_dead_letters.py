"""Dead letters: the message as it came, and why it was given up."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from cqrs_core.broker import Delivery
from cqrs_core.consumer.dead_letters import dead_letter
from cqrs_core.envelope import Envelope
from cqrs_core.errors import EventHandlersFailed, UnreadableMessage

NOON = datetime(2026, 11, 24, 12, tzinfo=timezone.utc)


def bury(error: BaseException, **headers: str) -> Envelope:
    envelope = Envelope("orders", b"\xff\x00{", "key-1", headers)
    return dead_letter(
        Delivery(envelope, "orders-3", "3:42", 2), error, topic="orders.shop.dead", group="shop", attempts=5, time=NOON
    )


def test_a_dead_letter_is_the_message_untouched_and_headers_that_say_why() -> None:
    """Body, key and headers as they came, whether they are text or not; exactly these names are added."""
    letter = bury(ValueError("no such order"), ce_id="7", trace="caf\udce9")

    assert (
        Envelope(
            "orders.shop.dead",
            b"\xff\x00{",
            "key-1",
            {
                "ce_id": "7",
                "trace": "caf\udce9",
                "cqrs_dead_topic": "orders",
                "cqrs_dead_partition": "orders-3",
                "cqrs_dead_position": "3:42",
                "cqrs_dead_group": "shop",
                "cqrs_dead_attempts": "5",
                "cqrs_dead_error_type": "builtins.ValueError",
                "cqrs_dead_error_text": "no such order",
                "cqrs_dead_time": "2026-11-24T12:00:00+00:00",
            },
        )
        == letter
    )


def test_a_message_that_dies_again_tells_of_its_last_death() -> None:
    """What it told before is written over."""
    letter = bury(ValueError("again"), cqrs_dead_topic="elsewhere", cqrs_dead_error_text="first")

    assert ("orders", "again") == (letter.headers["cqrs_dead_topic"], letter.headers["cqrs_dead_error_text"])


def test_the_message_that_was_delivered_is_left_alone() -> None:
    """The headers are copied; the delivery may be shared with another group."""
    headers = {"a": "b"}
    delivery = Delivery(Envelope("orders", b"", None, headers), "p", "1")

    dead_letter(delivery, ValueError(), topic="dead", group="shop", attempts=1, time=NOON)

    assert {"a": "b"} == headers == delivery.envelope.headers


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even that")


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (EventHandlersFailed([KeyError("k")]), "builtins.KeyError", "'k'"),
        (UnreadableMessage("t", "1", "x"), "cqrs_core.errors.bordering.UnreadableMessage", None),
        (ValueError("half \ud800 of one"), "builtins.ValueError", "half ? of one"),
        (ValueError("é" * 5000), "builtins.ValueError", "é" * 1000),
        (ValueError(), "builtins.ValueError", ""),
        (Unspeakable(), f"{__name__}.Unspeakable", "(its text cannot be shown: RuntimeError)"),
    ],
    ids=["only handler", "ours", "no text", "long", "nothing", "unspeakable"],
)
def test_an_error_is_told_by_its_kind_and_its_text(error: Exception, kind: str, text: Any) -> None:
    """Of a group of one, that one; text is cut, is always Unicode, and no class of the program's can break it."""
    headers = bury(error).headers

    assert kind == headers["cqrs_dead_error_type"]
    assert (str(error) if text is None else text) == headers["cqrs_dead_error_text"]


def test_of_several_handlers_that_failed_the_group_is_told() -> None:
    """With their number and kinds."""
    headers = bury(EventHandlersFailed([KeyError("k"), ValueError("v")])).headers

    assert "cqrs_core.errors.handling.EventHandlersFailed" == headers["cqrs_dead_error_type"]
    assert headers["cqrs_dead_error_text"].startswith("2 event handlers failed (KeyError, ValueError)")
