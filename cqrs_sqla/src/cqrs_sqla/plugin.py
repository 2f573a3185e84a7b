"""What this distribution offers to cqrs-core. It imports no SQLAlchemy: that is for whoever opens the storage."""

from __future__ import annotations

from typing import NoReturn

from cqrs_core.plugins import Backend, BackendNotBuilt, hookimpl
from cqrs_sqla import __version__

CQRS_API = 1


@hookimpl
def cqrs_backends() -> list[Backend]:
    """Offer the storage ``sqlalchemy``."""
    return [
        Backend(
            kind="storage",
            name="sqlalchemy",
            factory="cqrs_sqla.plugin:open_storage",
            schemes=("postgresql", "mysql", "mariadb", "sqlite"),
        ),
    ]


def open_storage(_address: str, **_options: str) -> NoReturn:
    """
    Say that there is no storage yet.

    Raises:
        BackendNotBuilt: Always, in this version.
    """
    raise BackendNotBuilt(
        "sqlalchemy",
        distribution="cqrs-sqla",
        version=__version__,
        meanwhile="Meanwhile leave the storage out: events then go to the broker without an outbox, at most once.",
    )
