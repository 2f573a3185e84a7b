"""What can go wrong with plug-ins and with the backends that they offer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cqrs_core.errors import CqrsError
from cqrs_core.plugins.backends import phrase

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cqrs_core.plugins.facts import Offer, Plugin


class PluginWarning(RuntimeWarning):
    """A plug-in that is installed cannot be used. It is told once; all others work."""


class PluggyMissing(CqrsError, ImportError):
    """
    Plug-ins are installed, but not pluggy, which loads them.

    Attributes:
        plugins: Those that cannot be loaded.
    """

    def __init__(self, plugins: Sequence[Plugin]) -> None:
        self.plugins = tuple(plugins)
        super().__init__(
            f"pluggy is not installed, and without it these cannot be loaded: {', '.join(map(str, self.plugins))}. "
            'Install it: pip install "cqrs-core[plugins]". Or switch plug-ins off: CQRS_CORE_DISABLE_PLUGINS=*.'
        )


class InvalidBackendSpec(CqrsError, ValueError):
    """
    What was given to choose a backend is neither a name nor a URL.

    Attributes:
        kind: What the backend was for.
        given: What was given, without passwords; its type in angle brackets, if it was no text.
    """

    def __init__(self, kind: str, given: str, problem: str) -> None:
        self.kind = kind
        self.given = given
        super().__init__(f"{kind}={given} {problem}")


class BackendNotFound(CqrsError, LookupError):
    """
    No plug-in that works offers the backend.

    Attributes:
        kind: What it was for.
        wanted: The name, or the scheme with ``://``.
        available: What could be given instead, written in the same way.
        plugins: Those that are installed and do not work: one of them may be what is missing.
    """

    def __init__(
        self, kind: str, wanted: str, *, available: Sequence[str], plugins: Sequence[Plugin], hint: str = ""
    ) -> None:
        self.kind = kind
        self.wanted = wanted
        self.available = tuple(available)
        self.plugins = tuple(plugins)
        verb = "answers to" if wanted.endswith("://") else "is called"
        text = f"No {kind.replace('_', ' ')} {verb} {wanted!r}. {hint}Available: {', '.join(available) or 'none'}."
        super().__init__("\n".join([text, *(f"Note: {plugin.complaint}" for plugin in plugins)]))


class WrongBackendKind(CqrsError, ValueError):
    """
    A backend was asked for as something that it is not.

    Attributes:
        wanted: Its name, or its scheme with ``://``.
        kind: What it was asked for as.
        actual_kind: What it is.
    """

    def __init__(self, wanted: str, *, kind: str, actual_kind: str, hint: str = "") -> None:
        self.wanted = wanted
        self.kind = kind
        self.actual_kind = actual_kind
        super().__init__(
            f"{wanted} is {phrase(actual_kind)}: give it as {actual_kind}=, not as {kind}=. {hint}".rstrip()
        )


class BackendAmbiguous(CqrsError, LookupError):
    """
    The backend that was asked for is offered by several plug-ins.

    Attributes:
        wanted: The name, or the scheme with ``://``.
        offers: Who offers it.
    """

    def __init__(self, wanted: str, offers: Sequence[Offer]) -> None:
        self.wanted = wanted
        self.offers = tuple(offers)
        who = ", and by ".join(str(offer.plugin) for offer in self.offers)
        names = " or ".join(repr(f"{offer.plugin.distribution}:{wanted}") for offer in self.offers)
        super().__init__(f"{wanted} is offered by {who}. Uninstall all but one, or say which: {names}.")


class BackendLoadError(CqrsError, RuntimeError):
    """
    The code of a backend failed when it was imported or made; what it raised is chained.

    Attributes:
        offer: The backend, and who offers it.
    """

    def __init__(self, offer: Offer, problem: str, cure: str) -> None:
        self.offer = offer
        super().__init__(f"The {offer} cannot be made: {offer.backend.factory} failed with {problem} {cure}")


class BackendIncomplete(CqrsError, TypeError):
    """
    What a plug-in made lacks methods that its kind promises.

    Attributes:
        offer: The backend, and who offers it.
        missing: The names of the methods.
    """

    def __init__(self, offer: Offer, made: object, missing: Sequence[str]) -> None:
        self.offer = offer
        self.missing = tuple(missing)
        super().__init__(
            f"The {offer} is not {phrase(offer.backend.kind)}: {offer.backend.factory} made an object of type "
            f"{type(made).__qualname__}, which lacks {', '.join(f'{name}()' for name in self.missing)}. Upgrade it "
            f"(pip install --upgrade {offer.plugin.distribution}), or tell its authors."
        )


class InvalidBackendOption(CqrsError, ValueError):
    """
    An option in the URL of a backend cannot be taken, or one that it needs is missing. Values are never quoted.

    Attributes:
        offer: The backend, and who offers it.
        option: The name of the option.
        known: The options that a URL can give to it.
    """

    def __init__(self, offer: Offer, option: str, problem: str, known: Sequence[str]) -> None:
        self.offer = offer
        self.option = option
        self.known = tuple(known)
        options = ", ".join(self.known) or "none"
        super().__init__(f"The option {option!r} of the {offer} {problem} Its options: {options}.")


class BackendNotBuilt(CqrsError, NotImplementedError):
    """
    The name of a backend is reserved, and this version of its distribution does not hold it yet.

    Attributes:
        name: What it will be called.
        distribution: Who will offer it.
        version: The distribution's version of today.
        meanwhile: What works without it.
    """

    def __init__(self, name: str, *, distribution: str, version: str, meanwhile: str) -> None:
        self.name = name
        self.distribution = distribution
        self.version = version
        self.meanwhile = meanwhile
        super().__init__(f"{name} is not built yet in {distribution} {version}. {meanwhile}")
