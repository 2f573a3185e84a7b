"""Errors in how a message class, or an annotation, is written."""

from __future__ import annotations

from cqrs_core.errors.base import CqrsError, name_of


class InvalidMessageClass(CqrsError, TypeError):
    """
    A message class is written in a way that cannot work; raised by its ``class`` statement or decorator.

    Attributes:
        message_class: The class.
        problem: What is wrong with it, and what to write instead.
    """

    def __init__(self, message_class: type, problem: str) -> None:
        self.message_class = message_class
        self.problem = problem
        super().__init__(f"{name_of(message_class)} {problem}")


class UnresolvedAnnotation(CqrsError, NameError):
    """
    An annotation names something that cannot be found at run time.

    Attributes:
        owner: The class or function that has the annotation.
        text: The annotation as it was written.
    """

    def __init__(self, owner: object, text: str, reason: object) -> None:
        self.owner = owner
        self.text = text
        super().__init__(
            f"{name_of(owner)} speaks of {text!r}, which means nothing at run time ({reason}). Import or define it "
            f"in {getattr(owner, '__module__', 'its module')} itself: what is imported under TYPE_CHECKING only, or "
            "is local to a function, cannot be found."
        )
