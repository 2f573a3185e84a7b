"""What is known of a plug-in, and of a backend that it offers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from cqrs_core.plugins.backends import Backend

Status = Literal["ok", "failed", "incompatible", "disabled"]


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """
    A plug-in that is installed.

    Attributes:
        entry_point: What its distribution calls it.
        distribution: What installed it.
        version: The distribution's.
        status: ``"ok"``; ``"failed"``, if it cannot be loaded; ``"incompatible"``, if it was written for another
            version of the hooks; ``"disabled"``, if the environment switches it off.
        error: What is wrong; empty if nothing is.
        cure: What to do about it.
        backends: What it offers; nothing, unless it is ``"ok"``.
    """

    entry_point: str
    distribution: str
    version: str
    status: Status = "ok"
    error: str = ""
    cure: str = ""
    backends: tuple[Backend, ...] = ()

    def __str__(self) -> str:
        return f"plug-in {self.entry_point!r} of {self.distribution} {self.version}"

    @property
    def complaint(self) -> str:
        """Why it does not work, as a sentence."""
        verb = "failed" if self.status == "failed" else f"is {self.status}"
        return f"The {self} {verb}: {self.error} {self.cure}"


class Offer(NamedTuple):
    """A backend, and who offers it."""

    plugin: Plugin
    backend: Backend

    def __str__(self) -> str:
        kind = self.backend.kind.replace("_", " ")
        return f"{kind} {self.backend.name!r} of {self.plugin.distribution} {self.plugin.version}"


def canonical(distribution: str) -> str:
    """Write the name of a distribution as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", distribution).lower()
