"""
Look inside built distributions: each carries its licence and its ``py.typed``, and the wheel only its own package.

``python scripts/check_built.py dist/*``
"""

from __future__ import annotations

import sys
import tarfile
import zipfile
from pathlib import Path


def members(archive: Path) -> list[str]:
    """Answer the files in a wheel or an sdist."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return wheel.namelist()
    with tarfile.open(archive) as sdist:
        return [member.name for member in sdist.getmembers() if member.isfile()]


def problems(archive: Path, names: list[str]) -> list[str]:
    """Answer what is wrong with *archive*, which holds the files *names*."""
    package, version = archive.name.removesuffix(".tar.gz").split("-")[:2]
    own: tuple[str, ...]
    if archive.suffix == ".whl":
        own = (f"{package}/", f"{package}-{version}.dist-info/")
        wanted = [f"{package}/py.typed", f"{package}/__init__.py", f"{own[1]}licenses/LICENSE"]
    else:
        own = (f"{package}-{version}/",)
        wanted = [f"{own[0]}{name}" for name in (f"src/{package}/py.typed", "LICENSE", "README.md", "pyproject.toml")]
    missing = [f"{archive.name} has no {name}" for name in wanted if name not in names]
    stray = [f"{archive.name} has a stray {name}" for name in names if not name.startswith(own)]
    return missing + stray


def main(arguments: list[str]) -> int:
    """Check each archive and answer the exit code."""
    found = [problem for path in map(Path, arguments) for problem in problems(path, members(path))]
    for problem in found:
        print(problem)
    if not found:
        print(f"{len(arguments)} archives: licence, py.typed and nothing stray")
    return 1 if found or not arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
