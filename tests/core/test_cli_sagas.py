"""``cqrs sagas …``: what people see, what programs read, and how it ends."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

import cqrs_core as cqrs
from cqrs_core.cli import main
from cqrs_core.errors import SagaSuspended
from cqrs_core.memory import MemoryStorage
from cqrs_core.saga.plan import StepKind
from cqrs_core.saga.storage import SagaFigures
from cqrs_core.saga_tables import described_figures
from cqrs_core.testing import VirtualClock

ENOUGH = 10  # commands, each of which stops the storage once
BY = ("--actor", "Ada", "--reason", "looked into it")


class Order(cqrs.SagaContext):
    amount: float = 5.0
    note: str = ""


class Act(cqrs.SagaStepHandler[Order, None]):
    async def act(self, context: Order) -> cqrs.SagaStepResult[Order, None]:
        if context.note == "tell":
            raise TimeoutError("nobody\nanswers")
        return self.result()

    async def compensate(self, context: Order) -> None:
        pass


class Reserve(Act):
    async def act(self, context: Order) -> cqrs.SagaStepResult[Order, None]:
        return self.result()


class Pay(Act):
    kind = StepKind.PIVOT


class OrderSaga(cqrs.Saga[Order]):
    steps = [Reserve, Pay]


class Shop:
    """A program with a saga in each state, an hour after they were written."""

    def __init__(self) -> None:
        self.clock = VirtualClock(jumps=True)
        self.storage = MemoryStorage(clock=self.clock)
        self.app = cqrs.App("shop", storage=self.storage, clock=self.clock)
        self.app.sagas.bind(Order, OrderSaga)

    async def fill(self) -> None:
        for _ in range(ENOUGH):
            await self.storage.start()
        async with self.app as app:
            with suppress(SagaSuspended):
                async for _ in app.stream_saga(Order(note="tell"), saga_id=uuid.UUID(int=1)):
                    pass
            async for _ in app.stream_saga(Order(), saga_id=uuid.UUID(int=2)):
                pass
            await app.start_saga(Order(), saga_id=uuid.UUID(int=3))
        self.clock._seconds += 3600  # noqa: SLF001 - all at once, without sleepers
        self.storage.sagas.is_durable = True  # as if it were

    def stored(self, number: int) -> Any:
        return asyncio.run(self.storage.sagas.load(uuid.UUID(int=number)))


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Shop:
    shop = Shop()
    asyncio.run(shop.fill())
    monkeypatch.setattr("cqrs_core.saga_commands.find_app", {"shop:app": shop.app}.__getitem__)
    return shop


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Run a command, and give its exit code and what it has written, on whichever stream."""

    def run_it(*words: str) -> tuple[int, str]:
        code = main(["sagas", words[0], "shop:app", *words[1:]])
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    return run_it


Run = Callable[..., tuple[int, str]]


def id_of(number: int) -> str:
    return str(uuid.UUID(int=number))


STATUS = """\
suspended    1
oldest due   1 h 0 min
under way    1
most claims  0

Sagas wait for a person: `cqrs sagas list MODULE:APP --status suspended` lists them, `cqrs sagas show` tells why; \
then retry, skip, compensate, resolve or abandon them.
"""


@pytest.mark.usefixtures("shop")
def test_status_begins_with_those_that_wait_for_a_person(run: Run) -> None:
    """It answers 1, because of them; without any, 0."""
    assert (1, STATUS) == run("status")
    assert 0 == run("abandon", "--id", id_of(1), *BY)[0]
    assert (0, "suspended    0\noldest due   1 h 0 min\nunder way    1\nmost claims  0\n") == run("status")
    assert 1 == json.loads(run("status", "--json")[1])["live"]


def test_status_says_where_it_has_stopped_counting() -> None:
    figures = SagaFigures(suspended=3, live=2, oldest_due_s=None, most_claims=1, counted_to=3)

    assert described_figures(figures).startswith(
        "suspended    3 or more\noldest due   nothing is due\nunder way    2\nmost claims  1\n"
    )


@pytest.mark.usefixtures("shop")
def test_lists_choose_by_status_name_and_how_long_it_is_due(run: Run) -> None:
    def listed(*words: str) -> set[str]:
        return {record["id"] for record in json.loads(run("list", *words, "--json")[1])}

    assert {id_of(1), id_of(2), id_of(3)} == listed()
    assert {id_of(1)} == listed("--status", "suspended")
    assert {id_of(1), id_of(2)} == listed("--status", "suspended", "--status", "completed")
    assert {id_of(3)} == listed("--overdue", "59m")
    assert set() == listed("--overdue", "2h")
    assert set() == listed("--name", "Other")
    assert (0, "There are none.\n") == run("list", "--name", "Other")
    assert 1 == len(listed("--limit", "1"))
    assert run("list", "--limit", "1")[1].endswith("\n\nThere may be more: --limit, --status and --name choose.\n")


@pytest.mark.usefixtures("shop")
def test_a_list_is_a_table_that_no_error_breaks(run: Run) -> None:
    head, row = run("list", "--status", "suspended")[1].splitlines()

    assert ["ID", "NAME", "STATUS", "STEP", "CLAIMS", "OWNER", "UPDATED", "ERROR"] == head.split()
    assert row.startswith(f"{id_of(1)}  OrderSaga  suspended  Pay   0       -      2000-01-01")
    assert row.endswith(r"TimeoutError: nobody\nanswers")


