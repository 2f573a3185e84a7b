from __future__ import annotations

from cqrs_core.plugins import Backend, hookimpl

CQRS_API = 1


@hookimpl
def cqrs_backend() -> list[Backend]:
    return [Backend(kind="broker", name="misspelt", factory="misspelt_cqrs.broker:Broker")]
