"""
The hooks that a plug-in may implement. A docstring is the contract of its hook.

Within a major version of cqrs-core, hooks come in addition and gain arguments; an implementation takes those arguments
that it wants, by their names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cqrs_core.plugins.marker import hookspec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cqrs_core.plugins.backends import Backend

#: The version of these hooks. A plug-in module that was written for another says so: ``CQRS_API = 2``.
CQRS_API = 1


@hookspec
def cqrs_backends() -> Iterable[Backend]:  # type: ignore[empty-body]  # pluggy calls implementations, never this
    """
    Tell what this plug-in can make.

    Called at most once in a process, from any thread, when a program asks for a name that is not built in or lists
    what is installed; most callers then want something else. So it only answers: no client library is imported, no
    environment read, nothing connected or written.

    Returns:
        Any number of backends; of one kind, each with a name of its own.

    Raises:
        Exception: Whatever says that the plug-in cannot be used here. The plug-in is left out with one warning that
            quotes it; others are not affected.
    """
