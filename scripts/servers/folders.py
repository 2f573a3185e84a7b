"""Where running servers are remembered: a folder for each user and checkout, and a lock on what is in it."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from .service import ServiceError

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = Path(__file__).resolve().parents[2]


def usual_folder() -> Path:
    """Answer a name below the temporary folder that no other user and no other checkout comes to use."""
    checkout = hashlib.sha256(os.fsencode(CHECKOUT)).hexdigest()[:8]
    return Path(tempfile.gettempdir()) / f"cqrs-services-{os.geteuid()}-{checkout}"


def check(folder: Path) -> None:
    """
    Accept a folder of this user alone.

    Raises:
        ServiceError: *folder* is somebody else's, who could make us end processes that are none of ours.
        FileNotFoundError: There is none.
    """
    found = folder.lstat()
    if found.st_uid != os.geteuid() or not stat.S_ISDIR(found.st_mode):
        raise ServiceError(f"{folder} is not a folder of this user. Remove it, or choose another: --folder FOLDER.")


def make(folder: Path) -> None:
    """Make *folder*, unless this user has it already; see :func:`check`."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir(parents=True)
        folder.chmod(0o711)  # the accounts of servers pass through, to their data
    check(folder)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """
    Make *folder* and the one above it, and hold it against other processes and threads. Who holds it may remove it.

    The lock is on the folder itself: no file is left over, and the kernel lets go when the process dies.
    """
    while True:
        try:
            make(folder.parent)
            make(folder)
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except FileNotFoundError:
            continue  # removed by another between two lines: make it again
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if not _is_still(folder, descriptor):
                continue  # removed by whoever held the lock before
            yield
            return
        finally:
            os.close(descriptor)


def _is_still(folder: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(folder.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
