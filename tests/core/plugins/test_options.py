"""Options in the query of a URL."""

from __future__ import annotations

import enum
import re
import ssl
from typing import Any, Literal, Optional

import pytest

from cqrs_core.plugins import Backend, InvalidBackendOption, Plugin
from cqrs_core.plugins.facts import Offer
from cqrs_core.plugins.options import Options

OFFER = Offer(
    Plugin(entry_point="nats", distribution="acme-nats", version="1.2"),
    Backend(kind="broker", name="nats", factory="acme_nats:Broker"),
)


class Acks(enum.Enum):
    ALL = "all"
    ONE = 1


class Broker:
    @classmethod
    def from_url(
        cls,
        address: str,
        positional: int = 0,
        *,
        client_id: str = "",
        batch: int | None = None,
        linger_s: Optional[float] = None,
        is_durable: bool = True,
        mode: Literal["push", "pull", 1] | None = "push",
        acks: Acks = Acks.ALL,
        context: ssl.SSLContext | None = None,
        plain="",  # noqa: ANN001 - a factory need not be annotated
    ) -> None:
        """Never called here."""


def read(query: str, factory: Any = Broker.from_url) -> dict[str, object]:
    return Options(OFFER, factory).read(query)


@pytest.mark.parametrize(
    ("query", "options"),
    [
        ("", {}),
        ("client_id=shop", {"client_id": "shop"}),
        ("client_id=", {"client_id": ""}),
        ("client_id=a%20b%26c+d", {"client_id": "a b&c d"}),
        ("batch=10&linger_s=0.5", {"batch": 10, "linger_s": 0.5}),
        ("is_durable=No", {"is_durable": False}),
        ("is_durable=1", {"is_durable": True}),
        ("mode=pull", {"mode": "pull"}),
        ("mode=1", {"mode": 1}),
        ("acks=all", {"acks": Acks.ALL}),
        ("acks=1", {"acks": Acks.ONE}),
        ("plain=7", {"plain": "7"}),
    ],
)
def test_words_become_what_the_annotations_ask_for(query: str, options: dict[str, object]) -> None:
    """Annotations may be text, as in this module."""
    assert options == read(query)


THE = "of the broker 'nats' of acme-nats 1.2"
KNOWN = "Its options: client_id, batch, linger_s, is_durable, mode, acks, plain."


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("cleint_id=x", f"The option 'cleint_id' {THE} is unknown. Did you mean 'client_id'? {KNOWN}"),
        ("zzz=x", f"The option 'zzz' {THE} is unknown. {KNOWN}"),
        ("positional=1", f"The option 'positional' {THE} is unknown."),
        ("batch=ten", f"The option 'batch' {THE} must be an integer. {KNOWN}"),
        ("batch", f"The option 'batch' {THE} must be an integer."),
        ("linger_s=soon", f"The option 'linger_s' {THE} must be a finite number."),
        ("linger_s=nan", f"The option 'linger_s' {THE} must be a finite number."),
        ("is_durable=maybe", f"The option 'is_durable' {THE} must be true or false."),
        ("mode=shove", f"The option 'mode' {THE} must be one of push, pull, 1."),
        ("acks=none", f"The option 'acks' {THE} must be one of all, 1."),
        ("batch=1&batch=2", f"The option 'batch' {THE} is given twice."),
        ("context=x", f"The option 'context' {THE} cannot be given in a URL: make the object in your program, and "),
    ],
)
def test_an_option_that_cannot_be_taken_is_told_with_those_that_can(query: str, text: str) -> None:
    with pytest.raises(InvalidBackendOption, match=re.escape(text)) as caught:
        read(query)

    assert ("client_id", "batch", "linger_s", "is_durable", "mode", "acks", "plain") == caught.value.known


def test_the_value_is_not_told() -> None:
    """Neither in the text nor by a chained error: it may be a secret that stands in the wrong place."""
    with pytest.raises(InvalidBackendOption) as caught:
        read("batch=hunter2")

    assert "hunter2" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_an_option_without_default_is_needed() -> None:
    def factory(address: str, *, stream: str) -> None: ...

    with pytest.raises(InvalidBackendOption, match="The option 'stream' .* is missing, and has no default"):
        read("", factory)
    assert {"stream": "s"} == read("stream=s", factory)


def test_a_factory_may_take_options_that_it_does_not_name() -> None:
    """As text; those that it names are converted."""

    def factory(address: str, *, batch: int = 1, **others: str) -> None: ...

    assert {"batch": 2, "security.protocol": "SSL"} == read("batch=2&security.protocol=SSL", factory)
