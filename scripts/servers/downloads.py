"""Download what no Debian package has, once, and only what is known by its content."""

from __future__ import annotations

import hashlib
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import urlopen

from .service import ServiceError

if TYPE_CHECKING:
    from collections.abc import Mapping

TIMEOUT_S = 60
AT_ONCE = 8


def cache() -> Path:
    """Answer where downloads are kept: in the user's cache; root's home is closed to the accounts of servers."""
    if os.geteuid() == 0:
        return Path("/var/cache/cqrs-services")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cqrs-services"


def fetch(files: Mapping[str, str], folder: Path) -> None:
    """
    Download what is not in *folder* yet. Several may do so at the same time: a file is there whole, or not at all.

    Args:
        files: The SHA-256 of what each URL must give.

    Raises:
        ServiceError: Something cannot be had, or is not what it should be.
    """
    missing = {url: digest for url, digest in files.items() if not (folder / _name(url)).exists()}
    if not missing:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(lambda url: _fetch(url, missing[url], folder), missing))
    except (OSError, HTTPException) as error:
        raise ServiceError(f"{len(missing)} files could not be downloaded to {folder}: {error}") from error


def _fetch(url: str, digest: str, folder: Path) -> None:
    with urlopen(url, timeout=TIMEOUT_S) as answer:  # noqa: S310 - the URLs are written in this repository
        content: bytes = answer.read()
    if hashlib.sha256(content).hexdigest() != digest:
        raise ServiceError(f"{url} is not what it was when its SHA-256 was noted: it is not used.")
    with tempfile.TemporaryDirectory(dir=folder) as unfinished:
        file = Path(unfinished) / _name(url)
        file.write_bytes(content)
        file.chmod(0o644)
        file.replace(folder / _name(url))


def _name(url: str) -> str:
    return url.rpartition("/")[2]
