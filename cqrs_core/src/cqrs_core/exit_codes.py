"""How a command ends: what went wrong is said, and becomes the exit code."""

from __future__ import annotations

import asyncio
import sys
import traceback
from typing import TYPE_CHECKING

from cqrs_core.errors import CqrsError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


def exit_code_of(work: Callable[[], Coroutine[None, None, int]]) -> int:
    """
    Do *work* on a loop of its own; answer the exit code that it gives, or 1, with the reason on standard error.

    Args:
        work: Called before the loop runs; what it gives is awaited there.
    """
    try:
        return asyncio.run(work())
    except CqrsError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
    except Exception:  # noqa: BLE001 - the end of the process: its traceback is all that can be done
        traceback.print_exc()
    return 1
