"""The plug-in that is kept in the repository is the one that its source makes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("scripts/servers brings the compiler on Linux only", allow_module_level=True)

from servers import connect, connect_plugin


@pytest.mark.usefixtures("worker")  # the jars that it is compiled against are there then
def test_the_source_gives_the_same_bytes(tmp_path: Path) -> None:
    """If not: scripts/build_connect_plugin makes it anew."""
    connect_plugin.build(tmp_path / "made.jar")

    assert connect.PLUGIN.read_bytes() == (tmp_path / "made.jar").read_bytes()
