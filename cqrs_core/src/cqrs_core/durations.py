"""What a number of seconds must be that a program gives."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from cqrs_core.errors import InvalidOption

if TYPE_CHECKING:
    from typing import TypeGuard


def is_duration(seconds: object) -> TypeGuard[float]:
    """Tell whether *seconds* is a number, finite and more than nothing; ``True`` is none."""
    if not isinstance(seconds, (int, float)) or isinstance(seconds, bool):
        return False
    return 0 < seconds <= sys.float_info.max  # an int may be larger than that


def check_duration(name: str, seconds: object) -> None:
    """
    Refuse what is no duration.

    Args:
        name: Of the option.

    Raises:
        InvalidOption: As :func:`is_duration` has it.
    """
    if not is_duration(seconds):
        raise InvalidOption(name, seconds, "a number of seconds, more than 0")
