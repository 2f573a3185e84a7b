"""Distributions that are made for one test: folders on ``sys.path``, and no others beside them."""

from __future__ import annotations

import sys
import sysconfig
import textwrap
from typing import TYPE_CHECKING

import pytest

from cqrs_core.plugins import forget_discovery

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BROKER = """
    class Broker:
        def __init__(self, address, **options):
            self.address, self.options = address, options
        async def start(self): ...
        async def stop(self): ...
        async def send(self, envelope): ...
        async def send_many(self, envelopes): ...
        def subscribe(self, topics, group): ...
"""


class Site:
    """A folder into which distributions are installed by writing what an installer would."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(self, name: str, *entry_points: str, version: str = "1.0", **modules: str) -> None:
        """Install a distribution with lines for ``entry_points.txt`` and the source of each module."""
        metadata = self.folder / f"{name.replace('-', '_')}-{version}.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (metadata / "entry_points.txt").write_text("\n".join(["[cqrs_core]", *entry_points]))
        for module, source in modules.items():
            (self.folder / f"{module}.py").write_text(textwrap.dedent(source))

    def install_broker(self, name: str, backend: str, *, schemes: tuple[str, ...] = (), entry_point: str = "") -> None:
        """Install a distribution that offers a broker of the given name, in modules of its own."""
        module = name.replace("-", "_")
        plugin = f"""
            from cqrs_core.plugins import Backend, hookimpl

            @hookimpl
            def cqrs_backends():
                return [Backend(kind="broker", name="{backend}", factory="{module}_broker:Broker", schemes={schemes})]
        """
        modules = {f"{module}_plugin": plugin, f"{module}_broker": BROKER}
        self.install(name, f"{entry_point or backend} = {module}_plugin", **modules)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A place where nothing is installed, the only one that is searched."""
    folders = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}
    library = [entry for entry in sys.path if entry in folders or entry.endswith((".zip", "lib-dynload"))]
    monkeypatch.setattr(sys, "path", [str(tmp_path), *library])
    monkeypatch.delenv("CQRS_CORE_DISABLE_PLUGINS", raising=False)
    before = set(sys.modules)
    forget_discovery()
    yield Site(tmp_path)
    forget_discovery()
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
