from __future__ import annotations

from cqrs_core.plugins import Backend, hookimpl

CQRS_API = 1


@hookimpl
def cqrs_backends() -> list[Backend]:
    return [Backend(kind="broker", name="nats", factory="other_cqrs_nats.broker:Broker", schemes=("nats",))]
