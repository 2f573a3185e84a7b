from __future__ import annotations

import hashlib
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

if sys.platform != "linux":
    pytest.skip("scripts/services needs Linux", allow_module_level=True)

from servers import downloads
from servers.service import ServiceError


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    """A file that can be downloaded."""
    path = tmp_path / "origin" / "some.jar"
    path.parent.mkdir()
    path.write_bytes(b"content")
    return path


def test_what_was_downloaded_once_is_not_downloaded_again(tmp_path: Path, origin: Path) -> None:
    """So a second start needs no network."""
    files, folder = {origin.as_uri(): digest(b"content")}, tmp_path / "cache" / "kafka"
    downloads.fetch(files, folder)
    origin.unlink()

    downloads.fetch(files, folder)

    assert [b"content"] == [path.read_bytes() for path in folder.iterdir()]


def test_the_accounts_of_servers_may_read_it(tmp_path: Path, origin: Path) -> None:
    downloads.fetch({origin.as_uri(): digest(b"content")}, tmp_path)

    assert 0o644 == (tmp_path / "some.jar").stat().st_mode & 0o777


def test_what_is_not_what_it_should_be_is_not_kept(tmp_path: Path, origin: Path) -> None:
    with pytest.raises(ServiceError, match="some.jar is not what it was when its SHA-256 was noted"):
        downloads.fetch({origin.as_uri(): digest(b"other")}, tmp_path / "cache")

    assert [] == list((tmp_path / "cache").iterdir())


def test_what_cannot_be_had_is_an_error_of_the_service(tmp_path: Path, origin: Path) -> None:
    origin.unlink()

    with pytest.raises(ServiceError, match="1 files could not be downloaded to .*No such file"):
        downloads.fetch({origin.as_uri(): digest(b"content")}, tmp_path / "cache")


def test_a_download_that_breaks_off_is_an_error_of_the_service(tmp_path: Path) -> None:
    """The server says that ten bytes come, and ends after five."""

    class BreakOff(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "10")
            self.end_headers()
            self.wfile.write(b"12345")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), BreakOff) as server:
        server.timeout = 10  # if nobody comes
        serving = Thread(target=server.handle_request)
        serving.start()
        with pytest.raises(ServiceError, match="1 files could not be downloaded to .*IncompleteRead"):
            downloads.fetch({f"http://127.0.0.1:{server.server_port}/some.jar": digest(b"1234567890")}, tmp_path)
        serving.join()


@pytest.mark.parametrize(
    ("uid", "variable", "expected"),
    [
        (0, "/elsewhere", "/var/cache/cqrs-services"),
        (4711, "/elsewhere", "/elsewhere/cqrs-services"),
        (4711, "", "/home/somebody/.cache/cqrs-services"),
    ],
)
def test_they_are_kept_in_the_cache_of_the_user(
    monkeypatch: pytest.MonkeyPatch, uid: int, variable: str, expected: str
) -> None:
    """Root's is the machine's: the accounts of servers do not come into root's home."""
    monkeypatch.setattr("os.geteuid", lambda: uid)
    monkeypatch.setenv("XDG_CACHE_HOME", variable)
    monkeypatch.setenv("HOME", "/home/somebody")

    assert Path(expected) == downloads.cache()
