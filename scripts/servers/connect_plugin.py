"""
Makes ``cqrs-outbox.jar``, our plug-in for Kafka Connect, of its source beside it.

It is kept in the repository, so that who installs cqrs-sqla needs no compiler. The compiler is one of known content,
and the archive holds no times: the same source gives the same bytes everywhere, and a test compares them.
"""

from __future__ import annotations

import subprocess
import tempfile
import zipfile
from pathlib import Path

from . import connect, downloads, kafka, maven

SOURCE = connect.PLUGIN.with_name("OutboxMessage.java")
CLASS = "cqrs.debezium.OutboxMessage"
COMPILER = "org/eclipse/jdt/ecj/3.33.0/ecj-3.33.0.jar"
COMPILER_SHA256 = "f7686c4960cf70c2ebc5c500a73a8cfc04541b730c18f1c5c21329889b137f45"
#: What there is in Java's first archives, and in ours: no time at all.
NO_TIME = (1980, 1, 1, 0, 0, 0)


def build(jar: Path = connect.PLUGIN) -> None:
    """
    Write the archive.

    Raises:
        ServiceError: What it is compiled with, or against, cannot be had.
        CalledProcessError: The source is wrong.
    """
    folder = downloads.cache() / "ecj"
    downloads.fetch({f"{maven.CENTRAL}/{COMPILER}": COMPILER_SHA256}, folder)
    kafka.fetch()
    maven.fetch("connect_jars.txt", connect.cache())
    against = ":".join(str(path) for place in (kafka.cache(), connect.cache()) for path in sorted(place.glob("*.jar")))
    with tempfile.TemporaryDirectory() as made:
        # Java 17 is what Kafka Connect 4 and Debezium 3 need.
        options = ["-17", "-proc:none", "-g:lines,source", "-d", made, "-classpath", against]
        compiler = str(folder / Path(COMPILER).name)
        java = str(kafka.KAFKA.installed_at())
        subprocess.run([java, "-jar", compiler, *options, str(SOURCE)], check=True)
        members = {
            "META-INF/MANIFEST.MF": b"Manifest-Version: 1.0\r\n\r\n",
            # How a worker finds it without reading every class.
            "META-INF/services/org.apache.kafka.connect.transforms.Transformation": f"{CLASS}\n".encode(),
            f"{CLASS.replace('.', '/')}.class": (Path(made) / f"{CLASS.replace('.', '/')}.class").read_bytes(),
        }
        with zipfile.ZipFile(jar, "w") as archive:
            for name, content in members.items():
                archive.writestr(zipfile.ZipInfo(name, NO_TIME), content)
