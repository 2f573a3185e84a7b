from __future__ import annotations

import pluggy

from cqrs_core.plugins import Backend

hookimpl = pluggy.HookimplMarker("cqrs_core")


@hookimpl
def cqrs_backends() -> list[Backend]:
    return [Backend(kind="broker", name="amqp", factory="beta_cqrs.broker:Broker", schemes=("amqp",))]
