"""Makes topics before they are measured with: one that comes with its first message is waited for, and warned of."""

from __future__ import annotations

from aiokafka.admin import AIOKafkaAdminClient, NewTopic


async def make_topic(server: str, name: str, *, partitions: int) -> None:
    """Make a topic on a single node; one that is there is left as it is."""
    admin = AIOKafkaAdminClient(bootstrap_servers=server)
    await admin.start()
    await admin.create_topics([NewTopic(name, partitions, 1)])
    await admin.close()
