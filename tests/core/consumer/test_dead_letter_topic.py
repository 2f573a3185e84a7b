"""Dead letters are looked at and sent back: to their topic, in order, for the group that gave them up."""

from __future__ import annotations

import logging
from contextlib import aclosing
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import anyio
import pytest

import cqrs_core as cqrs
from cqrs_core.broker import Delivery
from cqrs_core.consumer import DeadLetters, LetterSelection
from cqrs_core.errors import BrokerUnavailable, InvalidOption, NotReadable

if TYPE_CHECKING:
    from conftest import Desk

    from cqrs_core.consumer import Replay

DEAD = "payments.shop.dead"
ID = "5e7a7b34-6d3b-4b5c-9f0d-2f4f3a8f1c11"


async def replay(broker: Any, which: LetterSelection | None = None, **options: Any) -> list[Replay]:
    async with aclosing(DeadLetters(broker, DEAD).replay(which, **options)) as replays:
        return [each async for each in replays]


def whats(letters: Any) -> list[str]:
    return [letter.message.body.decode()[10:-2] for letter in letters]


async def fill(desk: Desk, *whats: str, key: str | None = "k", **headers: str) -> None:
    """Let messages become dead letters of the group ``shop``."""
    app, book = desk.app()
    book.fails = {what: [ValueError(f"not {what}")] for what in whats}
    async with app.running():
        await desk.send(*whats, key=key, **headers)
        await desk.until(lambda: app.consumers[0].counts["dead_lettered"] == len(whats))


async def test_a_dead_letter_is_shown_as_the_message_that_it_was(desk: Desk) -> None:
    """Topic, body, key and headers as they came; and beside them who gave it up when, and why."""
    await fill(desk, "a", ce_id=ID)

    (letter,) = await DeadLetters(desk.broker, DEAD).look()

    assert cqrs.Envelope("payments", b'{"what": "a"}', "k", {"ce_type": "Paid", "ce_id": ID}) == letter.message
    assert ("shop", 1, "builtins.ValueError", "not a") == (
        letter.group,
        letter.attempts,
        letter.error_type,
        letter.error_text,
    )
    assert datetime(2000, 1, 1, tzinfo=timezone.utc) == letter.failed_at


@pytest.mark.parametrize("headers", [{"ce_id": ID}, {}], ids=["id", "no id"])
async def test_only_the_group_that_gave_it_up_handles_it_again(desk: Desk, headers: dict[str, str]) -> None:
    """With the id that it had, also if that is made of where it stood, and without what was said of its death."""
    shop, by_shop = desk.app("shop")
    bank, by_bank = desk.app("bank")
    by_shop.fails["a"] = [ValueError()]
    async with shop.running(), bank.running():
        await desk.send("a", **headers)
        await desk.until(lambda: by_bank.done == ["a"] and shop.consumers[0].counts["dead_lettered"] == 1)
        assert [None] == [each.problem for each in await replay(desk.broker)]
        await desk.until(lambda: by_shop.done == ["a"])
        await desk.until(lambda: bank.consumers[0].counts["skipped"] == 1)
    assert ["a"] == by_bank.begun
    first, second = by_shop.messages
    assert (first.id, first.topic, first.key, dict(first.headers)) == (
        second.id,
        second.topic,
        second.key,
        dict(second.headers),
    )
    assert [] == await DeadLetters(desk.broker, DEAD).look()


async def test_all_groups_handle_it_again_on_request_but_those_that_have_an_inbox(desk: Desk) -> None:
    """An inbox knows the id."""
    shop, by_shop = desk.app("shop")
    bank, by_bank = desk.app("bank")
    mail, by_mail = desk.app("mail", storage=cqrs.MemoryStorage())
    by_shop.fails["a"] = [ValueError()]
    async with shop.running(), bank.running(), mail.running(only="consumers"):
        await desk.send("a", ce_id=ID)
        await desk.until(lambda: shop.consumers[0].counts["dead_lettered"] == 1)
        await replay(desk.broker, for_all_groups=True)
        await desk.until(lambda: by_shop.done == ["a"] and by_bank.done == ["a", "a"])
        await desk.until(lambda: mail.consumers[0].counts["handled"] == 2)
    assert ["a"] == by_mail.done


