"""The demo as a whole: what it prints, where, and its exit code."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest
from plain_orders import check_books, plain_orders
from shop import reporting
from shop.program import main
from shop.read_model import Sales

import cqrs_core as cqrs

GOOD = b" 00004 0001 19970101  2   29.33\r\n"
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
#: What tests of the whole log are run on.
EVERYWHERE = ["memory", "sqlite", "postgresql", "mariadb"]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of three purchases for 29.33 each."""
    log = tmp_path / "log.txt"
    log.write_bytes(GOOD * 3)
    return log


@pytest.mark.parametrize("storage", EVERYWHERE, indirect=True)
def test_the_totals_are_those_of_the_file_itself(
    storage: str, sample_log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """To the cent, added up here without the shop; and every line is a purchase, the repeated ones too."""
    rows = [line.split() for line in sample_log.read_text(encoding="ascii").splitlines()]

    code = main(["--storage", storage])

    out, err = capsys.readouterr()
    assert (0, "") == (code, err)
    assert f"{len(rows):,} purchases" in out
    assert f" {len({row[0] for row in rows}):,} customers" in out
    assert f" {sum(int(row[3]) for row in rows):,} CDs" in out
    assert f" {sum(Decimal(row[4]) for row in rows):,.2f} dollars" in out
    assert out.endswith(plain_orders(sample_log).answer)


@pytest.mark.parametrize("storage", EVERYWHERE, indirect=True)
def test_the_orders_are_those_of_the_file_itself(
    storage: str, orders_log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Stock and charges to the piece and the cent, and so are the books: worked out here without the shop."""
    expected = plain_orders(orders_log)
    orders = expected.shipped + expected.declined + expected.returned
    assert (112, 1526) == (len(orders), sum(line.cds for line in orders))
    assert Decimal("21965.75") == sum(line.dollars for line in orders)

    code = main(["--file", str(orders_log), "--storage", storage])

    out, err = capsys.readouterr()
    assert (0, "") == (code, err)
    assert out.endswith(expected.answer)
    if storage != "memory":
        check_books(storage, expected)


def test_the_ten_best_customers_are_those_of_the_file_itself(
    sample_log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In order, with what they bought; again added up here."""
    purchases: Counter[str] = Counter()
    cds: Counter[str] = Counter()
    dollars: dict[str, Decimal] = {}
    for line in sample_log.read_text(encoding="ascii").splitlines():
        customer, _, _, count, amount = line.split()
        purchases[customer] += 1
        cds[customer] += int(count)
        dollars[customer] = dollars.get(customer, Decimal(0)) + Decimal(amount)
    best = sorted(dollars, key=lambda customer: -dollars[customer])[:10]

    main(["--storage", "memory"])

    lines = capsys.readouterr().out.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("   1. "))
    shown = [line.split()[:5] for line in lines[start : start + 11]]
    expected = [
        [f"{rank}.", customer, str(purchases[customer]), str(cds[customer]), f"{dollars[customer]:,.2f}"]
        for rank, customer in enumerate(best, start=1)
    ]
    assert [*expected, []] == shown


@pytest.mark.parametrize("column", [0, 1])
def test_either_id_tells_the_customers_of_the_sample_apart(column: int, sample_log: Path) -> None:
    """What the comment in ``purchase_log`` says: as many ids in either column, and as many pairs of them."""
    rows = [line.split() for line in sample_log.read_text(encoding="ascii").splitlines()]

    assert 2357 == len({row[column] for row in rows}) == len({(row[0], row[1]) for row in rows})


def test_the_sample_is_the_published_one(sample_log: Path) -> None:
    """With its own line ends, and the 21 lines that repeat another one exactly."""
    lines = sample_log.read_bytes().splitlines(keepends=True)

    assert all(line.endswith(b"\r\n") for line in lines)
    assert 21 == len(lines) - len(set(lines))


def test_malformed_lines_are_reported_and_left_out(storage: str, log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each with its number and its fault, on stderr; the rest is counted, and the exit code says that some was not."""
    log.write_bytes(GOOD + b"00004 0001 19970230 2 29.33\r\n" + GOOD + b"\xff\r\n" + GOOD)

    code = main(["--file", str(log), "--storage", storage])

    out, err = capsys.readouterr()
    assert 1 == code
    assert [
        "shop: line 2: the day is '19970230', not in the calendar",
        "shop: line 4: byte 1 is 0xff, which is not ASCII",
        "shop: 2 of 5 lines were malformed and are left out of everything above.",
    ] == err.splitlines()
    assert " 3 purchases, " in out
    assert " 87.99 dollars" in out  # 3 * 29.33


def test_a_log_of_malformed_lines_only_is_a_shop_without_customers(
    storage: str, log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was read, so this is not the exit code of a log that is missing."""
    log.write_bytes(b"not a log\n")

    code = main(["--file", str(log), "--storage", storage])

    assert 1 == code
    assert " 0 purchases\n" in capsys.readouterr().out


def test_events_that_could_not_be_handled_are_reported(
    storage: str, log: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run ends, says how many the totals are without, and so does its exit code."""
    monkeypatch.setattr(Sales, "add", lambda *_: 1 / 0)
    monkeypatch.setattr(reporting, "THREE_TIMES", cqrs.RetryPolicy(max_attempts=1))

    code = main(["--file", str(log), "--storage", storage])

    out, err = capsys.readouterr()
    assert 1 == code
    assert "shop: 3 events could not be handled and are left out of everything above.\n" == err
    assert " 0 purchases\n" in out


@pytest.mark.parametrize("storage", ["sqlite"], indirect=True)
def test_orders_that_wait_for_a_person_are_reported(
    storage: str, log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody waits for them to end by themselves."""
    log.write_bytes(GOOD.replace(b" 2 ", b"12 "))
    arguments = ["--file", str(log), "--storage", storage]
    main(arguments)
    with closing(sqlite3.connect(storage.removeprefix("sqlite:///"), isolation_level=None)) as database:
        database.execute("UPDATE shop_saga SET status = 'suspended', suspended_from = 'running'")
    capsys.readouterr()

    code = main(arguments)

    assert 1 == code
    assert "shop: 1 orders are neither done nor undone: they wait for a person.\n" == capsys.readouterr().err


@pytest.mark.parametrize("storage", ["memory"], indirect=True)
def test_it_ends_when_the_consumer_breaks(storage: str, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its error: nothing waits for what will not arrive."""

    async def break_down(*_: object) -> None:
        raise MemoryError("the subscription is gone")

    monkeypatch.setattr("cqrs_core.memory.subscriptions.MemorySubscription.acknowledge", break_down)

    with pytest.raises(MemoryError):
        main(["--file", str(log), "--storage", storage])


def test_a_finished_run_that_is_started_again_says_the_same(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And says why it was so quick, and how to begin anew."""
    arguments = ["--file", str(log), "--storage", f"sqlite:///{tmp_path / 'shop.db'}"]
    main(arguments)
    first = capsys.readouterr().out

    code = main(arguments)

    out, err = capsys.readouterr()
    assert (0, "") == (code, err)
    assert out == first.replace(
        "3 of 3 lines", "Going on where an earlier run was; customers so far: 1. (--fresh begins anew.)\n3 of 3 lines"
    )


def test_books_of_another_log_are_left_alone(log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A purchase is known by its line: of two logs in the same books, the totals would be wrong without a word."""
    arguments = ["--file", str(log), "--storage", f"sqlite:///{tmp_path / 'shop.db'}"]
    main(arguments)
    log.write_bytes(GOOD)
    capsys.readouterr()

    code = main(arguments)

    out, err = capsys.readouterr()
    assert (2, "") == (code, out)
    assert err.startswith("shop: these books are of another log. Begin anew with --fresh")


@pytest.mark.parametrize("storage", ["sqlite", "postgresql", "mariadb"], indirect=True)
def test_fresh_forgets_what_was_there(storage: str, log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever log it was of."""
    main(["--file", str(log), "--storage", storage])
    log.write_bytes(GOOD)
    capsys.readouterr()

    code = main(["--file", str(log), "--storage", storage, "--fresh"])

    out, err = capsys.readouterr()
    assert (0, "") == (code, err)
    assert " 1 purchases, " in out


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        ("postgresql://127.0.0.1:1/shop", "127.0.0.1:1/shop cannot be reached: "),
        ("oracle://host/shop", "'oracle' "),
        ("shop.db", "the address of the storage"),
    ],
)
def test_books_that_cannot_be_opened_are_a_message_and_exit_code_2(
    storage: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The framework's own words, which name the cure; no traceback."""
    code = main(["--storage", storage])

    out, err = capsys.readouterr()
    assert (2, "") == (code, out)
    assert message in err


def test_without_sqlalchemy_there_is_a_message_with_the_cure(
    log: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bare core can still run it: in memory."""
    monkeypatch.delitem(sys.modules, "shop.database", raising=False)
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)

    code = main(["--file", str(log)])

    out, err = capsys.readouterr()
    assert (2, "") == (code, out)
    assert err.startswith("shop: books in a database need sqlalchemy, which is not installed. Install it, ")
    assert 0 == main(["--file", str(log), "--storage", "memory"])


@pytest.mark.parametrize(
    ("content", "message"), [(None, "cannot be read (No such file or directory)."), (b"\n", "holds no lines.")]
)
def test_without_a_log_there_is_a_message_and_exit_code_2(
    content: bytes | None, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line on stderr with the path and the reason; nothing else."""
    log = tmp_path / "log.txt"
    if content is not None:
        log.write_bytes(content)

    code = main(["--file", str(log)])

    out, err = capsys.readouterr()
    assert (2, "") == (code, out)
    assert err.startswith(f"shop: {log}: {message}")
    assert 1 == err.count("\n")


@pytest.mark.parametrize("how", [[str(EXAMPLES / "shop")], ["-m", "shop"]], ids=["folder", "module"])
def test_it_runs_as_a_folder_and_as_a_module(
    how: list[str], log: Path, examples: Path, tmp_path: Path, plain_environment: dict[str, str]
) -> None:
    """Both end well, without a warning, and leave the books where they were started."""
    environment = {**plain_environment, "PYTHONPATH": str(examples)}
    command = [sys.executable, "-W", "error", *how, "--file", str(log)]

    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    assert (0, "") == (ran.returncode, ran.stderr)
    assert ran.stdout.startswith("The books are kept in sqlite:///shop.db.\n3 of 3 lines\n")
    assert ran.stdout.endswith(" 87.99 dollars\n")  # 3 * 29.33
    assert (tmp_path / "shop.db").exists()


@pytest.fixture
def long_log(tmp_path: Path) -> Path:
    """A log that takes far longer to read than a signal takes to arrive."""
    log = tmp_path / "long.txt"
    log.write_bytes(GOOD * 500_000)
    return log


def _command(examples: Path, log: Path, storage: str = "memory") -> list[str]:
    return [sys.executable, str(examples / "shop"), "--file", str(log), "--storage", storage]


def test_ctrl_c_ends_it_cleanly(
    storage: str, long_log: Path, examples: Path, plain_environment: dict[str, str]
) -> None:
    """In the middle of the lines: one line on stderr instead of a traceback, and the exit code of an interrupt."""
    command = _command(examples, long_log, storage)
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=plain_environment, stdout=pipe, stderr=pipe, text=True) as shop:
        assert shop.stdout is not None
        shop.stdout.readline()  # where the books are
        first = shop.stdout.readline()

        shop.send_signal(signal.SIGINT)
        out, err = shop.communicate()

    assert "1,000 of 500,000 lines\n" == first
    kept = "nothing was kept" if storage == "memory" else "started again, it goes on from here"
    assert (130, f"shop: stopped by Ctrl-C; {kept}.\n") == (shop.returncode, err)
    assert "customers" not in out


def test_ctrl_c_is_noticed_though_there_is_nothing_to_wait_for(
    tmp_path: Path, examples: Path, plain_environment: dict[str, str]
) -> None:
    """Malformed lines are never sent anywhere; still, others get a turn between them."""
    log = tmp_path / "malformed.txt"
    log.write_bytes(b"not a purchase\n" * 500_000)
    command = _command(examples, log)
    complaints = tmp_path / "stderr.txt"
    with (
        complaints.open("w") as stderr,
        subprocess.Popen(command, env=plain_environment, stdout=subprocess.PIPE, stderr=stderr, text=True) as shop,
    ):
        assert shop.stdout is not None
        shop.stdout.readline()
        shop.stdout.readline()

        shop.send_signal(signal.SIGINT)
        out, _ = shop.communicate()

    assert 130 == shop.returncode
    assert complaints.read_text().endswith("shop: stopped by Ctrl-C; nothing was kept.\n")
    assert "customers" not in out


def test_it_ends_quietly_when_nobody_reads_on(
    storage: str, long_log: Path, examples: Path, plain_environment: dict[str, str]
) -> None:
    """As in ``python examples/shop | head -1``."""
    command = _command(examples, long_log, storage)
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=plain_environment, stdout=pipe, stderr=pipe, text=True) as shop:
        assert shop.stdout is not None
        assert shop.stderr is not None
        shop.stdout.readline()

        shop.stdout.close()
        err = shop.stderr.read()

    assert (141, "") == (shop.returncode, err)
