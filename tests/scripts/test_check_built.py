from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

import check_built

WHEEL = [
    "acme/__init__.py",
    "acme/py.typed",
    "acme-1.0.dist-info/METADATA",
    "acme-1.0.dist-info/licenses/LICENSE",
]
SDIST = ["acme-1.0/src/acme/py.typed", "acme-1.0/LICENSE", "acme-1.0/README.md", "acme-1.0/pyproject.toml"]
WHEEL_NAME = "acme-1.0-py3-none-any.whl"
SDIST_NAME = "acme-1.0.tar.gz"


@pytest.mark.parametrize(("archive", "names"), [(WHEEL_NAME, WHEEL), (SDIST_NAME, SDIST)])
def test_a_complete_archive_has_no_problems(archive: str, names: list[str]) -> None:
    assert [] == check_built.problems(Path(archive), names)


@pytest.mark.parametrize(
    ("archive", "names", "lost"),
    [
        (WHEEL_NAME, WHEEL, "acme/py.typed"),
        (WHEEL_NAME, WHEEL, "acme-1.0.dist-info/licenses/LICENSE"),
        (SDIST_NAME, SDIST, "acme-1.0/LICENSE"),
    ],
)
def test_a_missing_file_is_named(archive: str, names: list[str], lost: str) -> None:
    assert [f"{archive} has no {lost}"] == check_built.problems(Path(archive), [name for name in names if name != lost])


def test_a_file_outside_the_package_is_named() -> None:
    """A wheel that carries tests/ would drop them into everybody's site-packages."""
    assert [f"{WHEEL_NAME} has a stray tests/test_x.py"] == check_built.problems(
        Path(WHEEL_NAME), [*WHEEL, "tests/test_x.py"]
    )


def test_the_exit_code_tells_of_a_problem(tmp_path: Path) -> None:
    archive = tmp_path / WHEEL_NAME
    with zipfile.ZipFile(archive, "w") as wheel:
        for name in WHEEL[1:]:
            wheel.writestr(name, "")

    assert 1 == check_built.main([str(archive)])
    assert 1 == check_built.main([]), "nothing built is a problem too"
