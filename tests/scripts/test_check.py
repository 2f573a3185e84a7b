from __future__ import annotations

from typing import TYPE_CHECKING

import check

if TYPE_CHECKING:
    from pathlib import Path


def session(
    signature: str, result: str = "success", *, reason: str | None = None, seconds: float = 0.0
) -> check.ReportedSession:
    return {
        "name": signature.partition("-")[0],
        "signatures": [signature],
        "result": result,
        "reason": reason,
        "duration": seconds,
    }


def environment(folder: Path, name: str, config: str) -> None:
    (folder / name).mkdir()
    (folder / name / "pyvenv.cfg").write_text(config, encoding="utf-8")


def test_the_interpreter_is_read_from_the_environment_of_the_session(tmp_path: Path) -> None:
    """The tools virtualenv and uv write ``version_info``, the standard library ``version``; both exact."""
    environment(tmp_path, "core_alone-3-10", "home = /usr\nversion_info = 3.10.13\n")
    environment(tmp_path, "lint", "home = /usr\nversion = 3.13.0\n")

    assert "3.10.13" == check.interpreter("core_alone-3.10", tmp_path)
    assert "3.13.0" == check.interpreter("lint", tmp_path)
    assert "-" == check.interpreter("never-made", tmp_path)


def test_a_session_that_was_skipped_names_no_interpreter(tmp_path: Path) -> None:
    """Its environment may be left from an earlier run, which proves nothing about this one."""
    environment(tmp_path, "tests-3-10", "version_info = 3.10.13\n")
    report = [session("tests-3.10", "skipped", reason="Python interpreter 3.10 not found.")]

    (row,) = check.rows(report, tmp_path)

    assert "-" == row.interpreter
    assert "skipped: Python interpreter 3.10 not found." == row.result


def test_the_table_gives_minutes_and_interpreters_in_order(tmp_path: Path) -> None:
    environment(tmp_path, "tests-3-13", "version_info = 3.13.0\n")
    environment(tmp_path, "tests-3-9", "version_info = 3.9.18\n")
    report = [session("tests-3.13", seconds=90), session("tests-3.9", "failed", seconds=6)]

    lines = check.table(check.rows(report, tmp_path), total_minutes=1.6).split("\n")

    assert [
        "session     python  minutes  result",
        "tests-3.13  3.13.0     1.50  success",  # 90 s
        "tests-3.9   3.9.18     0.10  failed",  # 6 s
        "interpreters that ran: 3.9.18, 3.13.0",
        "minutes in all: 1.60",
    ] == lines


def test_a_run_without_environments_says_that_nothing_ran() -> None:
    assert "interpreters that ran: none" in check.table([], total_minutes=0)
