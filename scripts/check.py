"""
Run nox, then say which interpreters ran and how many minutes each session took.

``python scripts/check.py`` runs the default sessions; arguments go to nox. The exit code is that of nox.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypedDict

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENTS = ROOT / ".nox"


class ReportedSession(TypedDict):
    """One session in the report that nox writes; names are nox's."""

    name: str
    signatures: list[str]
    result: str
    reason: str | None
    duration: float


class Row(NamedTuple):
    """One line of the table."""

    session: str
    interpreter: str
    result: str
    minutes: float


def interpreter(signature: str, environments: Path) -> str:
    """Answer the exact version of the Python in a session's environment; a dash when it has none."""
    config = environments / re.sub(r"[^A-Za-z0-9_]+", "-", signature) / "pyvenv.cfg"
    if not config.is_file():
        return "-"
    found = re.search(r"^version(?:_info)?\s*=\s*(\d+\.\d+\.\d+)", config.read_text(encoding="utf-8"), re.MULTILINE)
    return found[1] if found else "-"


def rows(report: Iterable[ReportedSession], environments: Path) -> list[Row]:
    """
    Answer a line per session.

    Args:
        environments: The folder in which nox keeps its environments. That of a session which was skipped may be left
            from an earlier run, so it is not looked at.
    """
    table = []
    for session in report:
        signature = (session.get("signatures") or [session["name"]])[0]
        ran = session["result"] in {"success", "failed"}
        reason = session.get("reason")
        table.append(
            Row(
                session=signature,
                interpreter=interpreter(signature, environments) if ran else "-",
                result=session["result"] + (f": {reason}" if reason else ""),
                minutes=session.get("duration", 0.0) / 60,
            )
        )
    return table


def table(lines: list[Row], total_minutes: float) -> str:
    """Set the lines as a table, with the interpreters that ran below it."""
    heading = ("session", "python", "minutes", "result")
    cells = [heading, *((row.session, row.interpreter, f"{row.minutes:.2f}", row.result) for row in lines)]
    widths = [max(len(line[column]) for line in cells) for column in range(3)]
    text = [
        f"{name:<{widths[0]}}  {python:<{widths[1]}}  {minutes:>{widths[2]}}  {result}"
        for name, python, minutes, result in cells
    ]
    ran = {row.interpreter for row in lines} - {"-"}
    in_order = sorted(ran, key=lambda version: [int(part) for part in version.split(".")])
    text.append(f"interpreters that ran: {', '.join(in_order) or 'none'}")
    text.append(f"minutes in all: {total_minutes:.2f}")
    return "\n".join(text)


def main(arguments: list[str]) -> int:
    """Run nox with *arguments* and print the table."""
    report = ENVIRONMENTS / "report.json"
    report.parent.mkdir(exist_ok=True)
    report.unlink(missing_ok=True)  # an old report must not pass for this run's
    started = time.monotonic()
    nox = [sys.executable, "-m", "nox", "--noxfile", str(ROOT / "noxfile.py"), "--report", str(report), *arguments]
    code = subprocess.run(nox, check=False, cwd=ROOT).returncode
    if report.is_file():
        sessions: list[ReportedSession] = json.loads(report.read_text(encoding="utf-8"))["sessions"]
        print(f"\n{table(rows(sessions, ENVIRONMENTS), (time.monotonic() - started) / 60)}", flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
