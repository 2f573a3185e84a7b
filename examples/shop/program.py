"""The run: every line of a log is sent to the shop; when all events have arrived, the reports tell what they know."""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import cqrs_core as cqrs
from shop.messages import GetTotals, ListBestCustomers, Totals, WaitForEvents
from shop.progress import Progress
from shop.purchase_log import LogUnusable, MalformedLine, parse, read_lines
from shop.recording import make_shop
from shop.reporting import make_reports

SAMPLE_LOG = Path(__file__).resolve().parent.parent / "data" / "cdnow_sample.txt"

DONE = 0
INCOMPLETE = 1
NO_LOG = 2
# What shells report of programs that SIGINT and SIGPIPE ended: 128 and the signal's number.
INTERRUPTED = 130
READER_GONE = 141

# What is sent before the reports have caught up: so much is on its way at most, and the bar moves by as much.
_LINES_AT_ONCE = 100


def main(arguments: Sequence[str]) -> int:
    """Run the shop on the log that *arguments* name, and answer the exit code."""
    parser = argparse.ArgumentParser(
        prog="shop", description="Read a purchase log into a shop, and show who buys most."
    )
    parser.add_argument("--file", type=Path, default=SAMPLE_LOG, metavar="LOG", help="the purchase log (the sample)")
    path = parser.parse_args(arguments).file
    try:
        # Before the event loop runs: reading waits, and a loop that waits does not notice Ctrl-C.
        lines = read_lines(path)
        is_complete = asyncio.run(run(lines))
        sys.stdout.flush()
    except LogUnusable as error:
        _complain(str(error))
        return NO_LOG
    except (KeyboardInterrupt, asyncio.CancelledError):
        _complain("stopped by Ctrl-C; nothing was kept.")
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read along has left (`| head`). Nothing more can be said, not even when Python flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_GONE
    return DONE if is_complete else INCOMPLETE


async def run(lines: Sequence[tuple[int, bytes]]) -> bool:
    """Send all *lines* to a new shop, print what the reports know then, and answer whether that is everything."""
    _cancel_on_ctrl_c()
    # Two services, in one process for once: over a broker outside, each App would be a program of its own.
    broker = cqrs.MemoryBroker()
    async with make_reports(broker).running() as reports, make_shop(broker) as shop:
        left_out = await record(lines, shop, reports)
        await print_best_customers(reports)
        totals = await reports.send(GetTotals())
        print_totals(totals)
    if left_out:
        _complain(f"{left_out:,} of {len(lines):,} lines were malformed and are left out of everything above.")
    if totals.lost_events:
        _complain(f"{totals.lost_events:,} events could not be handled and are left out of everything above.")
    return not left_out and not totals.lost_events


async def record(lines: Sequence[tuple[int, bytes]], shop: cqrs.App, reports: cqrs.App) -> int:
    """
    Send a command for each of *lines*, report those that are malformed, and answer how many were.

    What it shows as done, and all of it when it returns, has arrived in the reports.
    """
    left_out = 0
    events = 0
    with Progress(len(lines), out=sys.stdout) as progress:
        for start in range(0, len(lines), _LINES_AT_ONCE):
            some = lines[start : start + _LINES_AT_ONCE]
            for number, line in some:
                try:
                    command = parse(number, line)
                except MalformedLine as error:
                    left_out += 1
                    progress.make_way()
                    _complain(str(error))
                else:
                    events += (await shop.send(command)).events
            await reports.send(WaitForEvents(count=events))
            progress.show(start + len(some))
            # If all of them were malformed there was nothing to wait for, and Ctrl-C has not been noticed yet.
            await asyncio.sleep(0)
    return left_out


async def print_best_customers(reports: cqrs.App) -> None:
    """Print the ten customers who spent most, as they arrive."""
    print("\nThe ten best customers:\n")
    print("      customer  purchases    CDs     dollars  tier")
    rank = 0
    async for customer in reports.stream(ListBestCustomers(limit=10)):
        rank += 1
        bought = f"{customer.purchases:10,} {customer.cds:6,} {customer.dollars:11,.2f}"
        print(f"  {rank:2}. {customer.customer_id:>8} {bought}  {customer.tier.value}")


def print_totals(totals: Totals) -> None:
    """Print what all customers bought together."""
    tiers = ", ".join(f"{count:,} {tier.value}" for tier, count in totals.customers_by_tier.items())
    print("\nAll together:\n")
    days = f", {totals.first_day} to {totals.last_day}" if totals.purchases else ""
    print(f"  {totals.purchases:10,} purchases{days}")
    print(f"  {totals.customers:10,} customers: {tiers}")
    print(f"  {totals.cds:10,} CDs")
    print(f"  {totals.dollars:10,.2f} dollars")


def _complain(text: str) -> None:
    print(f"shop: {text}", file=sys.stderr, flush=True)


def _cancel_on_ctrl_c() -> None:
    """From Python 3.11 on asyncio.run does so itself; before, Ctrl-C is raised wherever the loop happens to be."""
    task = asyncio.current_task()
    if sys.version_info < (3, 11) and sys.platform != "win32" and task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, task.cancel)
