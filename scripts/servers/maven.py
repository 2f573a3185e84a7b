"""Jars of Maven Central, for what runs in Java: which ones, and with which content, is listed beside this."""

from __future__ import annotations

from pathlib import Path

from . import downloads

#: What runs them, and the Debian package that brings it.
PROGRAM = "java"
PACKAGES = ("default-jre-headless",)
CENTRAL = "https://repo.maven.apache.org/maven2"


def fetch(listed: str, folder: Path) -> None:
    """
    Bring the jars that are not in *folder* yet.

    Args:
        listed: The name of the file with their SHA-256 and paths.

    Raises:
        ServiceError: One cannot be had, or is not what it should be.
    """
    lines = Path(__file__).with_name(listed).read_text(encoding="utf-8").splitlines()
    files = [line.split() for line in lines if not line.startswith("#")]
    downloads.fetch({f"{CENTRAL}/{path}": digest for digest, path in files}, folder)


def java(*class_path: Path) -> list[str]:
    """Answer what comes before the name of a class, to run one that says no more than what went wrong."""
    return [
        "-Xmx512m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",  # it is started often, and never runs for long
        "-XX:-UsePerfData",
        "-Djava.io.tmpdir=.",
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        "--class-path",
        ":".join(f"{folder}/*" for folder in class_path),
    ]
