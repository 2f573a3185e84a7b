"""The variables that name the servers that are measured, as ``scripts/services`` sets them."""

from __future__ import annotations

SERVER = "TEST_POSTGRES_URL"
#: On it, only the relay is measured.
MARIADB_SERVER = "TEST_MARIADB_URL"
#: Without it, no Kafka is.
KAFKA_SERVER = "TEST_KAFKA_BOOTSTRAP"
