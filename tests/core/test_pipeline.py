"""Middlewares around requests and streams, and chains of responsibility."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import anyio
import pytest

import cqrs_core as cqrs
from cqrs_core.bootstrap import bootstrap, bootstrap_streaming


class Journal:
    """Remembers what happened, in order."""

    def __init__(self) -> None:
        self.lines: list[str] = []


class Ping(cqrs.Request[str]):
    text: str = "ping"


class Pong(cqrs.Request[str]):
    text: str = "pong"


class PingHandler(cqrs.RequestHandler[Ping, str]):
    async def handle(self, request: Ping) -> str:
        return request.text


class PongHandler(cqrs.RequestHandler[Pong, str]):
    async def handle(self, request: Pong) -> str:
        return request.text


class Letters(cqrs.Request[str]):
    text: str


class LettersHandler(cqrs.StreamingRequestHandler[Letters, str]):
    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def handle(self, request: Letters) -> AsyncIterator[str]:
        try:
            for letter in request.text:
                yield letter
        finally:
            self._journal.lines.append("handler closed")


@pytest.fixture
def journal() -> Journal:
    return Journal()


@pytest.fixture
def container(journal: Journal) -> cqrs.SimpleContainer:
    container = cqrs.SimpleContainer()
    container.instance(Journal, journal)
    return container


class Tracing:
    """Writes down when a message goes in and comes out."""

    def __init__(self, name: str, journal: Journal) -> None:
        self._name = name
        self._journal = journal

    async def __call__(self, request: Any, handle: Any) -> Any:
        self._journal.lines.append(f"{self._name} in")
        response = await handle(request)
        self._journal.lines.append(f"{self._name} out")
        return response

    async def stream(self, request: Any, handle: Any) -> AsyncIterator[Any]:
        self._journal.lines.append(f"{self._name} in")
        try:
            async for answer in handle(request):
                self._journal.lines.append(f"{self._name} {answer}")
                yield answer
        finally:
            self._journal.lines.append(f"{self._name} out")


# requests ------------------------------------------------------------------------------------------------------------


async def test_middlewares_run_once_per_send_outermost_first_global_before_per_type(journal: Journal) -> None:
    """DESIGN 4.1: middlewares run once per send, outermost first, global before per type."""

    def mapper(requests: cqrs.RequestMap) -> None:
        requests.bind(Ping, PingHandler, middlewares=[Tracing("own", journal)])
        requests.bind(Pong, PongHandler)

    mediator = bootstrap(commands_mapper=mapper, middlewares=[Tracing("a", journal), Tracing("b", journal)])

    assert "ping" == await mediator.send(Ping())
    assert "pong" == await mediator.send(Pong())

    assert [
        *["a in", "b in", "own in", "own out", "b out", "a out"],
        *["a in", "b in", "b out", "a out"],
    ] == journal.lines


class AnswerInItsPlace:
    async def __call__(self, request: Any, handle: Any) -> Any:
        return "from the cache"


async def test_a_middleware_may_answer_in_the_handlers_place(journal: Journal) -> None:
    """What is inside it does not run."""
    mediator = bootstrap(
        commands_mapper=lambda requests: requests.bind(Ping, PingHandler),
        middlewares=[AnswerInItsPlace(), Tracing("inner", journal)],
    )

    assert "from the cache" == await mediator.send(Ping())

    assert [] == journal.lines


class Shout:
    async def __call__(self, request: Ping, handle: Any) -> Any:
        response = await handle(Ping(request.text.upper()))
        return f"{response}!"


async def test_a_middleware_may_pass_on_another_request_and_change_the_response() -> None:
    """It stands between the sender and the handler."""
    mediator = bootstrap(
        commands_mapper=lambda requests: requests.bind(Ping, PingHandler), middlewares=[Shout(), Shout()]
    )

    assert "PING!!" == await mediator.send(Ping())


def test_a_function_is_a_middleware() -> None:
    """Anything that can be called with a request and a handle will do."""

    async def twice(request: Any, handle: Any) -> Any:
        return await handle(request) + await handle(request)

    mediator = bootstrap(commands_mapper=lambda requests: requests.bind(Ping, PingHandler), middlewares=[twice])

    assert "pingping" == anyio.run(mediator.send, Ping())


async def test_events_are_handled_inside_the_middlewares(container: cqrs.SimpleContainer, journal: Journal) -> None:
    """DESIGN 4.1: a middleware that measures a send measures the handlers of its events, too."""
    mediator = bootstrap(
        container,
        commands_mapper=lambda requests: requests.bind(Announce, AnnounceHandler),
        domain_events_mapper=lambda events: events.bind(Announced, OnAnnounced),
        middlewares=[Tracing("m", journal)],
    )

    await mediator.send(Announce())

    assert ["m in", "heard", "m out"] == journal.lines


class Announced(cqrs.DomainEvent):
    pass


class Announce(cqrs.Request[None]):
    pass


class AnnounceHandler(cqrs.RequestHandler[Announce, None]):
    async def handle(self, request: Announce) -> None:
        self.events.append(Announced())


class OnAnnounced(cqrs.EventHandler[Announced]):
    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def handle(self, event: Announced) -> None:
        self._journal.lines.append("heard")


# streams -------------------------------------------------------------------------------------------------------------


def letters(requests: cqrs.RequestMap) -> None:
    requests.bind(Letters, LettersHandler)


async def test_middlewares_of_streams_really_run_outermost_first(
    container: cqrs.SimpleContainer, journal: Journal
) -> None:
    """Each item passes through all of them."""

    def mapper(requests: cqrs.RequestMap) -> None:
        requests.bind(Letters, LettersHandler, middlewares=[Tracing("own", journal)])

    mediator = bootstrap_streaming(container, commands_mapper=mapper, middlewares=[Tracing("global", journal)])

    assert ["a", "b"] == [letter async for letter in mediator.stream(Letters("ab"))]

    assert [
        *["global in", "own in", "own a", "global a", "own b", "global b"],
        *["handler closed", "own out", "global out"],
    ] == journal.lines


async def test_a_stream_that_is_left_early_closes_every_layer(
    container: cqrs.SimpleContainer, journal: Journal
) -> None:
    """A middleware's ``async for`` leaves what it iterates over open; the mediator closes all, from the inside out."""
    mediator = bootstrap_streaming(container, commands_mapper=letters, middlewares=[Tracing("m", journal)])

    async with aclosing(mediator.stream(Letters("abc"))) as stream:
        assert "a" == await stream.__anext__()

    assert ["m in", "m a", "handler closed", "m out"] == journal.lines


