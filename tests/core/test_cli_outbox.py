"""``cqrs outbox status|list|show|requeue|purge``: what people see, what programs read, and how it ends."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from cqrs_core.cli import main
from cqrs_core.envelope import Envelope
from cqrs_core.errors import StorageUnusable
from cqrs_core.memory import MemoryStorage
from cqrs_core.outbox import ParkedKey
from cqrs_core.outbox_keeper import LogReader, OutboxStatus
from cqrs_core.outbox_tables import described_status
from cqrs_core.testing import VirtualClock
from cqrs_core.text_tables import duration_text, text_of

URL = "db://x"
ENOUGH = 10  # commands, each of which stops the storage once


def id_of(number: int) -> str:
    return str(uuid.UUID(int=number))


def message(number: int, body: bytes, key: str | None = None, topic: str = "orders") -> Envelope:
    return Envelope(topic, body, key, {"ce_id": id_of(number), "ce_type": "OrderPlaced"})


class Shop:
    """A storage in memory with one message in each state, an hour after they were written."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.storage = MemoryStorage(clock=self.clock)

    async def fill(self) -> None:
        for _ in range(ENOUGH):
            await self.storage.start()
        unit = self.storage.unit_of_work()
        unit.enqueue(
            [
                message(1, b'{"order": 1}', "order-1"),
                message(2, b"\x00\xff", "order-2"),
                message(3, b"", "order-3"),
                message(4, "für\tждж".encode(), topic="mails"),
                message(5, b"{}", "order-\x1b[31m"),
            ]
        )
        await unit.commit()
        lease = self.storage.outbox.lease("shop-1", ttl_s=86_400)
        await lease.renew()
        await lease.rebalance()
        await lease.bury(1, reason="permanent", error="MessageRefused: too\nlong")
        await lease.postpone(2, delay_s=None, error="MessageRefused: " + "x" * 100)
        await lease.postpone(3, delay_s=7200, error="MessageRefused: later")
        await self.clock.advance(3600)


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Shop:
    shop = Shop()
    asyncio.run(shop.fill())
    given: Any = {("storage", URL): shop.storage}
    monkeypatch.setattr("cqrs_core.storage_commands.open_backend", lambda kind, url: given[kind, url])
    return shop


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Run a command, and give its exit code and what it has written, on whichever stream."""

    def run_it(*words: str) -> tuple[int, str]:
        code = main(["outbox", words[0], URL, *words[1:]])
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    return run_it


Run = Callable[..., tuple[int, str]]

STATUS = """\
oldest            1 h 0 min
waiting           4
halted            1 (keys: order-2)
keys retried      1 (keys: order-3)
dead              1
relays            shop-1 (64 of 64)
shares of nobody  0 of 64

