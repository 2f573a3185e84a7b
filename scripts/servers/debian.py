"""Install the packages of services where apt-get does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from .service import ServiceError

if TYPE_CHECKING:
    from collections.abc import Sequence

UPDATE = ("apt-get", "--quiet", "update")
#: Another apt-get, perhaps that of a second run of this, is waited for.
INSTALL = ("apt-get", "--quiet", "-o", "DPkg::Lock::Timeout=300", "install", "--yes", "--no-install-recommends")


def install(packages: Sequence[str]) -> None:
    """
    Install *packages*; what apt-get says goes to stderr.

    On a machine with an init system Debian may start a server of its own from them, on its usual port. It is neither
    used nor stopped here.

    Raises:
        ServiceError: This is not root, not Debian, or apt-get failed.
    """
    wanted = " ".join(packages)
    if shutil.which("apt-get") is None:
        raise ServiceError(
            f"{wanted} is missing and there is no apt-get to install it. Install it in this system's own way, or let "
            "docker start the servers: see compose.yaml."
        )
    if os.geteuid() != 0:
        raise ServiceError(
            f"{wanted} is missing and only root may install it. Run: "
            f"sudo apt-get update && sudo apt-get install --yes {wanted}"
        )
    # One broken source among many fails an update too; whether it mattered is seen when the packages are installed.
    if _run(UPDATE) != 0:
        print("apt-get update failed; the packages that are known already are tried", file=sys.stderr)
    if (code := _run([*INSTALL, *packages])) != 0:
        raise ServiceError(f"apt-get could not install {wanted} (exit code {code}); see what it said above.")


def _run(command: Sequence[str]) -> int:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    return subprocess.run(command, check=False, env=environment, stdin=subprocess.DEVNULL, stdout=sys.stderr).returncode
