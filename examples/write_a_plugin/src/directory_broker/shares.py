"""
Which member of a group has which partitions, without anybody who decides. All of it may block.

Each member touches its file again and again; one whose file is old has crashed. From the list of those that live, each
reckons what is its own. It gives up what is not, and claims what is, as soon as nobody who lives has it. A claim is a
file with the next number, and only one member can make that: the file system sees to it. A member that was taken for
dead, because its machine slept perhaps, finds a higher number than its own, and knows that it has lost.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from directory_broker.folders import PARTITIONS, read

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from cqrs_core.envelope import Envelope


class Share:
    """
    What one member has of one topic.

    Attributes:
        topic: The topic.
        held: The partitions that it has; the number of its claim for each.
    """

    def __init__(self, folder: Path, *, topic: str, member: str, member_ttl_s: float) -> None:
        self.topic = topic
        self.held: dict[int, int] = {}
        self._folder = folder
        self._member = member
        self._member_ttl_s = member_ttl_s

    def look(self) -> set[int]:
        """
        Say that this member lives, claim what is free and its own, and find out what is not its own any more.

        Returns:
            Partitions that go: to be given up with :meth:`release`, or lost already.
        """
        living = self._beat()
        going = set()
        for partition in range(PARTITIONS):
            number, owner = self._claim_of(partition)
            is_own = living[partition % len(living)] == self._member
            if partition in self.held:
                if owner != self._member or not is_own:
                    going.add(partition)
            elif is_own and owner not in living and self._claim(partition, number + 1):
                self.held[partition] = number + 1
        return going

    def release(self, partition: int) -> None:
        """Give a partition up: nobody stands in its claim."""
        self._write("").replace(self._claims(partition) / f"{self.held[partition]:012}")
        del self.held[partition]

    def leave(self) -> None:
        """Give everything up."""
        for partition in list(self.held):
            self.release(partition)
        self._own_file.unlink(missing_ok=True)

    def unread(self, partition: int, known: Collection[str], *, limit: int) -> list[tuple[str, Envelope]]:
        """Read the first messages that are not *known*, with their positions."""
        folder = self._folder / str(partition) / "messages"
        messages = []
        for position in sorted({file.name for file in folder.iterdir()}.difference(known))[:limit]:
            with suppress(FileNotFoundError):  # acknowledged by a member that was taken for dead
                messages.append((position, read(folder / position, self.topic)))
        return messages

    def remove(self, partition: int, position: str) -> None:
        """Forget a message."""
        (self._folder / str(partition) / "messages" / position).unlink(missing_ok=True)

    @property
    def _own_file(self) -> Path:
        return self._folder / "members" / self._member

    def _beat(self) -> list[str]:
        """Touch the own file, and list the members that live, this one among them."""
        self._own_file.touch()
        # Against the own file's time, not the clock's: a file server may have another.
        oldest = self._own_file.stat().st_mtime - self._member_ttl_s
        living = [self._member]
        for file in (self._folder / "members").iterdir():
            try:
                if file.stat().st_mtime < oldest:
                    file.unlink()  # if it lives after all, it is here again with its next beat
                elif file.name != self._member:
                    living.append(file.name)
            except FileNotFoundError:  # it has just left
                continue
        return sorted(living)

    def _claims(self, partition: int) -> Path:
        return self._folder / str(partition) / "claims"

    def _claim_of(self, partition: int) -> tuple[int, str]:
        """Tell the highest number, and who stands there; nobody, if it was given up."""
        for claim in sorted(self._claims(partition).iterdir(), reverse=True):
            try:
                return int(claim.name), claim.read_text("ascii")
            except FileNotFoundError:  # there is a higher one since
                continue
        return 0, ""

    def _claim(self, partition: int, number: int) -> bool:
        draft = self._write(self._member)
        try:
            os.link(draft, self._claims(partition) / f"{number:012}")  # fails if it is there, which replace() does not
        except FileExistsError:
            return False
        finally:
            draft.unlink()
        if self._claim_of(partition) != (number, self._member):  # it was there, and higher ones too, and then removed
            (self._claims(partition) / f"{number:012}").unlink(missing_ok=True)
            return False
        for claim in self._claims(partition).iterdir():
            if int(claim.name) < number:
                claim.unlink(missing_ok=True)
        return True

    def _write(self, text: str) -> Path:
        draft = self._folder / f"{self._member}.new"
        draft.write_text(text, "ascii")
        return draft
