"""What becomes of the connector: idle, killed, before rows of which no message can be made."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest


async def test_an_idle_outbox_does_not_keep_the_log_that_others_write(shop: Any, topics: Any) -> None:
    """The connector is done with it at each heartbeat, which goes to a topic of its own, and nothing else does."""
    await shop.connect(heartbeat_interval_ms="200")
    await shop.execute("CREATE TABLE others (number int)", "INSERT INTO others SELECT generate_series(1, 10000)")

    await shop.has_read_until(await shop.execute("SELECT pg_current_wal_lsn()::text"))

    assert [f"__debezium-heartbeat.{shop.name}"] == [name for name in await topics.names() if shop.name in name]
    assert "" == await shop.failure()


async def test_an_outbox_of_any_name_is_read(bare_shop: Any, topics: Any, topic: str, message: Any) -> None:
    """Debezium takes regular expressions, and lists of them; SQL wants quotes."""
    names = {"prefix": "My (1), ", "schema": "mail-Ж"}
    storage = bare_shop.storage(sent_by="debezium", **names)
    await bare_shop.execute('CREATE SCHEMA "mail-Ж"')
    await storage.create()
    await bare_shop.execute(*storage.debezium_config().preparation)
    await bare_shop.configure(f"table_prefix={quote(names['prefix'])}&schema={quote(names['schema'])}")
    await storage.start()
    await bare_shop.connect()
    await bare_shop.write(message("1", "a"), message("2", "a"), storage=storage)

    assert [b"1", b"2"] == [record.value for record in await topics.read(topic, 2)]
    assert "" == await bare_shop.failure()


async def test_only_what_is_inserted_is_sent(shop: Any, topics: Any, topic: str, message: Any) -> None:
    """Though a publication may tell of the rest, too: of what a relay postpones, and of what it deletes."""
    await shop.execute(f"ALTER PUBLICATION {shop.name} SET (publish = 'insert, update, delete, truncate')")
    await shop.connect()
    await shop.write(message("1", "a"))
    await shop.execute("UPDATE outbox SET attempts = 1", "DELETE FROM outbox", "TRUNCATE outbox")
    await shop.write(message("2", "a"))

    assert [b"1", b"2"] == [record.value for record in await topics.read(topic, 2)]
    assert "" == await shop.failure()


@pytest.fixture
def own_worker(worker: Any) -> Iterator[Any]:
    """One that a test may kill."""
    with tempfile.TemporaryDirectory(prefix="cqrs-connect-test-") as folder:
        Path(folder).chmod(0o711)
        own = type(worker)(Path(folder) / "services")
        own.start()
        yield own
        own.stop()


async def test_a_message_that_kafka_refuses_stops_the_connector(shop: Any, message: Any) -> None:
    """Where a relay would hold back its key alone; docs/debezium.md says how to let larger ones through."""
    await shop.write(message(bytes(2_000_000), "a"))
    await shop.post()

    async def has_stopped() -> bool:
        return "RecordTooLargeException" in await shop.failure()

    await shop.until(has_stopped, "it has stopped")


async def test_a_worker_that_is_killed_loses_nothing_and_keeps_the_order(
    *, own_worker: Any, shop: Any, topics: Any, topic: str, message: Any
) -> None:
    """What it had not noted, it sends again; who leaves out the ids that he has seen, has all in their order."""
    shop.use(own_worker)
    await shop.connect()
    storage = shop.storage(sent_by="debezium")
    sent = [message(f"{number}", f"key {number % 3}") for number in range(300)]
    for number, envelope in enumerate(sent):
        await shop.write(envelope, storage=storage)
        if number == 100:
            await topics.read(topic, 1)
            own_worker.kill()
    own_worker.start()
    await shop.connect()

    found = {dict(record.headers)["ce_id"]: record for record in await topics.read(topic, len(sent), by="ce_id")}
    for key in ("key 0", "key 1", "key 2"):
        expected = [envelope.body for envelope in sent if envelope.key == key]
        assert expected == [record.value for record in found.values() if record.key == key.encode()]


@pytest.mark.parametrize(
    ("headers", "problem"),
    [
        ([], "The headers of message 00000000-0000-0000-0000-000000000007 are no object."),
        ({"a": 1}, "A header of message 00000000-0000-0000-0000-000000000007 is no text."),
        ({"\uf8ff\xff": "a"}, "The name of a header of message 00000000-0000-0000-0000-000000000007 is no text"),
        ({"cqrs_compressed": "zstd"}, "is compressed as zstd, which only the relay undoes."),
        (
            {"cqrs_compressed": "deflate"},
            "The compressed body of message 00000000-0000-0000-0000-000000000007",
        ),
    ],
)
async def test_a_row_of_which_no_message_can_be_made_stops_the_connector(
    shop: Any, topic: str, headers: Any, problem: str
) -> None:
    """It is not passed over; the state of the connector tells which one it is, and why."""
    row = f"'00000000-0000-0000-0000-000000000007', 0, '{topic}', 'Happened', 'no zlib', '{json.dumps(headers)}', now()"
    columns = "id, slot, aggregatetype, type, payload, headers, created_at"
    await shop.execute(f"INSERT INTO outbox ({columns}) VALUES ({row})")  # noqa: S608 - ours
    await shop.post()

    async def has_stopped() -> bool:
        return problem in await shop.failure()

    await shop.until(has_stopped, problem)
