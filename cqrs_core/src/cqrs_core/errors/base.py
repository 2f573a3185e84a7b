"""The base of all errors, and how things are named in their texts."""

from __future__ import annotations


def name_of(thing: object) -> str:
    """Name a class, an alias such as ``Page[User]`` or a function as its author wrote it; anything else by its repr."""
    name: str | None = getattr(thing, "__qualname__", None)  # an alias has that of its class
    arguments: object = getattr(thing, "__args__", None)
    if name is None or not arguments or not isinstance(arguments, tuple):
        return name or repr(thing)
    return f"{name}[{', '.join(map(name_of, arguments))}]"


class CqrsError(Exception):
    """The base of every error that this family of distributions raises on purpose."""

    def __str__(self) -> str:
        # KeyError, a base of some, would show the repr of the text.
        return str(self.args[0]) if self.args else ""


class InvalidOption(CqrsError, ValueError):
    """
    An option has a value that means nothing.

    Attributes:
        option: Its name.
        value: What it was given.
        expected: What it may be.
    """

    def __init__(self, option: str, value: object, expected: str) -> None:
        self.option = option
        self.value = value
        self.expected = expected
        super().__init__(f"{option} is {_shown(value)}. It must be {expected}.")


def _shown(value: object) -> str:
    try:
        return repr(value)
    except ValueError:  # of an int with more digits than Python writes
        return object.__repr__(value)


class ExtraMissing(CqrsError, ImportError):
    """
    A name was imported that needs a package which is not installed.

    Attributes:
        wanted: The name.
        package: What it needs; it is an extra of the same name.
    """

    def __init__(self, wanted: str, package: str) -> None:
        self.wanted = wanted
        self.package = package
        super().__init__(f'cqrs_core.{wanted} needs {package}. Install it: pip install "cqrs-core[{package}]".')
