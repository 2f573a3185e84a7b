"""
What is in the folder. Every function here reads or writes files, so it may block: call it in a thread.

.. code-block:: text

    .new/                                      what is being written, and nobody may see yet
    _<topic>/_<group>/members/<member>         touched by each member while it lives
    _<topic>/_<group>/<partition>/claims/<n>   who has the partition: what stands in the highest number
    _<topic>/_<group>/<partition>/messages/    one file each, named by position, until it is acknowledged
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from typing import TYPE_CHECKING
from urllib.parse import quote
from zlib import crc32

from cqrs_core.envelope import Envelope

if TYPE_CHECKING:
    from pathlib import Path

PARTITIONS = 4


def new(root: Path) -> Path:
    """Name a file or folder that is being written."""
    return root / ".new" / uuid.uuid4().hex


def topic_folder(root: Path, topic: str) -> Path:
    """Name the folder of a topic. The first letter is ours, so that no name is empty, or ``..``."""
    return root / f"_{quote(topic, safe='')}"


def open_group(root: Path, topic: str, group: str) -> Path:
    """Find the folder of a group, or make it: from then on it gets what is sent."""
    folder = topic_folder(root, topic) / f"_{quote(group, safe='')}"
    if not folder.exists():
        draft = new(root)
        (draft / "members").mkdir(parents=True)
        for partition in range(PARTITIONS):
            (draft / str(partition) / "claims").mkdir(parents=True)
            (draft / str(partition) / "messages").mkdir()
        folder.parent.mkdir(exist_ok=True)
        try:
            draft.rename(folder)  # at once, or a sender would find half of it
        except OSError:
            shutil.rmtree(draft)
            if not folder.exists():
                raise  # else another member was first
    return folder


def put(root: Path, envelope: Envelope, position: str) -> None:
    """Give a message to every group that there is: written once, and linked into each."""
    partition = crc32((position if envelope.key is None else envelope.key).encode("utf-8", "surrogateescape"))
    head = json.dumps({"key": envelope.key, "headers": dict(envelope.headers)})  # in ASCII, and without line breaks
    draft = new(root)
    try:
        with draft.open("wb") as file:
            file.write(head.encode("ascii") + b"\n" + envelope.body)
            file.flush()
            os.fsync(file.fileno())
        for group in topic_folder(root, envelope.topic).glob("_*"):
            os.link(draft, group / str(partition % PARTITIONS) / "messages" / position)
    finally:
        draft.unlink(missing_ok=True)


def read(file: Path, topic: str) -> Envelope:
    """Read a message."""
    head, _, body = file.read_bytes().partition(b"\n")
    facts = json.loads(head)
    return Envelope(topic, body, facts["key"], facts["headers"])
