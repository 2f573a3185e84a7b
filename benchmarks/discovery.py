"""
What looking for plug-ins costs, once in a process, among few distributions and among many; and what it costs others.

Every value comes from a process of its own, because everything is found, imported and kept only once. The kinds of
processes alternate, so that what the machine does meanwhile hits all of them alike. Needs pluggy:
``python benchmarks/discovery.py --rounds 21``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TypeAlias

FEW, MANY = 0, 200
#: Process by process, then row by row, the seconds that each round took.
Times: TypeAlias = "dict[tuple[str, int], dict[str, list[float]]]"

CLOCK = """
import json, sys, time
sys.path.append(sys.argv[1])
times, began = {}, time.perf_counter()

def lap(row):
    global began
    times[row] = time.perf_counter() - began
    began = time.perf_counter()
"""
#: The whole, as a program sees it.
WHOLE = """
import cqrs_core
lap("import cqrs_core")
from cqrs_core.plugins import installed, open_backend
lap("import cqrs_core.plugins")
open_backend("broker", "memory")
lap("open what is built in: memory")
open_backend("broker", "acme")
lap("open the first of a plug-in: acme")
open_backend("broker", "acme")
lap("open it again")
installed()
lap("list all plug-ins")
"""
#: What the first of a plug-in consists of, for the most part.
PARTS = """
from cqrs_core.plugins.entry_points import find_entry_points
began = time.perf_counter()
import importlib.metadata
lap("  import importlib.metadata")
found = find_entry_points()
lap("  read the entry points")
import pluggy
lap("  import pluggy")
assert len(found) >= 2
"""
PROGRAMS = {"whole": WHOLE, "parts": PARTS}
ROWS = [
    "import cqrs_core",
    "import cqrs_core.plugins",
    "open what is built in: memory",
    "open the first of a plug-in: acme",
    "  import importlib.metadata",
    "  read the entry points",
    "  import pluggy",
    "open it again",
    "list all plug-ins",
]

PLUGIN = """
from cqrs_core.plugins import Backend, hookimpl

@hookimpl
def cqrs_backends():
    return [Backend(kind="broker", name="{name}", factory="{name}_plugin:Broker")]

class Broker:
    def __init__(self, address): ...
    def start(self): ...
    stop = send = send_many = subscribe = start
"""

SEND = """
import asyncio
import cqrs_core as cqrs

class Greet(cqrs.Request[str]):
    name: str

class GreetHandler(cqrs.RequestHandler[Greet, str]):
    async def handle(self, request):
        return f"Hello, {request.name}"

async def main():
    app = cqrs.App("greeter")
    app.requests.bind(Greet, GreetHandler)
    async with app:
        assert await app.send(Greet("Ada")) == "Hello, Ada"

asyncio.run(main())
"""
OF_PLUGINS = ("cqrs_core.plugins", "importlib.metadata", "pluggy")


def install(folder: Path, name: str, entry_points: str) -> None:
    """Write what an installer would of a distribution."""
    metadata = folder / f"{name}-1.0.dist-info"
    metadata.mkdir(parents=True)
    summary = "\n".join(f"Classifier: Topic :: Number {number}" for number in range(20))
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{summary}\n")
    (metadata / "RECORD").write_text("")
    if entry_points:
        (metadata / "entry_points.txt").write_text(entry_points)


def make_site(folder: Path, others: int) -> Path:
    """Install two plug-ins, and a number of other distributions of which every second has entry points."""
    for name in ("acme", "beta"):
        install(folder, name, f"[cqrs_core]\n{name} = {name}_plugin\n")
        (folder / f"{name}_plugin.py").write_text(PLUGIN.format(name=name))
    for number in range(others):
        scripts = f"[console_scripts]\nother{number} = other{number}.cli:main\n"
        install(folder, f"other{number}", scripts if number % 2 else "")
    return folder


def run_once(program: str, site: Path) -> dict[str, float]:
    """Run a program in a process of its own and tell the seconds of its rows."""
    code = f"{CLOCK}\n{program}\nprint(json.dumps(times))"
    ran = subprocess.run([sys.executable, "-I", "-c", code, str(site)], capture_output=True, text=True, check=True)
    times: dict[str, float] = json.loads(ran.stdout)
    return times


def measure(rounds: int) -> Times:
    """Run the processes in turn; the first round, which writes byte code, is not counted."""
    taken: Times = {}
    with tempfile.TemporaryDirectory() as folder:
        sites = {others: make_site(Path(folder, str(others)), others) for others in (FEW, MANY)}
        for number in range(rounds + 1):
            for kind, program in PROGRAMS.items():
                for others, site in sites.items():
                    for row, seconds in run_once(program, site).items():
                        if number:
                            taken.setdefault((kind, others), {}).setdefault(row, []).append(seconds)
    return taken


def imported_for_plugins(program: str) -> list[str]:
    """Tell what belongs to plug-ins among the modules that a program imports."""
    command = [sys.executable, "-I", "-X", "importtime", "-c", program]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    names = [line.rpartition("|")[2].strip() for line in ran.stderr.splitlines() if line.startswith("import time:")]
    return [name for name in names if f"{name}.".startswith(tuple(f"{module}." for module in OF_PLUGINS))]


def installed_here() -> int:
    """Count the distributions of this Python, which are searched as well."""
    program = "from importlib.metadata import distributions; print(len(list(distributions())))"
    ran = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True)
    return int(ran.stdout)


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure what looking for plug-ins costs.")
    parser.add_argument("--rounds", type=int, default=21, help="processes of each kind (default: 21)")
    rounds = parser.parse_args().rounds
    here = installed_here() + 2
    print(f"Python {sys.version.split()[0]}, medians of {rounds} rounds, in milliseconds")
    taken = measure(rounds)
    print(f"{'distributions installed':36}{here + FEW:>9}{here + MANY:>9}")
    for row in ROWS:
        times = [found[row] for found in taken.values() if row in found]
        print(f"{row:36}" + "".join(f"{statistics.median(seconds) * 1e3:9.2f}" for seconds in times))
    found = imported_for_plugins(SEND)
    print(f"\nimport cqrs_core and one send import of {', '.join(OF_PLUGINS)}: {', '.join(found) or 'nothing'}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
