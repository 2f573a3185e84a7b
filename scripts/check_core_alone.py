"""
Prove that the core stands alone: one distribution is installed, and no module of it loads anything foreign.

Run by the Python of an environment that holds nothing but the core's wheel: ``python -I scripts/check_core_alone.py``.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import pkgutil
import sys

PACKAGE = "cqrs_core"
#: Installed by the environment itself, where it is.
INSTALLERS = frozenset({"pip", "setuptools", "wheel"})
#: The modules that may import third parties, each for its own users.
MAY_LOAD_OTHERS = (f"{PACKAGE}.integrations", f"{PACKAGE}.testing")


def installed() -> set[str]:
    """Answer the names of the installed distributions, without the installers."""
    return {distribution.metadata["Name"] for distribution in importlib.metadata.distributions()} - INSTALLERS


def own_modules() -> list[str]:
    """Answer the modules that must live on the standard library, without importing those that need not."""

    def below(path: list[str], prefix: str) -> list[str]:
        names = []
        for module in pkgutil.iter_modules(path, prefix):
            if module.name in MAY_LOAD_OTHERS:
                continue
            names.append(module.name)
            if module.ispkg:
                names += below(list(importlib.import_module(module.name).__path__), f"{module.name}.")
        return names

    return [PACKAGE, *below(list(importlib.import_module(PACKAGE).__path__), f"{PACKAGE}.")]


def foreign(names: set[str]) -> list[str]:
    """Answer the top-level modules among *names* that are neither the core's nor the standard library's."""
    tops = {name.partition(".")[0] for name in names}
    return sorted(tops - sys.stdlib_module_names - {PACKAGE})


def main() -> int:
    """Check, say what was found, and answer the exit code."""
    before = set(sys.modules)  # an environment's .pth files may have run already
    distributions = installed()
    modules = own_modules()
    for name in modules:
        importlib.import_module(name)
    loaded = foreign(set(sys.modules) - before)
    print(f"distributions: {', '.join(sorted(distributions)) or 'none'}")
    print(f"{len(modules)} modules imported; foreign modules loaded: {', '.join(loaded) or 'none'}")
    return 0 if distributions == {"cqrs-core"} and not loaded else 1


if __name__ == "__main__":
    sys.exit(main())
