"""The four distributions agree with each other, and stay installable the way the README says."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ["cqrs_breaker", "cqrs_core", "cqrs_kafka", "cqrs_sqla"]
BACKENDS = [package for package in PACKAGES if package != "cqrs_core"]


def pyproject(folder: str) -> dict[str, Any]:
    return tomllib.loads((ROOT / folder / "pyproject.toml").read_text(encoding="utf-8"))


def project(package: str) -> dict[str, Any]:
    table: dict[str, Any] = pyproject(package)["project"]
    return table


def requirements(package: str) -> list[Requirement]:
    extras = project(package).get("optional-dependencies", {}).values()
    return [Requirement(text) for group in [project(package)["dependencies"], *extras] for text in group]


def test_the_workspace_holds_the_four_distributions() -> None:
    assert sorted(PACKAGES) == sorted(pyproject(".")["tool"]["uv"]["workspace"]["members"])


@pytest.mark.parametrize("package", PACKAGES)
def test_a_distribution_is_named_after_its_package(package: str) -> None:
    assert package.replace("_", "-") == project(package)["name"]


@pytest.mark.parametrize("package", PACKAGES)
def test_versions_agree(package: str) -> None:
    """One number for all four, in the metadata and in the code."""
    version = project("cqrs_core")["version"]

    assert version == project(package)["version"]
    assert version == importlib.import_module(package).__version__


@pytest.mark.parametrize("package", PACKAGES)
def test_every_distribution_needs_the_same_oldest_python(package: str) -> None:
    assert ">=3.10" == project(package)["requires-python"]


@pytest.mark.parametrize("package", PACKAGES)
def test_the_outer_folder_is_not_a_package(package: str) -> None:
    """An ``__init__.py`` there would hide the installed package from whoever runs Python in the repository."""
    assert not (ROOT / package / "__init__.py").exists()
    assert (ROOT / package / "src" / package / "__init__.py").is_file()


@pytest.mark.parametrize("package", PACKAGES)
def test_the_package_is_typed(package: str) -> None:
    assert (ROOT / package / "src" / package / "py.typed").is_file()


@pytest.mark.parametrize("package", PACKAGES)
def test_the_licence_is_the_same_everywhere(package: str) -> None:
    assert (ROOT / "LICENSE").read_text(encoding="utf-8") == (ROOT / package / "LICENSE").read_text(encoding="utf-8")
    assert "MIT" == project(package)["license"]


def test_the_core_needs_nothing() -> None:
    assert [] == project("cqrs_core")["dependencies"]


@pytest.mark.parametrize("package", BACKENDS)
def test_a_backend_needs_the_core_and_the_core_offers_it(package: str) -> None:
    """Both name a range that the version of today lies in."""
    extra = package.removeprefix("cqrs_")
    (offered,) = map(Requirement, project("cqrs_core")["optional-dependencies"][extra])
    (needed,) = (requirement for requirement in requirements(package) if requirement.name == "cqrs-core")

    assert project(package)["name"] == offered.name
    assert offered.specifier.contains(project(package)["version"])
    assert needed.specifier.contains(project("cqrs_core")["version"])


@pytest.mark.parametrize("package", PACKAGES)
def test_every_dependency_is_a_range(package: str) -> None:
    """A lower bound that was tried, an upper bound not yet reached; never ``==``, which two programs cannot share."""
    for requirement in requirements(package):
        if requirement.name == "cqrs-core" and requirement.extras:
            continue  # the extra `all`, which gathers the others
        operators = {specifier.operator for specifier in requirement.specifier}
        assert {">=", "<"} == operators, str(requirement)


@pytest.mark.parametrize("package", PACKAGES)
def test_the_next_minor_version_is_outside_the_range(package: str) -> None:
    """Before 1.0 a minor version may break, so what depends on us stops below it."""
    version = Version(project("cqrs_core")["version"])
    next_minor = f"{version.major}.{version.minor + 1}.0"
    for requirement in requirements(package):
        if requirement.name.startswith("cqrs-") and requirement.specifier:
            assert not requirement.specifier.contains(next_minor), str(requirement)
