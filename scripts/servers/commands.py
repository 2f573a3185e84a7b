"""Run the commands of a service in its data folder, as the account that it has."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
from typing import TYPE_CHECKING, TypedDict

from .service import ServiceError, Step

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import IO


class Account(TypedDict, total=False):
    """The arguments of Popen that make a process run as somebody else."""

    user: int
    group: int
    extra_groups: list[int]


def account_of(name: str) -> Account:
    """Answer how to become *name*, when this is root; whoever else starts a server is its owner."""
    if os.geteuid() != 0:
        return {}
    try:
        entry = pwd.getpwnam(name)
    except KeyError:  # not installed from the Debian package, which would have made the account
        entry = pwd.getpwnam("nobody")
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def make_data(data: Path, account: Account) -> None:
    """Make the folder that belongs to *account* and is for no other."""
    data.mkdir(mode=0o700)
    if account:
        os.chown(data, account["user"], account["group"])


def spawn(
    command: Sequence[str], data: Path, *, log: IO[bytes], account: Account, stdin: int = subprocess.DEVNULL
) -> subprocess.Popen[bytes]:
    """
    Start *command* in *data*; what it says goes to *log*.

    Raises:
        ServiceError: It cannot be run.
    """
    # Where TMPDIR of this process leads, as in a session of nox, *account* need not be let in.
    environment = {**os.environ, "TMPDIR": str(data)}
    # Not the streams of this process: $(scripts/services start) waits until the last who has them closes them.
    # A session of its own: Ctrl-C at the terminal is not for the server.
    try:
        return subprocess.Popen(
            command,
            cwd=data,
            env=environment,
            stdin=stdin,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **account,
        )
    except OSError as error:  # not for this machine; or this account may not reach its data, or the program
        raise ServiceError(f"{command[0]} cannot be run in {data}: {error}") from error


def take(step: Step, data: Path, *, log: IO[bytes], account: Account, within_s: float) -> None:
    """
    Run *step* to its end. If it is interrupted, so is whatever it started: nothing writes into *data* afterwards.

    Raises:
        ServiceError: It cannot be run, failed, or was not done in time.
    """
    with spawn(step.command, data, log=log, account=account, stdin=subprocess.PIPE) as process:
        try:
            process.communicate(step.text.encode(), timeout=within_s)
        except BaseException as problem:  # also when interrupted by the keyboard
            if process.returncode is None:  # not waited for yet: until then the group is its own
                os.killpg(process.pid, signal.SIGKILL)
            if isinstance(problem, subprocess.TimeoutExpired):
                raise ServiceError(f"{step.command[0]} was not done after {within_s} s") from problem
            raise
    if process.returncode != 0:
        raise ServiceError(f"{step.command[0]} failed (exit code {process.returncode})")
