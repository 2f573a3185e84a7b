"""The variables that name the servers that are measured, as ``scripts/services`` sets them."""

from __future__ import annotations

SERVER = "TEST_POSTGRES_URL"
#: On it, the relay and sagas are measured, and what is written is not.
MARIADB_SERVER = "TEST_MARIADB_URL"
#: Without it, no Kafka is.
KAFKA_SERVER = "TEST_KAFKA_BOOTSTRAP"
