"""Both ends of the pipe to a process, in an environment of its own, that measures a block whenever it is told to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from blocks import Block


class Peer:
    """
    A program beside this file, run by another Python, that calls :func:`serve`.

    Args:
        python: The interpreter, of an environment that has what the program imports.
        script: The name of its file.
        environment: Variables that it gets beside those of this process.
    """

    def __init__(self, python: str, script: str, environment: Mapping[str, str]) -> None:
        own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        self._process = subprocess.Popen(
            [python, str(Path(__file__).with_name(script))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**own, **environment},
        )
        self.python = python
        self.about = self._answer()

    def seconds(self, key: str, count: int) -> float:
        """Let it do the work *count* times."""
        print(json.dumps({"key": key, "count": count}), file=self._process.stdin, flush=True)
        return float(self._answer())

    def close(self) -> None:
        """Let its process end."""
        self._process.communicate()

    def _answer(self) -> Any:
        line = next(iter(self._process.stdout or ()), None)
        if line is None:
            sys.exit(f"The peer's process ended. Is everything installed for its Python, {self._process.args[0]!r}?")
        return json.loads(line)


def serve(blocks: Mapping[str, Block], about: Mapping[str, Any]) -> None:
    """
    Be the other end: measure blocks by their names until stdin ends.

    Args:
        blocks: What can be asked for.
        about: What :attr:`Peer.about` tells, beside the names.
    """
    _reply({**about, "keys": list(blocks)})
    for line in sys.stdin:
        order = json.loads(line)
        _reply(blocks[order["key"]](order["count"]))


def _reply(answer: object) -> None:
    print(json.dumps(answer), flush=True)


def make_peer(folder: Path, requirements: Sequence[str]) -> str:
    """Install *requirements* into an environment in *folder*, unless that was done before, and tell its Python."""
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    done, wanted = folder / "installed", "\n".join(requirements)
    if not done.exists() or done.read_text(encoding="utf-8") != wanted:
        venv.create(folder, clear=True, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *requirements], check=True)
        done.write_text(wanted, encoding="utf-8")
    return str(python)
