"""``cqrs deadletters list|show|replay``: what people see, what programs read, and how it ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from cqrs_core.cli import main
from cqrs_core.envelope import Envelope
from cqrs_core.errors import BrokerUnavailable
from cqrs_core.memory import MemoryBroker

URL, DEAD = "bus://x", "payments.shop.dead"


def letter(number: int, body: bytes, key: str | None, **told: str) -> Envelope:
    reason = {
        "cqrs_dead_topic": "payments",
        "cqrs_dead_partition": "payments/1",
        "cqrs_dead_position": f"1/{number}",
        "cqrs_dead_group": "shop",
        "cqrs_dead_attempts": "5",
        "cqrs_dead_error_type": "builtins.ConnectionError",
        "cqrs_dead_error_text": "the bank does not answer",
        "cqrs_dead_time": "2026-11-29T12:00:00.123456+00:00",
    }
    return Envelope(DEAD, body, key, {"ce_id": f"id-{number}", "ce_type": "PaymentTaken", **reason, **told})


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> MemoryBroker:
    """Four letters, one of which does not say where it came from."""
    broker = MemoryBroker(partitions=1, max_kept=100)

    async def fill() -> None:
        await broker.start()  # for good: what the commands start and stop beside it keeps what it has
        await broker.send(letter(1, b'{"order": 1}', "order-1"))
        await broker.send(letter(2, b"\x00\xff", None, cqrs_dead_error_text="x" * 100))
        await broker.send(letter(3, b"", "order-\x1b[31m"))
        await broker.send(Envelope(DEAD, b"hello", "order-4"))

    asyncio.run(fill())
    given: Any = {("broker", URL): broker}
    monkeypatch.setattr("cqrs_core.deadletter_commands.open_backend", lambda kind, url: given[kind, url])
    return broker


Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command, and give its exit code and what it has written, on whichever stream."""

    def run_it(*words: str) -> tuple[int, str]:
        code = main(["deadletters", words[0], URL, DEAD, *words[1:]])
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    return run_it


def sent_to(broker: MemoryBroker, topic: str) -> list[Envelope]:
    """List what was sent to a topic."""

    async def read() -> list[Envelope]:
        reader = await broker.open_reader(topic)
        return [delivery.envelope for delivery in await reader.read(100)]

    return asyncio.run(read())


LIST = """\
POSITION  ID    TOPIC     GROUP  KEY             TYPE          ATTEMPTS  FAILED                     ERROR
0/0       id-1  payments  shop   order-1         PaymentTaken  5         2026-11-29 12:00:00+00:00  ConnectionError: the bank does not answer
0/1       id-2  payments  shop   -               PaymentTaken  5         2026-11-29 12:00:00+00:00  ConnectionError: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...
0/2       id-3  payments  shop   order-\\x1b[31m  PaymentTaken  5         2026-11-29 12:00:00+00:00  ConnectionError: the bank does not answer
0/3       -     -         -      order-4         -             0         -                          -
"""  # noqa: E501 - as it is


@pytest.mark.usefixtures("broker")
def test_list_is_a_table_for_people(run: Run) -> None:
    """Nothing in it steers a terminal; long errors are cut."""
    assert (0, LIST) == run("list")


@pytest.mark.usefixtures("broker")
def test_list_tells_that_there_are_more(run: Run) -> None:
    """It ends after 100, or as many as one likes; if those are all, it says nothing."""
    code, text = run("list", "--limit", "3")

    assert 0 == code
    assert text.endswith("\n\nThere are more: --limit shows them, or choose.\n")
    assert "There are more" not in run("list", "--limit", "4")[1]


@pytest.mark.usefixtures("broker")
def test_list_says_when_there_is_nothing(run: Run) -> None:
    """Of those that one has chosen, here."""
    assert (0, "There are no dead letters that were not sent back.\n") == run("list", "--key", "order-9")


@pytest.mark.usefixtures("broker")
def test_for_programs_a_letter_is_json(run: Run) -> None:
    """Everything that is known of it; a body that is no text is in base64."""
    code, text = run("list", "--json", "--id", "id-2")

    assert 0 == code
    assert [
        {
            "position": "0/1",
            "id": "id-2",
            "topic": "payments",
            "key": None,
            "type": "PaymentTaken",
            "group": "shop",
            "partition": "payments/1",
            "first_position": "1/2",
            "attempts": 5,
            "is_parked": False,
            "failed_at": "2026-11-29T12:00:00.123456+00:00",
            "error_type": "builtins.ConnectionError",
            "error": "x" * 100,
            "headers": {"ce_id": "id-2", "ce_type": "PaymentTaken"},
            "body_base64": "AP8=",
        }
    ] == json.loads(text)
    assert text == run("show", "--json", "--id", "id-2")[1]


