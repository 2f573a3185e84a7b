"""What the documentation shows is true: its Python runs, and its commands are one line each."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("cqrs_*/README.md"), *ROOT.glob("docs/**/*.md")])
FENCE = re.compile(r"^```(?P<language>\S*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(text: str, language: str) -> list[tuple[int, str]]:
    """Answer the fenced blocks in *language*, each with the number of lines above its code."""
    return [
        (text.count("\n", 0, found.start("code")), found["code"])
        for found in FENCE.finditer(text)
        if found["language"] == language
    ]


def program(text: str) -> str:
    """Join the Python blocks of a page into one program whose line numbers are those of the page."""
    lines = [""] * (text.count("\n") + 1)
    for above, code in blocks(text, "python"):
        block = code.splitlines()
        lines[above : above + len(block)] = block
    return "\n".join(lines)


def test_a_program_keeps_the_line_numbers_of_its_page() -> None:
    """An error in a block is reported at the line of the page."""
    page = "# Title\n\n```python\nx = 1\n```\nand\n```bash\nls\n```\n```python\ny = x\n```\n"

    assert {4: "x = 1", 11: "y = x"} == {n: line for n, line in enumerate(program(page).split("\n"), 1) if line}


PAGES_WITH_PYTHON = [page for page in PAGES if blocks(page.read_text(encoding="utf-8"), "python")]


def test_the_readme_shows_python() -> None:
    assert ROOT / "README.md" in PAGES_WITH_PYTHON


@pytest.mark.parametrize("page", PAGES_WITH_PYTHON, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_python_of_a_page_runs(page: Path, tmp_path: Path) -> None:
    """The blocks of a page, one after the other, are a program that ends well and warns of nothing."""
    script = tmp_path / f"{page.stem}.py"
    script.write_text(program(page.read_text(encoding="utf-8")), encoding="utf-8")

    run = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert 0 == run.returncode, run.stderr


@pytest.mark.parametrize("name", ["demo", "tests"])
def test_the_readme_gives_a_command_of_one_line(name: str) -> None:
    """A bare machine needs one line to paste; ``.ci/run`` reads the one for the tests from the same place."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (after,) = re.findall(rf"<!-- command: {name} -->\n(.*)", readme, re.DOTALL)

    assert re.match(r"```bash\npython3 -m venv [^\n]+\n```\n", after)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_within_the_repository_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", FENCE.sub("", text))

    assert [] == [t for t in targets if "://" not in t and not (page.parent / t).exists()]
