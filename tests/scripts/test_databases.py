from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if sys.platform != "linux":
    pytest.skip("scripts/services reads the processes of Linux", allow_module_level=True)

from servers.control import Control
from servers.mariadb import MARIADB
from servers.postgres import POSTGRES
from servers.processes import Patience, is_running
from servers.service import Server, Service, ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[2]
DATABASES = [
    pytest.param(
        service,
        id=service.name,
        marks=pytest.mark.skipif(
            service.installed_at() is None, reason=f"{service.program} is not installed: scripts/services start"
        ),
    )
    for service in (POSTGRES, MARIADB)
]
ONLY_POSTGRES, ONLY_MARIADB = DATABASES[:1], DATABASES[1:]


def client(service: Service, port: int) -> list[str]:
    """Answer the command of the server's own client, which takes one more word: SQL."""
    if service is POSTGRES:
        psql = Path(str(service.installed_at())).resolve().with_name("psql")
        return [str(psql), "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", service.url(port), "--command"]
    options = ["--no-defaults", "--user=test", "--host=127.0.0.1", f"--port={port}", "--database=test"]
    return ["mariadb", *options, "--skip-column-names", "--execute"]


def run(service: Service, server: Server, sql: str) -> subprocess.CompletedProcess[str]:
    command = [*client(service, server.port), sql]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


@dataclass(frozen=True)
class Database:
    """A service in a folder, and the control over it."""

    service: Service
    folder: Path
    control: Control

    def start(self) -> Server:
        return self.control.start(self.service)

    def refuses(self, sql: str) -> str:
        """Answer what the client says about it."""
        done = run(self.service, self.start(), sql)
        assert 0 != done.returncode
        return done.stderr

    def ask(self, sql: str) -> str:
        done = run(self.service, self.start(), sql)
        assert 0 == done.returncode, done.stderr
        return done.stdout.strip()


@contextlib.contextmanager
def open_folder() -> Iterator[Path]:
    """Make one below the temporary folder; pytest's only its owner enters, and root starts servers as somebody else."""
    with tempfile.TemporaryDirectory(prefix="cqrs-databases-test-") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder) / "services"


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as folder:
        yield folder


@pytest.fixture(params=DATABASES)
def database(request: pytest.FixtureRequest, folder: Path) -> Iterator[Database]:
    """One of its own, for a test that ends it."""
    database = Database(request.param, folder, Control(folder, answers_within_s=3))
    yield database
    database.control.stop(database.service)


@pytest.fixture(scope="module")
def both() -> Iterator[dict[Service, Database]]:
    with open_folder() as folder:
        control = Control(folder)
        yield {service: Database(service, folder, control) for service in (POSTGRES, MARIADB)}
        for service in (POSTGRES, MARIADB):
            control.stop(service)


@pytest.fixture(params=DATABASES)
def shared(request: pytest.FixtureRequest, both: dict[Service, Database]) -> Database:
    """For tests that only ask: who starts it finds the one that was started for the test before."""
    return both[request.param]


# What runs ----------------------------------------------------------------------------------------------------------


def test_its_user_creates_and_drops_databases(shared: Database) -> None:
    shared.ask("CREATE DATABASE another_one")

    shared.ask("DROP DATABASE another_one")

    assert "another_one" in shared.refuses("DROP DATABASE another_one")


def test_the_server_of_another_is_not_taken_for_ours(shared: Database) -> None:
    """It answers on the port, and is not the process that was asked about."""
    server = shared.start()

    assert shared.service.is_ready(server)
    assert not shared.service.is_ready(replace(server, pid=os.getpid()))


@pytest.mark.parametrize("shared", ONLY_POSTGRES, indirect=True)
def test_postgres_is_as_in_production_and_ready_for_logical_replication(shared: Database) -> None:
    names = ["fsync", "full_page_writes", "synchronous_commit", "wal_level", "max_connections", "server_encoding"]

    settings = json.loads(shared.ask(f"SELECT json_build_array({', '.join(f'current_setting({n!r})' for n in names)})"))

    assert ["on", "on", "on", "logical", "200", "UTF8"] == settings