SHOWN = r"""name     OrderSaga
status   suspended from running
step     Pay
claims   0
started  2000-01-01 00:00:00+00:00
updated  2000-01-01 00:00:10+00:00
error    TimeoutError: nobody\nanswers

context
{"amount":5.0,"note":"tell"}

history
TIME                       STEP     ACTION  STATUS     ATTEMPT  ERROR
2000-01-01 00:00:00+00:00  Reserve  act     completed  1        -
2000-01-01 00:00:10+00:00  Pay      act     in_doubt   1        TimeoutError: nobody\nanswers
"""


@pytest.mark.usefixtures("shop")
def test_one_saga_is_shown_with_its_context_and_its_history(run: Run) -> None:
    assert (0, SHOWN) == run("show", "--id", id_of(1))
    found = json.loads(run("show", "--id", id_of(1), "--json")[1])

    assert {"amount": 5.0, "note": "tell"} == found["context"]
    assert ["Reserve", "Pay"] == [entry["step_id"] for entry in found["history"]]


@pytest.mark.usefixtures("shop")
def test_what_nobody_has_begun_is_shown_as_that(run: Run) -> None:
    text = run("show", "--id", id_of(3))[1]

    assert "step     Reserve, not begun\n" in text
    assert "driven by" not in text


def test_a_decision_is_told_and_is_in_the_history(shop: Shop, run: Run) -> None:
    assert (0, f"The saga {id_of(1)} is running now.\n") == run(
        "retry", "--id", id_of(1), *BY, "--context", '{"note": "mended"}'
    )
    entries = json.loads(run("show", "--id", id_of(1), "--json")[1])["history"]

    assert ("admin", "Ada: looked into it") == (entries[-1]["action"], entries[-1]["error"])
    assert b'{"amount":5.0,"note":"mended"}' == shop.stored(1).context


@pytest.mark.parametrize(
    ("number", "words", "status"),
    [
        (1, ["skip"], "completed"),
        (1, ["resolve", "--took-effect"], "completed"),
        (1, ["resolve", "--no-effect"], "compensating"),
        (1, ["abandon"], "abandoned"),
        (3, ["cancel"], "failed"),
    ],
)
def test_decisions_do_what_they_say(shop: Shop, run: Run, number: int, words: list[str], status: str) -> None:
    assert status == json.loads(run(words[0], "--id", id_of(number), *BY, *words[1:], "--json")[1])["status"]
    assert status == shop.stored(number).status


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["retry", "--id", id_of(2)], "it is completed, and this is decided of sagas that are suspended"),
        (["cancel", "--id", id_of(1)], "it is suspended, and this is decided of sagas that go forward"),
        (["compensate", "--id", id_of(1)], "it is past its point of no return"),
        (["retry", "--id", id_of(9)], f"SagaNotFound: There is no saga {id_of(9)} in this storage"),
        (["retry", "--id", id_of(1), "--context", '{"amount": "much"}'], "amount: expected float, got str"),
        (["retry", "--id", id_of(1), "--context", '{"amuont": 1}'], "one of the fields amount, note"),
    ],
)
def test_what_cannot_be_decided_is_refused_and_changes_nothing(
    shop: Shop, run: Run, words: list[str], problem: str
) -> None:
    before = [shop.stored(number) for number in (1, 2, 3)]
    code, text = run(*words, *BY)

    assert 1 == code
    assert problem in text
    assert before == [shop.stored(number) for number in (1, 2, 3)]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["retry", "--id", id_of(1)], "the following arguments are required: --actor, --reason"),
        (["resolve", "--id", id_of(1), *BY], "one of the arguments --took-effect --no-effect is required"),
        (["show", "--id", "7"], "'7' is no id of a saga, which is a UUID."),
        (["retry", "--id", id_of(1), *BY, "--context", "{amount: 5}"], "'{amount: 5}' is no JSON: "),
        (["retry", "--id", id_of(1), *BY, "--context", "[5]"], "'[5]' is no JSON object, such as "),
        (["list", "--status", "stuck"], "invalid choice: 'stuck'"),
    ],
)
def test_words_that_cannot_be_understood_end_with_2(
    shop: Shop, run: Run, capsys: pytest.CaptureFixture[str], words: list[str], problem: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(*words)

    assert 2 == ended.value.code
    assert problem in capsys.readouterr().err
    assert "suspended" == shop.stored(1).status


def test_what_ended_long_ago_is_forgotten(shop: Shop, run: Run) -> None:
    assert (0, "Of the sagas that had ended, forgotten: 0.\n") == run("purge", "--older-than", "2h")
    assert {"purged": 1} == json.loads(run("purge", "--older-than", "30m", "--json")[1])
    assert shop.stored(2) is None
    assert shop.stored(1) is not None


def test_sagas_in_the_memory_of_another_process_are_not_looked_for(shop: Shop, run: Run) -> None:
    """There would be none, whatever is under way there."""
    shop.storage.sagas.is_durable = False

    code, text = run("list")
    assert 1 == code
    assert "SagasInMemory: The sagas of shop are in the memory of the process that runs them." in text


def test_a_function_that_makes_the_app_may_run_a_loop(shop: Shop, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for ``cqrs run``: it is called before one runs."""

    async def look_around() -> cqrs.App:
        return shop.app

    monkeypatch.setattr("cqrs_core.saga_commands.find_app", lambda _: asyncio.run(look_around()))

    assert 1 == run("status")[0]