async def test_those_of_a_key_are_sent_back_in_their_order(desk: Desk) -> None:
    """Whatever stands between them."""
    await fill(desk, "a1", "a2", "a3", key="a")
    await fill(desk, "b1", "b2", key="b")
    await fill(desk, "a4", key="a")
    app, book = desk.app()
    async with app.running():
        await replay(desk.broker)
        await desk.until(lambda: len(book.done) == 6)
    assert ["a1", "a2", "a3", "a4"] == [what for what in book.done if what.startswith("a")]
    assert ["b1", "b2"] == [what for what in book.done if what.startswith("b")]


async def test_what_is_given_up_again_is_a_new_letter_and_is_left_for_the_next_time(desk: Desk) -> None:
    """Or who sends it back, and who gives it up, would go round for ever."""
    app, book = desk.app()
    book.fails["a"] = [ValueError()] * 3
    async with app.running():
        await desk.send("a")
        for deaths in (1, 2, 3):
            await desk.until(lambda deaths=deaths: app.consumers[0].counts["dead_lettered"] == deaths)  # type: ignore[misc]  # mypy infers no lambda with a default
            (letter,) = await DeadLetters(desk.broker, DEAD).look()
            assert 1 == letter.attempts
            async with aclosing(DeadLetters(desk.broker, DEAD).replay()) as replays:
                async for _ in replays:
                    await desk.settle()  # it fails again before it is looked for more
                    sent = app.consumers[0].counts["failed"]
            assert min(deaths + 1, 3) == sent
        await desk.until(lambda: book.done == ["a"])


async def test_a_crash_between_sending_and_noting_repeats_one_and_loses_none(desk: Desk) -> None:
    """The letter is still listed, and is sent once more."""
    await fill(desk, "a", "b", "c")
    async with desk.reading("payments") as sent:
        broken = _Breaking(desk.broker, at=4)  # a, its note, b: and no more
        with pytest.raises(BrokerUnavailable):
            await replay(broken)
        assert ["b", "c"] == whats(await DeadLetters(desk.broker, DEAD).look())
        await replay(desk.broker)
        bodies: list[str] = []
        with anyio.fail_after(30):
            while len(bodies) < 4:
                bodies += [delivery.envelope.body.decode()[10:-2] for delivery in await sent.receive(10)]
    assert ["a", "b", "b", "c"] == bodies


class _Breaking:
    """A broker that takes only so many messages."""

    def __init__(self, broker: Any, *, at: int) -> None:
        self._broker = broker
        self._left = at

    def __getattr__(self, name: str) -> Any:
        return getattr(self._broker, name)

    async def send(self, envelope: cqrs.Envelope) -> None:
        self._left -= 1
        if not self._left:
            raise BrokerUnavailable("gone")
        await self._broker.send(envelope)


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        (LetterSelection(), ["a", "b", "c"]),
        (LetterSelection(id=ID), ["a"]),
        (LetterSelection(id="no such"), []),
        (LetterSelection(key="k"), ["a", "b"]),
        (LetterSelection(key="k", id="7"), ["b"]),
        (LetterSelection(topic="payments"), ["a", "b", "c"]),
        (LetterSelection(topic="orders"), []),
        (LetterSelection(group="shop"), ["a", "b", "c"]),
        (LetterSelection(group="bank"), []),
    ],
)
async def test_one_chooses_by_what_is_known_of_the_message(
    desk: Desk, which: LetterSelection, expected: list[str]
) -> None:
    """All that is given must apply; and what was not chosen is still there."""
    await fill(desk, "a", ce_id=ID)
    await fill(desk, "b", ce_id="7")
    await fill(desk, "c", key=None)

    assert expected == sorted(whats(await DeadLetters(desk.broker, DEAD).look(which)))
    assert expected == sorted(whats(each.letter for each in await replay(desk.broker, which)))
    left = whats(await DeadLetters(desk.broker, DEAD).look())
    assert sorted({"a", "b", "c"} - set(expected)) == sorted(left)


async def test_a_letter_is_found_by_its_position_and_a_list_ends_where_one_likes(desk: Desk) -> None:
    """The position is that in the dead-letter topic."""
    await fill(desk, "a", "b", "c")
    letters = DeadLetters(desk.broker, DEAD)
    found = await letters.look()

    assert ["b"] == whats(await letters.look(LetterSelection(position=found[1].position)))
    assert ["a", "b"] == whats(await letters.look(limit=2))
    assert [] == await letters.look(limit=0)


