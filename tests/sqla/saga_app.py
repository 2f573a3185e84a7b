"""An App whose sagas ask services for what they do, which ``test_saga_workers.py`` plays in another process."""

from __future__ import annotations

import asyncio
import json
import os

import cqrs_core as cqrs


class Trip(cqrs.SagaContext):
    number: int


async def ask(what: str, trip: Trip) -> None:
    """Ask the services for something, by the keys of the step that is running."""
    step = cqrs.current_step()
    reader, writer = await asyncio.open_connection("127.0.0.1", int(os.environ["SERVICES_PORT"]))
    try:
        request = {
            "pid": os.getpid(),
            "number": trip.number,
            "what": what,
            "action": step.action.value,
            "key": str(step.act_key),
        }
        writer.write(json.dumps(request).encode() + b"\n")
        answer = (await reader.readline()).decode().strip()
    finally:
        writer.close()
    if answer == "declined":
        raise ValueError(f"{what} was declined")
    if answer != "done":
        raise ConnectionError(f"{what} has not answered")


class Asking(cqrs.SagaStepHandler[Trip, None]):
    compensation_retry = cqrs.RetryPolicy(max_attempts=3, delay_s=0.01)

    async def act(self, context: Trip) -> cqrs.SagaStepResult[Trip, None]:
        await ask(type(self).__name__, context)
        return self.result()

    async def compensate(self, context: Trip) -> None:
        await ask(type(self).__name__, context)


class Flight(Asking): ...


class Hotel(Asking): ...


class Hostel(Asking): ...


class Car(Asking): ...


class TripSaga(cqrs.Saga[Trip]):
    steps = [Flight, cqrs.Fallback(Hotel, Hostel), Car]


def make_app() -> cqrs.App:
    app = cqrs.App(
        "trips", storage=os.environ["DATABASE_URL"], sagas=cqrs.SagaOptions(lease_s=1.0, poll_s=0.1, max_concurrent=8)
    )
    app.sagas.bind(Trip, TripSaga)
    return app
