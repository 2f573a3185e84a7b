"""The two errors of the codec: a value that does not fit, and a type that has no form in JSON."""

from __future__ import annotations

from cqrs_core.errors import CqrsError

Step = str | int

_LONGEST_STEP = 60


class CodecError(CqrsError, ValueError):
    """
    A value does not fit its type, or JSON cannot carry it.

    Attributes:
        problem: What is wrong at :attr:`path`. It names types, never values, save the words of enums and tags; a
            constructor that refuses with a ``ValueError`` is quoted.
        steps: The names of fields, keys and numbers of items on the way from the whole to the fault.
    """

    def __init__(self, problem: str, steps: tuple[Step, ...] = ()) -> None:
        super().__init__(problem, steps)
        self.problem = problem
        self.steps = steps

    @property
    def path(self) -> str:
        """The way to the fault as one would write it: ``items[2].sku``; empty if the whole does not fit."""
        return path_text(self.steps)

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}" if self.steps else self.problem

    def within(self, step: Step) -> CodecError:
        """Lengthen the path at its front, on the way out; gives the error itself."""
        self.steps = (step, *self.steps)
        self.args = (self.problem, self.steps)
        return self


class UnsupportedType(CqrsError, TypeError):
    """
    A type could not be read back from JSON; found when its codec is compiled, not with the first message.

    Attributes:
        tp: The type that is at fault.
        problem: What is wrong with it.
        cure: What to do.
        path: The way to it from the type whose codec was wanted: ``lines[].price``; empty if it is that type itself.
        wanted: The type whose codec was wanted.
    """

    wanted: object = None

    def __init__(self, tp: object, problem: str, cure: str, path: str = "") -> None:
        super().__init__(tp, problem, cure, path)
        self.tp = tp
        self.problem = problem
        self.cure = cure
        self.path = path

    def __str__(self) -> str:
        where = f"In {type_name(self.wanted)} at {self.path}: " if self.path else ""
        return f"{where}{self.problem}. {self.cure}"

    def within(self, step: str) -> UnsupportedType:
        """Lengthen the path at its front, on the way out; gives the error itself."""
        dot = "." if self.path and not self.path.startswith("[") else ""
        self.path = f"{step}{dot}{self.path}"
        self.args = (self.tp, self.problem, self.cure, self.path)
        return self


def path_text(steps: tuple[Step, ...]) -> str:
    """Write names after dots, everything else in brackets; long keys are cut, they come from outside."""
    written = (
        f".{step}" if isinstance(step, str) and step.lstrip("$").isidentifier() else f"[{step!r:.{_LONGEST_STEP}}]"
        for step in steps
    )
    return "".join(written).removeprefix(".")


def key_step(key: object) -> str:
    """Name a key of a dict in a path, whatever it is."""
    try:
        return key if isinstance(key, str) else str(key)
    except Exception:  # noqa: BLE001 - an int that is too long; __str__ may raise anything
        return type(key).__name__


def type_name(tp: object) -> str:
    """Name a class by its name and anything else as it would be written."""
    return tp.__qualname__ if isinstance(tp, type) and not getattr(tp, "__args__", ()) else str(tp)
