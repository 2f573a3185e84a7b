"""What a program pays that uses no plug-in."""

from __future__ import annotations

import subprocess
import sys

import pytest

NOT_NEEDED = ["importlib.metadata", "pluggy", "difflib", "urllib.parse"]


@pytest.mark.parametrize(
    "program",
    [
        "import cqrs_core.plugins",
        (
            "from cqrs_core.plugins.lookup import find; from cqrs_core.plugins.specs import parse; "
            "find(parse('broker', 'memory'))"
        ),
    ],
)
def test_neither_pluggy_nor_the_metadata_of_distributions_is_imported_for_what_is_built_in(program: str) -> None:
    """DESIGN 7; and the environment is read only when plug-ins are looked for."""
    check = f"print([name for name in {NOT_NEEDED} if name in set(sys.modules) - before])"
    code = f"import sys; before = set(sys.modules)\n{program}\n{check}"
    ran = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)

    assert "[]" == ran.stdout.strip()