# chains --------------------------------------------------------------------------------------------------------------


class Pay(cqrs.Request[str]):
    method: str


class Tried(cqrs.DomainEvent):
    by: str


class OnTried(cqrs.EventHandler[Tried]):
    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def handle(self, event: Tried) -> None:
        self._journal.lines.append(f"{event.by} tried")


class Card(cqrs.CORRequestHandler[Pay, str]):
    async def handle(self, request: Pay) -> str | None:
        self.events.append(Tried("card"))
        return "by card" if request.method == "card" else await self.next(request)


class Transfer(cqrs.CORRequestHandler[Pay, str]):
    async def handle(self, request: Pay) -> str | None:
        self.events.append(Tried("transfer"))
        return "by transfer" if request.method == "transfer" else await self.next(request)


class Cash(cqrs.CORRequestHandler[Pay, str]):
    async def handle(self, request: Pay) -> str | None:
        self.events.append(Tried("cash"))
        return "by cash" if request.method == "cash" else await self.next(request)


def paying(requests: cqrs.RequestMap) -> None:
    requests.bind(Pay, [Card, Transfer, Cash])


def tried(events: cqrs.EventMap) -> None:
    events.bind(Tried, OnTried)


@pytest.mark.parametrize(
    ("method", "answer", "ran"),
    [
        ("card", "by card", ["card"]),
        ("transfer", "by transfer", ["card", "transfer"]),
        ("cash", "by cash", ["card", "transfer", "cash"]),
        ("barter", None, ["card", "transfer", "cash"]),
    ],
)
async def test_a_chain_stops_at_the_link_that_answers_and_events_of_every_link_that_ran_are_handled(
    container: cqrs.SimpleContainer, journal: Journal, method: str, answer: str | None, ran: list[str]
) -> None:
    """In the order in which they ran; a chain that nobody ends answers None."""
    mediator = bootstrap(container, commands_mapper=paying, domain_events_mapper=tried)

    assert answer == await mediator.send(Pay(method))

    assert [f"{name} tried" for name in ran] == journal.lines


class PayAbroad(Pay):
    pass


async def test_links_belong_to_the_chain_and_not_to_shared_handlers(container: cqrs.SimpleContainer) -> None:
    """One shared Card object stands in two chains, and each goes on in its own way."""

    def two_chains(requests: cqrs.RequestMap) -> None:
        requests.bind(Pay, [Card, Transfer])
        requests.bind(PayAbroad, [Card, Cash])

    container.singleton(Card)
    mediator = bootstrap(container, commands_mapper=two_chains)

    assert "by cash" == await mediator.send(PayAbroad("cash"))
    assert "by transfer" == await mediator.send(Pay("transfer"))
    assert None is await mediator.send(Pay("cash"))


