"""
The demo, with a word for whoever kills it: ``python mortal_shop.py MOMENT ARGUMENT...``.

MOMENT is a number: after so many SQL statements the line ``now`` goes to stderr. Or it is the beginning of a statement:
before the first of that kind the process kills itself. With ``after `` before that, it does so as soon as the
transaction of the statement has ended.
"""

import os
import signal
import sys
from itertools import count
from pathlib import Path

import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))

from shop.program import main  # found only now

AFTER = "after "


def watch(moment: str) -> None:
    """Wait for the *moment*, on all engines."""
    numbers = count(1)

    def before(connection: sa.Connection, _cursor: object, statement: str, *_: object) -> None:
        if moment.isdigit():
            if next(numbers) == int(moment):
                sys.stderr.write("now\n")
                sys.stderr.flush()
        elif statement.startswith(moment):
            _die()
        elif statement.startswith(moment.removeprefix(AFTER)):
            connection.info[AFTER] = True

    def at_rest(_connection: object, entry: sa.pool.ConnectionPoolEntry) -> None:
        if AFTER in entry.info:
            _die()

    sa.event.listen(sa.Engine, "before_cursor_execute", before)
    sa.event.listen(sa.Pool, "checkin", at_rest)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    watch(sys.argv[1])
    sys.exit(main(sys.argv[2:]))
