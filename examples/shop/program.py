"""The run: every line of a log is sent to the shop, and then the shop is asked what it knows."""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import cqrs_core as cqrs
from shop.app import make_app
from shop.messages import GetTotals, ListBestCustomers, Totals
from shop.progress import Progress
from shop.purchase_log import LogUnusable, MalformedLine, parse, read_lines

SAMPLE_LOG = Path(__file__).resolve().parent.parent / "data" / "cdnow_sample.txt"

DONE = 0
LINES_LEFT_OUT = 1
NO_LOG = 2
# What shells report of programs that SIGINT and SIGPIPE ended: 128 and the signal's number.
INTERRUPTED = 130
READER_GONE = 141


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
        left_out = asyncio.run(run(lines))
        sys.stdout.flush()
    except LogUnusable as error:
        _complain(str(error))
        return NO_LOG
    except KeyboardInterrupt:
        _complain("stopped by Ctrl-C; nothing was kept.")
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read along has left (`| head`). Nothing more can be said, not even when Python flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_GONE
    return LINES_LEFT_OUT if left_out else DONE


async def run(lines: Sequence[tuple[int, bytes]]) -> int:
    """Send all *lines* to a new shop, print what it knows then, and answer how many were malformed."""
    async with make_app() as app:
        left_out = await record(app, lines)
        await print_best_customers(app)
        print_totals(await app.send(GetTotals()))
    if left_out:
        _complain(f"{left_out:,} of {len(lines):,} lines were malformed and are left out of everything above.")
    return left_out


async def record(app: cqrs.App, lines: Sequence[tuple[int, bytes]]) -> int:
    """Send a command for each of *lines*, report those that are malformed, and answer how many were."""
    left_out = 0
    with Progress(len(lines), out=sys.stdout) as progress:
        for done, (number, line) in enumerate(lines, start=1):
            try:
                command = parse(number, line)
            except MalformedLine as error:
                left_out += 1
                progress.make_way()
                _complain(str(error))
            else:
                await app.send(command)
            progress.show(done)
            # Nothing here ever waits, so this is the moment at which the event loop notices Ctrl-C.
            await asyncio.sleep(0)
    return left_out


async def print_best_customers(app: cqrs.App) -> None:
    """Print the ten customers who spent most, as they arrive."""
    print("\nThe ten best customers:\n")
    print("      customer  purchases    CDs     dollars  tier")
    rank = 0
    async for customer in app.stream(ListBestCustomers(limit=10)):
        rank += 1
        bought = f"{customer.purchases:10,} {customer.cds:6,} {customer.dollars:11,.2f}"
        print(f"  {rank:2}. {customer.customer_id:>8} {bought}  {customer.tier.label}")


def print_totals(totals: Totals) -> None:
    """Print what all customers bought together."""
    tiers = ", ".join(f"{count:,} {tier.label}" for tier, count in totals.customers_by_tier.items())
    print("\nAll together:\n")
    days = f", {totals.first_day} to {totals.last_day}" if totals.purchases else ""
    print(f"  {totals.purchases:10,} purchases{days}")
    print(f"  {totals.customers:10,} customers: {tiers}")
    print(f"  {totals.cds:10,} CDs")
    print(f"  {totals.dollars:10,.2f} dollars")


def _complain(text: str) -> None:
    print(f"shop: {text}", file=sys.stderr, flush=True)
