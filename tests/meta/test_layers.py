"""The table of layers in the documentation, and the modules that there are."""

from __future__ import annotations

import pkgutil
import re
from pathlib import Path

import cqrs_core

INDEX = Path(__file__).parents[2] / "docs" / "index.md"


def test_the_table_of_layers_names_every_module_once() -> None:
    """Who looks for a module finds its layer there."""
    text = INDEX.read_text(encoding="utf-8")
    (table,) = re.findall(r"\| layer \| modules of `cqrs_core` .*?\n\n", text, re.DOTALL)
    named = [name for row in table.strip().splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[2])]
    modules = [module.name for module in pkgutil.iter_modules(cqrs_core.__path__)]

    assert sorted(modules) == sorted(named)