@pytest.mark.parametrize("shared", ONLY_MARIADB, indirect=True)
def test_mariadb_is_as_in_production_and_speaks_unicode(shared: Database) -> None:
    names = ["character_set_server", "default_storage_engine", "innodb_flush_log_at_trx_commit"]

    settings = json.loads(shared.ask(f"SELECT json_array({', '.join(f'@@{name}' for name in names)})"))

    assert ["utf8mb4", "InnoDB", 1] == settings


@pytest.mark.parametrize("shared", ONLY_POSTGRES, indirect=True)
def test_postgres_runs_no_programs_for_whoever_logs_in(shared: Database) -> None:
    """Nobody has a password, so everybody on the machine could have them run by the account of the server."""
    assert "must be superuser" in shared.refuses("COPY (SELECT 1) TO PROGRAM 'true'")

    superuser = [word.replace("test@", "postgres@") for word in client(POSTGRES, shared.start().port)]
    refused = subprocess.run([*superuser, "SELECT 1"], check=False, capture_output=True, text=True, timeout=60)
    assert "not permitted to log in" in refused.stderr


@pytest.mark.parametrize("shared", ONLY_MARIADB, indirect=True)
@pytest.mark.parametrize("sql", ["SELECT 1 INTO OUTFILE 'one'", "UPDATE mysql.global_priv SET Priv = '{}'"])
def test_mariadb_writes_neither_files_nor_rights_for_whoever_logs_in(shared: Database, sql: str) -> None:
    """Nobody has a password, so everybody on the machine could have them written by the account of the server."""
    assert "denied" in shared.refuses(sql)


# Start and stop -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("service", DATABASES)
def test_it_serves_between_start_and_stop(service: Service, folder: Path) -> None:
    """Through the shell, as people and CI do it; a second start prints the same line."""
    services, options = f"{shlex.quote(sys.executable)} scripts/services", f"{service.name} --folder {folder}"
    script = f"""
        trap '{services} stop {options}' EXIT
        first="$({services} start {options})"
        second="$({services} start {options})"
        eval "$second"
        echo "$first"
        echo "$second"
        echo "export {service.variable}=${service.variable}"
        {services} status {options}
    """
    bash = str(shutil.which("bash"))
    done = subprocess.run([bash, "-c", script], check=True, cwd=ROOT, capture_output=True, text=True, timeout=100)

    (line,) = set(done.stdout.splitlines())
    assert line.startswith(f"export {service.variable}={service.url(0).partition(':0/')[0]}:"), done.stderr
    assert 4 == len(done.stdout.splitlines())
    assert f"{service.name}: stopped" in done.stderr
    assert not folder.exists()


def test_what_was_committed_outlives_a_kill(database: Database) -> None:
    """Nobody has to be told a new address."""
    killed = database.start()
    database.ask("CREATE TABLE kept (number INT)")
    database.ask("INSERT INTO kept VALUES (4711)")
    os.kill(killed.pid, signal.SIGKILL)
    assert Patience().wait(lambda: not is_running(killed), within_s=30)

    server = database.start()

    assert killed.port == server.port
    assert "4711" == database.ask("SELECT number FROM kept")


def test_a_frozen_one_is_replaced_and_its_data_kept(database: Database, freeze: Callable[[int], None]) -> None:
    """The kernel takes connections in its stead, so only an answer counts."""
    frozen = database.start()
    database.ask("CREATE TABLE kept (number INT)")
    freeze(frozen.pid)

    database.start()

    assert not is_running(frozen)
    assert "0" == database.ask("SELECT count(*) FROM kept")


def test_what_others_put_into_its_folder_is_not_removed(database: Database) -> None:
    server = database.start()
    precious = database.folder / database.service.name / "precious.txt"
    precious.write_text("mine", encoding="utf-8")

    with pytest.raises(ServiceError, match="holds what was not made here: precious.txt"):
        database.control.stop(database.service)

    assert "mine" == precious.read_text(encoding="utf-8")
    assert not is_running(server)
    precious.unlink()


@pytest.mark.parametrize("database", ONLY_POSTGRES, indirect=True)
def test_postgres_ends_although_clients_are_connected(database: Database) -> None:
    """It tells them, which it could not if it had been killed."""
    command = [*client(POSTGRES, database.start().port), "SELECT pg_sleep(600)"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as waiting:
        asleep = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        assert Patience().wait(lambda: "1" == database.ask(asleep), within_s=30)

        database.control.stop(POSTGRES)

        assert "terminating connection due to administrator command" in waiting.communicate(timeout=30)[1]