async def test_who_consumes_dead_letters_passes_over_the_notes(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """They are no events; not even one who keeps what it does not know makes dead letters of them."""
    await fill(desk, "a")
    app, book = desk.app("undertaker", topic=DEAD, on_unknown="dead_letter")
    caplog.clear()
    async with app.running():
        await replay(desk.broker)
        await desk.until(lambda: app.consumers[0].counts["skipped"] == 1)
        assert {"skipped": 1} == app.consumers[0].counts
    assert [] == [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [] == book.begun


async def test_what_does_not_say_where_it_came_from_stays_where_it_is(desk: Desk) -> None:
    """Somebody else has put it there."""
    await desk.broker.send(cqrs.Envelope(DEAD, b"{}", "k", {"x": "y"}))

    (letter,) = await DeadLetters(desk.broker, DEAD).look()
    (left,) = await replay(desk.broker)

    assert ("", "", None, 0) == (letter.message.topic, letter.group, letter.failed_at, letter.attempts)
    assert "it has no header cqrs_dead_topic, so nobody knows where it came from" == left.problem
    assert 1 == len(await DeadLetters(desk.broker, DEAD).look())


async def test_a_letter_that_names_no_group_and_no_position_is_for_all_and_is_no_repetition(desk: Desk) -> None:
    """Somebody wrote it by hand, or another library did: nobody passes over it, and no inbox takes two for one."""
    app, book = desk.app(storage=cqrs.MemoryStorage())
    for what in ("a", "b"):
        await desk.send(what, topic=DEAD, cqrs_dead_topic="payments")
    async with app.running(only="consumers"):
        await replay(desk.broker)
        await desk.until(lambda: book.done == ["a", "b"])


class _Growing:
    """A broker whose topic gets more letters in its first partition, without end, when it is read a second time."""

    def __init__(self) -> None:
        self.readers = 0
        self.open = 0

    async def open_reader(self, topic: str) -> _GrowingReader:
        assert topic == DEAD
        self.readers += 1
        self.open += 1
        return _GrowingReader(self, [f"p/{number}" for number in range(self.readers)] + ["q/0"])


class _GrowingReader:
    def __init__(self, broker: _Growing, positions: list[str]) -> None:
        self._broker = broker
        self._positions = positions

    async def read(self, limit: int) -> list[Delivery]:
        if not self._positions and self._broker.readers % 2 == 0:
            self._positions = ["p/99"]
        found, self._positions = self._positions[:limit], self._positions[limit:]
        return [Delivery(cqrs.Envelope(DEAD, b""), position[0], position) for position in found]

    async def close(self) -> None:
        self._broker.open -= 1


async def test_of_each_partition_so_many_are_looked_at_as_there_were_at_first() -> None:
    """What comes in one meanwhile does not take the place of what was in another, and nobody waits for its end."""
    broker: Any = _Growing()

    letters = await DeadLetters(broker, DEAD).look()

    assert ["p/0", "q/0"] == [letter.position for letter in letters]
    assert (2, 0) == (broker.readers, broker.open)
    assert 1 == len(await DeadLetters(broker, DEAD).look(limit=1))
    assert 0 == broker.open  # also when somebody has seen enough


async def test_a_broker_that_keeps_nothing_cannot_show_dead_letters() -> None:
    """It is told at once, with what to do."""
    with pytest.raises(NotReadable, match=r"object cannot read a topic from its beginning.*open_reader"):
        DeadLetters(object(), DEAD)  # type: ignore[arg-type]  # on purpose
    broker = cqrs.MemoryBroker()
    await broker.start()
    with pytest.raises(InvalidOption, match=r"MemoryBroker\(max_kept=1000\)"):
        await DeadLetters(broker, DEAD).look()
    await broker.stop()


async def test_a_memory_broker_keeps_the_newest() -> None:
    """A reader that falls behind goes on with the oldest that is kept."""
    broker = cqrs.MemoryBroker(max_kept=3, partitions=1)
    await broker.start()
    reader = await broker.open_reader("t")
    for number in range(4):
        await broker.send(cqrs.Envelope("t", b"%d" % number))
    first = await reader.read(2)
    for number in range(4, 9):
        await broker.send(cqrs.Envelope("t", b"%d" % number))
    rest = [*await reader.read(2), *await reader.read(2), *await reader.read(2)]
    await broker.stop()

    assert [b"1", b"2"] == [delivery.envelope.body for delivery in first]
    assert [b"6", b"7", b"8"] == [delivery.envelope.body for delivery in rest]
    with pytest.raises(InvalidOption, match="limit"):
        await reader.read(0)
    with pytest.raises(InvalidOption, match="max_kept"):
        cqrs.MemoryBroker(max_kept=-1)
