"""Install the packages of services where apt-get does."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .service import ServiceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

UPDATE = ("apt-get", "--quiet", "update")
#: Another apt-get, perhaps that of a second run of this, is waited for.
INSTALL = ("apt-get", "--quiet", "-o", "DPkg::Lock::Timeout=300", "install", "--yes", "--no-install-recommends")

#: While this file is there and exits with 101, Debian's packages start no servers of their own, on their usual ports.
#: Source: invoke-rc.d(8) and deb-systemd-invoke(1p).
POLICY = Path("/usr/sbin/policy-rc.d")
DENY = "#!/bin/sh\n# Of scripts/services, while it installs packages; it may be removed.\nexit 101\n"


def install(packages: Sequence[str]) -> None:
    """
    Install *packages*, all that can be had; what apt-get says goes to stderr.

    A server that Debian may have started from them before is neither used nor stopped here.

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
    with _starting_nothing():
        if (code := _run([*INSTALL, *packages])) == 0:
            return
        # Together they fail for one that is unknown here; the others are needed all the same.
        failed = [package for package in packages if len(packages) == 1 or _run([*INSTALL, package]) != 0]
    if failed:
        raise ServiceError(f"apt-get could not install {' '.join(failed)} (exit code {code}); see what it said above.")


@contextlib.contextmanager
def _starting_nothing() -> Iterator[None]:
    """Keep packages from starting servers, unless the machine has its own policy about that."""
    ours = False
    # Not to be written, so be it: then a server starts that nobody uses.
    with contextlib.suppress(OSError):
        if not POLICY.is_symlink() and (not POLICY.exists() or _was_left_over()):
            POLICY.write_text(DENY, encoding="utf-8")
            ours = True
            POLICY.chmod(0o755)
    try:
        yield
    finally:
        if ours:
            POLICY.unlink(missing_ok=True)


def _was_left_over() -> bool:
    """Answer whether the policy is that of a run that was killed, or that is installing now."""
    return POLICY.read_bytes() == DENY.encode()


def _run(command: Sequence[str]) -> int:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    return subprocess.run(command, check=False, env=environment, stdin=subprocess.DEVNULL, stdout=sys.stderr).returncode
