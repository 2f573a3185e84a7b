"""The run: every line of a log is sent to the shop; when all events have arrived, the reports tell what they know."""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import cqrs_core as cqrs
from cqrs_core.errors import BrokerUnavailable, StorageUnusable
from shop.messages import GetOrders, GetRecorded, GetTotals, RecordPurchase, RecordPurchases
from shop.printing import print_best_customers, print_orders, print_totals
from shop.progress import Progress
from shop.purchase_log import LogUnusable, MalformedLine, identity, parse, read_lines
from shop.recording import make_shop
from shop.reporting import make_reports
from shop.storing import IN_MEMORY, BooksUnusable, Storing, open_books
from shop.waiting import until_all_has_arrived, until_all_is_sent, until_all_orders_are_done

SAMPLE_LOG = Path(__file__).resolve().parent.parent / "data" / "cdnow_sample.txt"
STORAGE = "sqlite:///shop.db"
# What may be a process of its own, if the broker is one: who records and asks, who drives the orders, who sends, and
# who consumes.
SHOP, SAGAS, RELAY, REPORTS = "shop", "sagas", "relay", "reports"

DONE = 0
INCOMPLETE = 1
UNUSABLE = 2
# What shells report of programs that SIGINT and SIGPIPE ended: 128 and the signal's number.
INTERRUPTED = 130
READER_GONE = 141

# What is one transaction: it is recorded as a whole or not at all, and the bar moves by as much.
_LINES_AT_ONCE = 100


def main(arguments: Sequence[str]) -> int:
    """Run the shop as *arguments* say, and answer the exit code."""
    options = _options(arguments)
    try:
        # Before the event loop runs: reading waits, and a loop that waits does not notice Ctrl-C.
        lines = read_lines(options.file)
        is_complete = asyncio.run(run(lines, options))
        sys.stdout.flush()
    except (LogUnusable, BooksUnusable, StorageUnusable, BrokerUnavailable, cqrs.WiringError) as error:
        _complain(str(error))
        return UNUSABLE
    except (KeyboardInterrupt, asyncio.CancelledError):
        is_lost = options.storage == IN_MEMORY
        _complain(f"stopped by Ctrl-C; {'nothing was kept' if is_lost else 'started again, it goes on from here'}.")
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read along has left (`| head`). Nothing more can be said, not even when Python flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_GONE
    return DONE if is_complete else INCOMPLETE


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="shop",
        description="Read a purchase log into a shop, and show who buys most. Stopped, or killed, and started again, "
        "it goes on where it was.",
    )
    parser.add_argument("--file", type=Path, default=SAMPLE_LOG, metavar="LOG", help="the purchase log (the sample)")
    parser.add_argument(
        "--storage",
        default=STORAGE,
        metavar="URL",
        help=f"where the books are kept: a database, such as postgresql://user:password@host/name or mysql://..., or "
        f"{IN_MEMORY} ({STORAGE})",
    )
    parser.add_argument(
        "--broker",
        default=IN_MEMORY,
        metavar="URL",
        help=f"what carries the events, such as kafka://host:port ({IN_MEMORY})",
    )
    parser.add_argument(
        "--only",
        choices=[SHOP, SAGAS, RELAY, REPORTS],
        help="be one part of the demo, beside processes that are the others; needs a broker and a database for all",
    )
    parser.add_argument("--fresh", action="store_true", help="forget what an earlier run has recorded there")
    options = parser.parse_args(arguments)
    if options.only and IN_MEMORY in {options.storage, options.broker}:
        parser.error("--only needs a --broker and a --storage that other processes have, too")
    return options


async def run(lines: Sequence[tuple[int, bytes]], options: argparse.Namespace) -> bool:
    """Send all *lines* to the shop, print what the reports know then, and answer whether that is everything."""
    _cancel_on_ctrl_c()
    async with (
        open_books(options.storage, log_id=identity(lines), fresh=options.fresh) as storing,
        running(storing, options.broker, options.only) as (shop, reports),
    ):
        print(f"The books are kept in {storing.name}.", flush=True)
        if options.only not in {None, SHOP}:
            print(f"This is the part '{options.only}', which runs until Ctrl-C.", flush=True)
            await asyncio.Event().wait()
        left_out = await record(lines, shop)
        stuck = await until_all_orders_are_done(shop)
        await until_all_is_sent(storing)
        if options.broker != IN_MEMORY:
            await until_all_has_arrived(shop, reports)
        await print_best_customers(reports)
        totals = await reports.send(GetTotals())
        print_totals(totals)
        print_orders(await shop.send(GetOrders()))
        lost_events = (await shop.send(GetRecorded())).events - totals.events
    if left_out:
        _complain(f"{left_out:,} of {len(lines):,} lines were malformed and are left out of everything above.")
    if lost_events:
        _complain(f"{lost_events:,} events could not be handled and are left out of everything above.")
    if stuck:
        _complain(f"{stuck:,} orders are neither done nor undone: they wait for a person.")
    return not (left_out or lost_events or stuck)


@asynccontextmanager
async def running(storing: Storing, broker: str, only: str | None) -> AsyncIterator[tuple[cqrs.App, cqrs.App]]:
    """
    Run the two services, in one process for once, or one part of them: of the shop, the relay and the sagas are loops.

    Both are asked in any case: what they answer is in the books.
    """
    carrier = cqrs.MemoryBroker() if broker == IN_MEMORY else broker
    reports, shop = make_reports(storing, carrier), make_shop(storing, carrier)
    async with AsyncExitStack() as stack:
        # Who consumes begins first: what is sent before a group is there does not reach it.
        await stack.enter_async_context(reports.running(only=["consumers"] if only in {None, REPORTS} else []))
        loops = [RELAY, SAGAS] if only is None else [only] if only in {RELAY, SAGAS} else []
        await stack.enter_async_context(shop.running(only=loops))
        yield shop, reports


async def record(lines: Sequence[tuple[int, bytes]], shop: cqrs.App) -> int:
    """
    Record those of *lines* that are not yet, report those that are malformed, and answer how many were.

    What it shows as done is kept; the reports follow by themselves.
    """
    last_lines = (await shop.send(GetRecorded())).last_lines
    if last_lines:
        print(f"Going on where an earlier run was; customers so far: {len(last_lines):,}. (--fresh begins anew.)")
    left_out = 0
    with Progress(len(lines), out=sys.stdout) as progress:
        for start in range(0, len(lines), _LINES_AT_ONCE):
            some = lines[start : start + _LINES_AT_ONCE]
            purchases: list[RecordPurchase] = []
            for number, line in some:
                try:
                    purchase = parse(number, line)
                except MalformedLine as error:
                    left_out += 1
                    progress.make_way()
                    _complain(str(error))
                else:
                    if number > last_lines.get(purchase.customer_id, 0):
                        purchases.append(purchase)
            if purchases:
                await shop.send(RecordPurchases(purchases))
            progress.show(start + len(some))
            # If there was nothing to send, Ctrl-C has not been noticed yet.
            await asyncio.sleep(0)
    return left_out


def _complain(text: str) -> None:
    print(f"shop: {text}", file=sys.stderr, flush=True)


def _cancel_on_ctrl_c() -> None:
    """From Python 3.11 on asyncio.run does so itself; before, Ctrl-C is raised wherever the loop happens to be."""
    task = asyncio.current_task()
    if sys.version_info < (3, 11) and sys.platform != "win32" and task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, task.cancel)
