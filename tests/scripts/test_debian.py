from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

if sys.platform != "linux":
    pytest.skip("scripts/services needs Linux", allow_module_level=True)

from servers import debian
from servers.service import ServiceError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Install as root, with no programs but those in the folder of the test; answer the file that denies servers."""
    path = tmp_path / "policy-rc.d"
    monkeypatch.setattr(debian, "POLICY", path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return path


def apt_get(folder: Path, *, update: int = 0, unknown: str = "nothing") -> Path:
    """Make a program of that name, and answer the file in which it notes its orders; it does not have a package."""
    notes = folder / "notes"
    program = folder / "apt-get"
    text = f"""#!/bin/sh
echo "$@" >>{notes}
[ ! -x {folder}/policy-rc.d ] || echo may start nothing >>{notes}
case "$*" in *update) exit {update} ;; *{unknown}*) exit 100 ;; esac
"""
    program.write_text(text, encoding="utf-8")
    program.chmod(0o755)
    return notes


@pytest.mark.parametrize("update", [0, 100])
def test_packages_are_installed_after_an_update(tmp_path: Path, policy: Path, update: int) -> None:
    """One broken source fails the update, and may have nothing to do with the packages."""
    notes = apt_get(tmp_path, update=update)

    debian.install(["redis-server", "postgresql"])

    updated, installed, started = notes.read_text(encoding="utf-8").splitlines()
    assert updated.endswith("update")
    assert installed.endswith("redis-server postgresql")
    assert "may start nothing" == started
    assert not policy.exists()


@pytest.mark.usefixtures("policy")
def test_a_failed_installation_is_told(tmp_path: Path) -> None:
    apt_get(tmp_path, unknown="redis-server")

    with pytest.raises(ServiceError, match="could not install redis-server .exit code 100"):
        debian.install(["redis-server"])


@pytest.mark.usefixtures("policy")
def test_a_package_that_cannot_be_had_does_not_cost_the_others(tmp_path: Path) -> None:
    notes = apt_get(tmp_path, unknown="mariadb-server")

    with pytest.raises(ServiceError, match="could not install mariadb-server .exit code 100"):
        debian.install(["mariadb-server", "postgresql"])

    orders = [line.split("--no-install-recommends ")[-1] for line in notes.read_text(encoding="utf-8").splitlines()]
    assert ["mariadb-server postgresql", "mariadb-server", "postgresql"] == orders[1::2]


def test_the_policy_of_the_machine_stays(tmp_path: Path, policy: Path) -> None:
    apt_get(tmp_path)
    policy.write_text("#!/bin/sh\n", encoding="utf-8")

    debian.install(["redis-server"])

    assert "#!/bin/sh\n" == policy.read_text(encoding="utf-8")


def test_the_policy_of_an_installation_that_was_killed_is_removed(tmp_path: Path, policy: Path) -> None:
    apt_get(tmp_path)
    policy.write_text(debian.DENY, encoding="utf-8")

    debian.install(["redis-server"])

    assert not policy.exists()


def test_a_policy_that_cannot_be_written_keeps_nobody_from_installing(tmp_path: Path, policy: Path) -> None:
    notes = apt_get(tmp_path)
    policy.mkdir()

    debian.install(["redis-server"])

    assert "redis-server" in notes.read_text(encoding="utf-8")


def test_who_is_not_root_is_told_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    apt_get(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 4711)

    with pytest.raises(ServiceError, match="sudo apt-get update && sudo apt-get install --yes redis-server"):
        debian.install(["redis-server"])


def test_who_has_no_apt_is_told_of_docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(ServiceError, match="compose.yaml"):
        debian.install(["redis-server"])