class Refuse(cqrs.CORRequestHandler[Pay, str]):
    async def handle(self, request: Pay) -> str | None:
        raise PermissionError(request.method)


async def test_events_of_a_chain_that_raised_are_dropped(container: cqrs.SimpleContainer, journal: Journal) -> None:
    """DESIGN 4.1: a chain's too; for links that are shared, also with the next message."""
    container.singleton(Card)
    mediator = bootstrap(
        container,
        commands_mapper=lambda requests: requests.bind(Pay, [Card, Refuse]),
        domain_events_mapper=tried,
    )

    with pytest.raises(PermissionError):
        await mediator.send(Pay("cash"))
    assert "by card" == await mediator.send(Pay("card"))

    assert ["card tried"] == journal.lines


class Twice(cqrs.CORRequestHandler[Pay, str]):
    """Lets the rest of the chain try twice."""

    async def handle(self, request: Pay) -> str | None:
        first = await self.next(request)
        return f"{first}, {await self.next(request)}"


async def test_a_link_may_let_the_rest_try_again(container: cqrs.SimpleContainer, journal: Journal) -> None:
    """Each try of the rest is a run of its own, and events of both are handled."""
    mediator = bootstrap(
        container,
        commands_mapper=lambda requests: requests.bind(Pay, [Twice, Cash]),
        domain_events_mapper=tried,
    )

    assert "by cash, by cash" == await mediator.send(Pay("cash"))

    assert ["cash tried", "cash tried"] == journal.lines


class Outer(cqrs.CORRequestHandler[Pay, str]):
    """Sends a request that is handled by a chain, from inside a chain."""

    def __init__(self, mediator: cqrs.RequestMediator) -> None:
        self._mediator = mediator

    async def handle(self, request: Pay) -> str | None:
        inner = await self._mediator.send(PayAbroad("transfer"))
        return f"{inner}, then {await self.next(request)}"


async def test_a_chain_inside_a_chain_does_not_disturb_it(container: cqrs.SimpleContainer) -> None:
    """After a nested chain, next() goes on in the outer one."""

    def nested(requests: cqrs.RequestMap) -> None:
        requests.bind(Pay, [Outer, Cash])
        requests.bind(PayAbroad, [Card, Transfer])

    mediator = bootstrap(container, commands_mapper=nested)

    assert "by transfer, then by cash" == await mediator.send(Pay("cash"))


async def test_a_link_alone_is_the_end_of_its_chain() -> None:
    """In a unit test, outside any mediator, next() answers None."""
    assert None is await Card().handle(Pay("cash"))


async def test_chains_that_run_side_by_side_do_not_mix(container: cqrs.SimpleContainer) -> None:
    """Which links are next is known to each message by itself."""

    def two_chains(requests: cqrs.RequestMap) -> None:
        requests.bind(Pay, [Patient, Transfer])
        requests.bind(PayAbroad, [Patient, Cash])

    container.singleton(Patient)
    mediator = bootstrap(container, commands_mapper=two_chains)
    answers: list[str] = []

    async def pay(request: Pay) -> None:
        answers.append(await mediator.send(request))

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(pay, Pay("transfer"))
            tasks.start_soon(pay, PayAbroad("cash"))

    assert ["by cash"] * 3 + ["by transfer"] * 3 == sorted(answers)


class Patient(cqrs.CORRequestHandler[Pay, str]):
    async def handle(self, request: Pay) -> str | None:
        for _ in range(3):
            await anyio.lowlevel.checkpoint()
        return await self.next(request)


class Forgive(cqrs.CORRequestHandler[Pay, str]):
    async def handle(self, request: Pay) -> str | None:
        try:
            return await self.next(request)
        except PermissionError:
            return "forgiven"


class TryAndRefuse(cqrs.CORRequestHandler[Pay, str]):
    async def handle(self, request: Pay) -> str | None:
        self.events.append(Tried("refused"))
        raise PermissionError(request.method)


async def test_events_of_a_link_that_raised_are_dropped_though_another_goes_on(
    container: cqrs.SimpleContainer, journal: Journal
) -> None:
    """It failed, so they did not happen."""
    mediator = bootstrap(
        container,
        commands_mapper=lambda requests: requests.bind(Pay, [Forgive, TryAndRefuse]),
        domain_events_mapper=tried,
    )

    assert "forgiven" == await mediator.send(Pay("cash"))

    assert [] == journal.lines
