"""Kafka under the names that users of python-cqrs know: a message sent by hand, and what a handler's events become."""

import asyncio
import os

import cqrs_core as cqrs
from cqrs_core.bootstrap import bootstrap
from cqrs_kafka import KafkaMessageBroker, Message, kafka_producer_factory

SERVER = os.environ.get("KAFKA", "localhost:9092")
TOPIC = "user_notification_events"


class Joined(cqrs.Response):
    user_id: str
    meeting_id: str


class JoinMeeting(cqrs.Request):
    user_id: str
    meeting_id: str


class JoinMeetingHandler(cqrs.RequestHandler[JoinMeeting, None]):
    async def handle(self, request: JoinMeeting) -> None:
        joined = Joined(user_id=request.user_id, meeting_id=request.meeting_id)
        event = cqrs.NotificationEvent[Joined](
            event_name="UserJoined", topic=TOPIC, payload=joined, key=request.user_id
        )
        self.events.append(event)


class Greet(cqrs.EventHandler[cqrs.NotificationEvent[Joined]]):
    async def handle(self, event: cqrs.NotificationEvent[Joined]) -> None:
        print(f"{event.payload.user_id} joined {event.payload.meeting_id}")
        greeted.set()


producer = kafka_producer_factory(dsn=SERVER, topics=[TOPIC])  # connects when the first message is sent
broker = KafkaMessageBroker(producer)
mediator = bootstrap(
    message_broker=broker, commands_mapper=lambda commands: commands.bind(JoinMeeting, JoinMeetingHandler)
)
greeted = asyncio.Event()
door = cqrs.App("door", broker=f"kafka://{SERVER}")
door.events.bind(cqrs.NotificationEvent[Joined], Greet)
door.consume(TOPIC, {"UserJoined": cqrs.NotificationEvent[Joined]})


async def main() -> None:
    async with door.running():
        await mediator.send(JoinMeeting(user_id="ada", meeting_id="m-1"))
        await greeted.wait()
        await broker.send_message(Message(message_name="Raw", topic="raw_events", payload={"anything": "as JSON"}))
    await producer.stop()


if __name__ == "__main__":
    asyncio.run(main())
