"""A bar on a terminal, lines elsewhere."""

from __future__ import annotations

import io

from shop.progress import Progress


class Terminal(io.StringIO):
    """Keeps what is written, and says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_where_output_is_kept_a_line_is_written_every_thousand_and_at_the_end() -> None:
    """No control characters, and no line for each step."""
    out = io.StringIO()

    with Progress(2500, out=out) as progress:
        for done in range(1, 2501):
            progress.show(done)

    assert "1,000 of 2,500 lines\n2,000 of 2,500 lines\n2,500 of 2,500 lines\n" == out.getvalue()


def test_a_terminal_shows_one_bar_that_grows() -> None:
    """It is drawn over itself, and only when it looks different; the block ends its line."""
    out = Terminal()

    with Progress(4, out=out) as progress:
        for done in (1, 1, 2, 4):
            progress.show(done)

    assert [
        "",
        f"[{'#' * 10}{'.' * 30}]  25 %",
        f"[{'#' * 20}{'.' * 20}]  50 %",
        f"[{'#' * 40}] 100 %\n",
    ] == out.getvalue().split("\r")


def test_the_bar_makes_way_for_what_else_is_said() -> None:
    """It is wiped off, and comes back, even if it looks the same, when there is progress again."""
    out = Terminal()

    with Progress(400, out=out) as progress:
        progress.show(200)
        progress.make_way()
        progress.show(201)

    bar = f"[{'#' * 20}{'.' * 20}]  50 %"
    assert f"\r{bar}\r{' ' * len(bar)}\r\r{bar}\n" == out.getvalue()


def test_the_bar_is_ended_when_the_block_is_left_by_an_error() -> None:
    """What is printed next, such as the error, begins on a line of its own."""
    out = Terminal()

    try:
        with Progress(2, out=out) as progress:
            progress.show(1)
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass

    assert out.getvalue().endswith(" 50 %\n")
