"""How far a long run is: a bar on a terminal, a line now and then where the output is kept."""

from types import TracebackType
from typing import TextIO

_BAR_WIDTH = 40
_LINES_BETWEEN_REPORTS = 1000


class Progress:
    """
    Tells how much of *total* is done; to be used with ``with``, which ends the bar however the block is left.

    A terminal shows one bar that grows. Elsewhere there is a line after every 1,000, and one at the end.
    """

    def __init__(self, total: int, *, out: TextIO) -> None:
        self._total = total
        self._out = out
        self._is_terminal = out.isatty()
        self._shown = ""

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._shown:
            self._out.write("\n")

    def show(self, done: int) -> None:
        """Tell that *done* are done."""
        if self._is_terminal:
            self._draw(done)
        elif done % _LINES_BETWEEN_REPORTS == 0 or done == self._total:
            self._out.write(f"{done:,} of {self._total:,} lines\n")
            self._out.flush()

    def make_way(self) -> None:
        """Wipe the bar off, so that something else can be said on its line; :meth:`show` brings it back."""
        if self._shown:
            self._out.write("\r" + " " * len(self._shown) + "\r")
            self._out.flush()
            self._shown = ""

    def _draw(self, done: int) -> None:
        percent = 100 * done // self._total
        filled = _BAR_WIDTH * done // self._total
        bar = f"[{'#' * filled}{'.' * (_BAR_WIDTH - filled)}] {percent:3} %"
        if bar != self._shown:
            self._out.write(f"\r{bar}")
            self._out.flush()
            self._shown = bar
