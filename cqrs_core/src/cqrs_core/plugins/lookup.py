"""Finds who offers the backend that a program names, and explains it when nobody does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cqrs_core.plugins.discovery import discovery
from cqrs_core.plugins.errors import BackendAmbiguous, BackendNotFound, WrongBackendKind
from cqrs_core.plugins.facts import Offer, canonical
from cqrs_core.plugins.hooks import builtin_plugin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cqrs_core.errors import CqrsError
    from cqrs_core.plugins.backends import Kind
    from cqrs_core.plugins.facts import Plugin
    from cqrs_core.plugins.specs import Spec

#: What the extras of cqrs-core bring: names, and schemes with ``://``. For hints while they are not installed.
EXTRAS: dict[str, tuple[Kind, str]] = {
    "aiobreaker": ("circuit_breaker", "breaker"),
    "kafka": ("broker", "kafka"),
    "kafka://": ("broker", "kafka"),
    "mariadb://": ("storage", "sqla"),
    "mysql://": ("storage", "sqla"),
    "postgresql://": ("storage", "sqla"),
    "sqlalchemy": ("storage", "sqla"),
    "sqlite://": ("storage", "sqla"),
}


def find(spec: Spec) -> Offer:
    """
    Find the one backend that *spec* means. What is built in is found without looking for plug-ins.

    Raises:
        BackendAmbiguous: Several plug-ins offer it.
        BackendNotFound: None does, or only one that does not work.
        WrongBackendKind: It is there, as something else.
        PluggyMissing: Plug-ins are installed that cannot be loaded.
    """
    offers = _fitting(spec, [builtin_plugin()])
    for selects in () if offers else _selections(spec):
        plugins = discovery().plugins(selects)
        offers = _fitting(spec, plugins)
        # A broken plug-in keeps its name, until it is switched off: better no broker than another than was meant.
        if offers or any(plugin.status in {"failed", "incompatible"} for plugin in plugins):
            break
    if len(offers) > 1:
        raise BackendAmbiguous(spec.spelt(spec.name), offers)
    if not offers:
        raise _explanation(spec, [builtin_plugin(), *discovery().plugins()])
    return offers[0]


def _selections(spec: Spec) -> list[Callable[[Plugin], bool]]:
    """
    Tell in which plug-ins to look, one selection after the other.

    First in those whose entry point is called like what is wanted. So a stranger that is slow or broken costs nothing
    and says nothing when another is asked for, nor can it spoil a name by which people know another: ``kafka`` is what
    the plug-in ``kafka`` offers, whatever else is installed. Who means the stranger's writes ``stranger:kafka``.
    """
    if spec.distribution:
        return [lambda plugin: canonical(plugin.distribution) == canonical(spec.distribution)]
    return [lambda plugin: plugin.entry_point == spec.family, lambda _: True]


def _fitting(spec: Spec, plugins: Iterable[Plugin]) -> list[Offer]:
    return [offer for offer in _offers(spec, plugins) if offer.backend.kind == spec.kind and spec.fits(offer.backend)]


def _offers(spec: Spec, plugins: Iterable[Plugin]) -> list[Offer]:
    """List what is offered by the distribution that *spec* names, or by any if it names none."""
    return [
        Offer(plugin, backend)
        for plugin in plugins
        if canonical(spec.distribution) in ("", canonical(plugin.distribution))
        for backend in plugin.backends
    ]


def _explanation(spec: Spec, plugins: list[Plugin]) -> CqrsError:
    """Say what there is instead, and what could be installed."""
    installed = {canonical(plugin.distribution) for plugin in plugins}
    commands = {
        name: f'pip install "cqrs-core[{extra}]"'
        for name, (_, extra) in EXTRAS.items()
        if f"cqrs-{extra}" not in installed and canonical(spec.distribution) in ("", f"cqrs-{extra}")
    }
    wanted = spec.spelt(spec.family)
    hint = f"Install it: {commands[wanted]}. " if wanted in commands else ""
    kinds = [offer.backend.kind for offer in _offers(spec, plugins) if spec.fits(offer.backend)]
    kind = kinds[0] if kinds else EXTRAS.get(wanted, (spec.kind,))[0]
    if kind != spec.kind:
        return WrongBackendKind(str(spec), kind=spec.kind, actual_kind=kind, hint=hint)
    offers = [Offer(plugin, backend) for plugin in plugins for backend in plugin.backends if backend.kind == kind]
    broken = [plugin for plugin in plugins if plugin.status != "ok"]
    available = _spellings(spec, offers)
    extras = {name: command for name, command in commands.items() if EXTRAS[name][0] == kind}
    return BackendNotFound(
        kind, str(spec), available=available, plugins=broken, hint=hint or _near_miss(str(spec), available, extras)
    )


def _spellings(spec: Spec, offers: Iterable[Offer]) -> list[str]:
    """Write what could be given instead, in the way in which *spec* is written."""
    return sorted(
        {
            spec.spelt(name, offer.plugin.distribution if spec.distribution else "")
            for offer in offers
            for name in (offer.backend.schemes if spec.is_url else (offer.backend.name,))
        }
    )


def _near_miss(wanted: str, available: Iterable[str], extras: dict[str, str]) -> str:
    from difflib import get_close_matches  # noqa: PLC0415 - only those need it who made a mistake

    # By what is before the ``://``, which is alike in all of them.
    bare = {name.partition("://")[0]: name for name in [*available, *extras]}
    return "".join(
        f"Did you mean {bare[near]!r}? " + (f"It comes with {extras[bare[near]]}. " if bare[near] in extras else "")
        for near in get_close_matches(wanted.partition("://")[0], bare, n=1)
    )