Messages were given up: look at them by `cqrs outbox list --dead`, then requeue or purge them.
Messages wait for a person: mend what they were refused for, then `cqrs outbox requeue` lets them go.
"""


@pytest.mark.usefixtures("shop")
def test_status_begins_with_the_oldest_and_ends_with_what_to_do(run: Run) -> None:
    """It answers 1, because there is something that no relay will do by itself."""
    assert (1, STATUS) == run("status")


def test_status_tells_that_there_may_be_more_keys_than_it_has_read() -> None:
    """Those that are halted fill the list first, and leave less of it for the others."""
    parked = [ParkedKey("a", None), ParkedKey("b", 1.0)]
    status = OutboxStatus(
        oldest_age_s=1.0, waiting=2, halted=1, dead=0, counted_to=2, parked=parked, relays=[], free_slots=64, slots=64
    )

    assert "keys retried      1 or more (keys: b)" in described_status(status)
    assert "keys retried      1 (keys: b)" in described_status(replace(status, counted_to=3))


READ = """\
oldest        nothing waits
waiting       0
halted        0
keys retried  0
dead          0
sent by       Debezium
readers       shop_outbox (1200 bytes behind), other (not connected, the log that it needs is gone)
"""


def test_status_of_an_outbox_that_somebody_else_sends_tells_how_far_that_is() -> None:
    """Instead of relays, which there are none of. If nobody reads, or what he needs is gone, a person has to look."""
    readers = [LogReader("shop_outbox", True, 1200), LogReader("other", False, None)]
    status = OutboxStatus(
        oldest_age_s=None,
        waiting=0,
        halted=0,
        dead=0,
        counted_to=10,
        parked=[],
        relays=[],
        free_slots=64,
        slots=64,
        sent_by="Debezium",
        readers=readers,
    )

    assert READ == f"{described_status(status)}\n"
    assert not status.needs_a_person
    for left in ([], readers[1:]):
        assert replace(status, readers=left).needs_a_person
        assert "Nobody reads the log" in described_status(replace(status, readers=left))
    waiting = described_status(replace(status, waiting=1, oldest_age_s=1.0))
    assert "it stays until it is deleted" in waiting
    assert "No relay is running" not in waiting


@pytest.mark.usefixtures("shop")
def test_status_for_programs_is_json(run: Run) -> None:
    """Under the names of its attributes."""
    code, text = run("status", "--json")

    assert 1 == code
    assert {
        "oldest_age_s": 3600.0,
        "waiting": 4,
        "halted": 1,
        "dead": 1,
        "counted_to": 10_000,
        "parked": [{"key": "order-2", "delay_s": None}, {"key": "order-3", "delay_s": 3600.0}],
        "relays": [{"name": "shop-1", "slots": 64}],
        "free_slots": 0,
        "slots": 64,
        "figures": {},
        "sent_by": None,
        "readers": [],
        "needs_a_person": True,
    } == json.loads(text)


def test_status_of_an_outbox_that_is_well_is_0(shop: Shop, run: Run) -> None:
    """Though nobody sends what is in it, which a program may do from time to time; but it says so."""
    shop.storage.outbox.forget()
    code, text = run("status")

    assert 0 == code
    assert text.startswith("oldest            nothing waits\nwaiting           0\n")
    assert text.endswith("relays            none\nshares of nobody  64 of 64\n")

    shop.storage.outbox.keep([message(1, b"")])

    assert run("status")[1].endswith("\n\nNo relay is running: `cqrs run MODULE:APP --only relay` runs one.\n")


def test_status_names_ten_keys_at_most(shop: Shop, run: Run) -> None:
    records = shop.storage.outbox.records
    records.forget()
    records.keep([message(number, b"", f"key-{number}") for number in range(12)])
    for record in records.behind(0):
        records.postpone(record.position, delay_s=None, error="refused")
    _, text = run("status")

    assert f"halted            12 (keys: {', '.join(f'key-{n}' for n in range(10))} and 2 more)\n" in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (59.9, "59.9 s"),
        (60, "1 min 0 s"),
        (3599, "59 min 59 s"),
        (86_399, "23 h 59 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_durations_have_two_units_at_most(seconds: float, text: str) -> None:
    assert text == duration_text(seconds)


# list -----------------------------------------------------------------------------------------------------------------

LIST = f"""\
POSITION  ID                                    TOPIC   KEY             TYPE         ATTEMPTS  CREATED                    DUE                    ERROR
2         {id_of(2)}  orders  order-2         OrderPlaced  1         2000-01-01 00:00:00+00:00  when a person says so  MessageRefused: {"x" * 41}...
3         {id_of(3)}  orders  order-3         OrderPlaced  1         2000-01-01 00:00:00+00:00  in 1 h 0 min           MessageRefused: later
4         {id_of(4)}  mails   -               OrderPlaced  0         2000-01-01 00:00:00+00:00  now                    -
5         {id_of(5)}  orders  order-\\x1b[31m  OrderPlaced  0         2000-01-01 00:00:00+00:00  now                    -
"""  # noqa: E501 - a table
DEAD = f"""\
POSITION  ID                                    TOPIC   KEY      TYPE         ATTEMPTS  FAILED                     REASON     ERROR
1         {id_of(1)}  orders  order-1  OrderPlaced  0         2000-01-01 00:00:00+00:00  permanent  MessageRefused: too\\nlong
"""  # noqa: E501 - a table


@pytest.mark.usefixtures("shop")
def test_a_list_is_a_table(run: Run) -> None:
    """What a key or an error holds neither breaks it nor steers the terminal."""
    assert (0, LIST) == run("list")
    assert (0, DEAD) == run("list", "--dead")


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    ("options", "positions"),
    [
        ([], [2, 3, 4, 5]),
        (["--key", "order-3"], [3]),
        (["--topic", "mails"], [4]),
        (["--id", id_of(2)], [2]),
        (["--limit", "2"], [2, 3]),
        (["--after", "3"], [4, 5]),
        (["--dead"], [1]),
        (["--dead", "--topic", "mails"], []),
    ],
)
def test_a_list_is_of_what_was_selected(run: Run, options: list[str], positions: list[int]) -> None:
    code, text = run("list", "--json", *options)

    assert 0 == code
    assert positions == [entry["position"] for entry in json.loads(text)]


@pytest.mark.usefixtures("shop")
def test_a_list_that_ends_early_says_how_to_go_on(run: Run) -> None:
    assert run("list", "--limit", "1")[1].endswith("\n\nThere may be more: --after 2 shows what stands behind these.\n")


@pytest.mark.usefixtures("shop")
def test_a_list_of_nothing_says_so(run: Run) -> None:
    assert (0, "Nothing waits.\n") == run("list", "--key", "x")
    assert (0, "Nothing was given up.\n") == run("list", "--dead", "--key", "x")


# show -----------------------------------------------------------------------------------------------------------------

SHOWN = f"""\
position  1
topic     orders
key       order-1
created   2000-01-01 00:00:00+00:00
attempts  0
failed    2000-01-01 00:00:00+00:00
reason    permanent
error     MessageRefused: too\\nlong
headers
  ce_id    {id_of(1)}
  ce_type  OrderPlaced
body, 12 bytes
{{"order": 1}}
"""


@pytest.mark.usefixtures("shop")
def test_one_message_is_shown_with_headers_and_body(run: Run) -> None:
    """Wherever it is; a body that is text is shown as text, with its tabs and lines."""
    assert (0, SHOWN) == run("show", "--id", id_of(1))

    _, text = run("show", "--id", id_of(4))

    assert "key       none\n" in text
    assert "due       now\n" in text
    assert text.endswith("body, 11 bytes\nfür\tждж\n")


@pytest.mark.usefixtures("shop")
def test_a_body_that_is_no_text_is_shown_in_base64(run: Run) -> None:
    """It would steer the terminal, or be no JSON."""
    assert run("show", "--id", id_of(2))[1].endswith("body, 2 bytes that are no text, in base64\nAP8=\n")

    ((entry,), (text,)) = (json.loads(run("show", "--json", "--id", id_of(n))[1]) for n in (2, 1))

    assert ("AP8=", None) == (entry["body_base64"], entry["failed_at"])
    assert ('{"order": 1}', "permanent") == (text["body"], text["reason"])
    assert {"ce_id": id_of(1), "ce_type": "OrderPlaced"} == text["headers"]


@pytest.mark.parametrize(("body", "said"), [(b"a\r\nb", "a\r\nb"), (b"bad\rgood", None), (b"\x1b[2J", None)])
def test_text_is_what_hides_nothing_on_a_terminal(body: bytes, said: str | None) -> None:
    """A carriage return does, unless a line ends there."""
    assert said == text_of(body)


@pytest.mark.usefixtures("shop")
def test_a_message_that_is_not_there_is_an_error(run: Run) -> None:
    code, text = run("show", "--id", id_of(9))

    assert 1 == code
    assert text.startswith(f"NoSuchMessage: There is no message {id_of(9)} in the outbox, nor among the dead: ")


# requeue, purge -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "text", "due"),
    [
        (["--all"], "Of the dead, wait again: 1. Let go: 2.\n", [2, 3, 4, 5, 6]),
        (["--all", "--dead"], "Of the dead, wait again: 1. Let go: 0.\n", [4, 5, 6]),
        (["--key", "order-2"], "Of the dead, wait again: 0. Let go: 1.\n", [2, 4, 5]),
        (["--topic", "orders"], "Of the dead, wait again: 1. Let go: 2.\n", [2, 3, 4, 5, 6]),
        (["--id", id_of(1)], "Of the dead, wait again: 1. Let go: 0.\n", [4, 5, 6]),
        (["--key", "nobody's"], "Of the dead, wait again: 0. Let go: 0.\n", [4, 5]),
        (["--all", "--json"], '{\n  "requeued": 1,\n  "let_go": 2\n}\n', [2, 3, 4, 5, 6]),
    ],
)
def test_requeue_sends_again_what_was_given_up_or_waits(
    shop: Shop, run: Run, options: list[str], text: str, due: list[int]
) -> None:
    assert (0, text) == run("requeue", *options)
    assert due == [record.position for record in shop.storage.outbox.records.due(after=0)]


@pytest.mark.usefixtures("shop")
def test_to_requeue_a_message_that_is_well_is_an_error(run: Run) -> None:
    code, text = run("requeue", "--id", id_of(4))

    assert 1 == code
    assert (
        f"NoSuchMessage: There is no message {id_of(4)} that was given up, or waits because it was refused.\n" == text
    )


@pytest.mark.parametrize(
    ("options", "text", "left"),
    [
        (["--older-than", "59m"], "Of the dead, forgotten: 1.\n", 0),
        (["--older-than", "2h"], "Of the dead, forgotten: 0.\n", 1),
        (["--older-than", "0s", "--key", "x"], "Of the dead, forgotten: 0.\n", 1),
        (["--older-than", "3599s", "--json"], '{\n  "purged": 1\n}\n', 0),
    ],
)
def test_purge_forgets_what_was_given_up_long_ago(
    shop: Shop, run: Run, options: list[str], text: str, left: int
) -> None:
    assert (0, text) == run("purge", *options)
    assert left == len(shop.storage.outbox.dead)


# What is refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["requeue"], "say which messages: by --id, --key or --topic, or --all of them"),
        (["requeue", "--all", "--key", "a"], "say which messages"),
        (["requeue", "--dead"], "say which messages"),
        (["show"], "the following arguments are required: --id"),
        (["show", "--id", "7"], "'7' is no id of a message, which is a UUID."),
        (["purge"], "the following arguments are required: --older-than"),
        (["purge", "--older-than", "30"], "'30' is no duration. Write a number and its unit"),
        (["purge", "--older-than", "-1d"], "expected one argument"),
        (["purge", "--older-than", "٣d"], "is no duration"),
        (["purge", "--older-than", "36501d"], "at most a hundred years"),
        (["purge", "--older-than", "999999999w"], "at most a hundred years"),
        (["purge", "--older-than", "999999999999w"], "at most a hundred years"),
        (["list", "--limit", "0"], "'0' is no number from 1 to 9999999."),
        (["list", "--limit", "-1"], "is no number"),
        (["list", "--limit", "10000000"], "is no number"),
        (["list", "--after", "x"], "invalid int value"),
        (["status", "--dead"], "unrecognized arguments: --dead"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_opened(
    capsys: pytest.CaptureFixture[str], words: list[str], problem: str
) -> None:
    """With 2, as all that cannot be understood; the URL leads nowhere."""
    with pytest.raises(SystemExit) as caught:
        main(["outbox", words[0], "nothing://x", *words[1:]])

    assert 2 == caught.value.code
    assert problem in capsys.readouterr().err


@pytest.mark.parametrize("words", [["status"], ["list"], ["show", "--id", id_of(1)], ["requeue", "--all"]])
def test_a_storage_that_shows_nothing_is_named(shop: Shop, run: Run, words: list[str]) -> None:
    del shop.storage.outbox_keeper

    assert (1, "NoSuchCommand: MemoryStorage does not show what is in its outbox.\n") == run(*words)


def test_what_the_storage_says_is_told_with_the_cure(shop: Shop, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    error = StorageUnusable(URL, ["There is no table outbox. Migrate."])

    async def fail() -> None:
        raise error

    monkeypatch.setattr(shop.storage.outbox_keeper, "status", fail)

    assert (1, f"StorageUnusable: {error}\n") == run("status")