SHOW = """\
position   0/0
topic      payments
partition  payments/1
stood at   1/1
group      shop
key        order-1
attempts   5
failed     2026-11-29 12:00:00+00:00
error      ConnectionError: the bank does not answer
headers
  ce_id    id-1
  ce_type  PaymentTaken
body, 12 bytes
{"order": 1}
"""


@pytest.mark.usefixtures("broker")
def test_show_writes_everything_about_one(run: Run) -> None:
    """By its id or by its position."""
    assert (0, SHOW) == run("show", "--id", "id-1") == run("show", "--position", "0/0")
    assert run("show", "--position", "0/3")[1].startswith("position   0/3\ntopic      unknown\n")


@pytest.mark.usefixtures("broker")
@pytest.mark.parametrize("words", [("show", "--id", "id-9"), ("show", "--position", "9/9"), ("replay", "--id", "id-9")])
def test_one_that_is_not_there_is_1(run: Run, words: tuple[str, ...]) -> None:
    """And why."""
    code, text = run(*words)

    assert 1 == code
    assert f"NoSuchLetter: There is no dead letter with the {words[1][2:]} {words[2]} in {DEAD}: " in text


def test_replay_sends_back_what_was_chosen_and_it_is_listed_no_more(run: Run, broker: MemoryBroker) -> None:
    """As it came, for the group that gave it up, without what was said of its death; a note says that it was."""
    assert (0, "Sent back: 1. Left there: 0.\n") == run("replay", "--key", "order-1")

    (sent,) = sent_to(broker, "payments")
    facts = {"topic": "payments", "partition": "payments/1", "position": "1/1", "group": "shop"}
    headers = {"ce_id": "id-1", "ce_type": "PaymentTaken"} | {f"cqrs_retry_{name}": facts[name] for name in facts}
    assert Envelope("payments", b'{"order": 1}', "order-1", headers) == sent
    assert Envelope(DEAD, b"", "order-1", {"cqrs_dead_replayed": "0/0"}) == sent_to(broker, DEAD)[-1]
    assert "id-1" not in run("list")[1]
    assert 1 == run("replay", "--id", "id-1")[0]


def test_replay_for_all_groups_names_none(run: Run, broker: MemoryBroker) -> None:
    """So each handles it that does not know its id."""
    run("replay", "--id", "id-1", "--for-all-groups")

    (sent,) = sent_to(broker, "payments")
    assert "cqrs_retry_group" not in sent.headers


def test_replay_of_all_leaves_what_it_cannot_send_and_answers_1(run: Run, broker: MemoryBroker) -> None:
    """With the reason for each."""
    problem = "it has no header cqrs_dead_topic, so nobody knows where it came from"

    assert (1, f"Sent back: 3. Left there: 1.\n0/3: {problem}.\n") == run("replay", "--all")
    assert ["id-1", "id-2", "id-3"] == [envelope.id for envelope in sent_to(broker, "payments")]
    code, text = run("replay", "--all", "--json")
    assert (1, {"replayed": 0, "left": [{"position": "0/3", "problem": problem}]}) == (code, json.loads(text))


def test_discard_forgets_what_was_chosen(run: Run, broker: MemoryBroker) -> None:
    """Nothing is sent back; also one that does not say where it came from can go."""
    assert (0, "Discarded: 1. Left there: 0.\n") == run("discard", "--id", "id-1")
    assert (0, {"discarded": 3, "left": []}) == _json(run("discard", "--all", "--json"))

    assert [] == sent_to(broker, "payments")
    assert "There are no dead letters" in run("list")[1]


def _json(answer: tuple[int, str]) -> tuple[int, object]:
    code, text = answer
    return code, json.loads(text)


def test_what_was_sent_back_before_something_went_wrong_is_told(
    run: Run, broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is done, and need not be done again."""
    send, left = broker.send, [1, 2]

    async def send_twice(envelope: Envelope) -> None:
        if not left:
            raise BrokerUnavailable("The bus is gone.")
        left.pop()
        await send(envelope)

    monkeypatch.setattr(broker, "send", send_twice)

    assert (1, "Sent back: 1. Left there: 0.\nBrokerUnavailable: The bus is gone.\n") == run("replay", "--all")


@pytest.mark.usefixtures("broker")
@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("replay",), "or --all of them"),
        (("replay", "--all", "--key", "k"), "or --all of them"),
        (("show",), "by --id or --position"),
        (("discard",), "or --all of them"),
        (("list", "--limit", "0"), "no number from 1"),
    ],
)
def test_options_that_make_no_sense_are_2(
    words: tuple[str, ...], problem: str, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is sent back by mistake."""
    with pytest.raises(SystemExit) as ended:
        run(*words)

    assert 2 == ended.value.code
    assert problem in capsys.readouterr().err


def test_a_broker_that_cannot_read_from_the_beginning_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """That in memory is nowhere but in its process, and keeps nothing unless told to."""
    assert 1 == main(["deadletters", "list", "memory", DEAD])
    assert "MemoryBroker(max_kept=1000)" in capsys.readouterr().err
