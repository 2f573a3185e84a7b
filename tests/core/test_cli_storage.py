"""``cqrs db`` and ``cqrs outbox``, for any storage that can do what they ask."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cqrs_core.cli import main
from cqrs_core.errors import StorageUnavailable
from cqrs_core.storage import ConnectorConfig, ImportReport

if TYPE_CHECKING:
    from collections.abc import Sequence


#: Any file will do.
PLUGIN = Path(__file__)


class TablesStorage:
    """A storage that has tables, as far as the commands know."""

    def __init__(self, *problems: str, left: Sequence[str] = ()) -> None:
        self.problems = list(problems)
        self.left = left
        self.done: list[str] = []

    def ddl(self) -> str:
        return "CREATE TABLE outbox;\n"

    async def create(self) -> None:
        self.done.append("create")
        self.problems = self.problems[1:]

    async def check(self) -> list[str]:
        return self.problems

    async def import_outbox(self, table: str) -> ImportReport:
        return ImportReport(3, [f"{table}: {text}" for text in self.left])

    def debezium_config(self, name: str | None = None) -> ConnectorConfig:
        settings = {"name": name or "shop_outbox", "a:b c=d": "  Ж\\.\n", "secret": "${env:PASSWORD}"}
        return ConnectorConfig(settings, ("CREATE PUBLICATION shop;", "SELECT slot;"), PLUGIN)

    async def stop(self) -> None:
        self.done.append("stop")


class PlainStorage:
    """One that has none."""

    async def stop(self) -> None:
        """Nothing was begun."""


@pytest.fixture
def open_storage(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> TablesStorage:
    """What the URL leads to."""
    storage: TablesStorage = request.param
    monkeypatch.setattr(
        "cqrs_core.storage_commands.open_backend", lambda kind, url: {("storage", "db://x"): storage}[kind, url]
    )
    return storage


@pytest.mark.parametrize("open_storage", [TablesStorage("No table.")], indirect=True)
def test_ddl_writes_the_statements_and_nothing_else(
    open_storage: TablesStorage, capsys: pytest.CaptureFixture[str]
) -> None:
    """So that they can be piped."""
    assert 0 == main(["db", "ddl", "db://x"])

    assert "CREATE TABLE outbox;\n" == capsys.readouterr().out
    assert ["stop"] == open_storage.done


@pytest.mark.parametrize(
    ("open_storage", "code", "text"),
    [
        (TablesStorage(), 0, "The tables are as they should be.\n"),
        (TablesStorage("No table.", "No key."), 1, "No table.\nNo key.\n"),
    ],
    indirect=["open_storage"],
)
@pytest.mark.usefixtures("open_storage")
def test_check_tells_what_is_wrong(capsys: pytest.CaptureFixture[str], code: int, text: str) -> None:
    assert code == main(["db", "check", "db://x"])
    assert text == capsys.readouterr().out


@pytest.mark.parametrize(
    ("open_storage", "code", "text"),
    [
        (TablesStorage("No table."), 0, "The tables are as they should be.\n"),
        (TablesStorage("No table.", "No key."), 1, "No key.\n"),
    ],
    indirect=["open_storage"],
)
def test_create_makes_tables_and_tells_what_is_wrong_with_others(
    open_storage: TablesStorage, capsys: pytest.CaptureFixture[str], code: int, text: str
) -> None:
    assert code == main(["db", "create", "db://x"])
    assert text == capsys.readouterr().out
    assert ["create", "stop"] == open_storage.done


@pytest.mark.parametrize(
    ("open_storage", "code", "text"),
    [
        (TablesStorage(), 0, "Moved from old: 3. Left there: 0.\n"),
        (TablesStorage(left=["no topic."]), 1, "Moved from old: 3. Left there: 1.\nold: no topic.\n"),
    ],
    indirect=["open_storage"],
)
@pytest.mark.usefixtures("open_storage")
def test_import_tells_what_was_moved_and_what_was_left(
    capsys: pytest.CaptureFixture[str], code: int, text: str
) -> None:
    assert code == main(["outbox", "import", "db://x", "--from", "old"])
    assert text == capsys.readouterr().out


PROPERTIES = rf"""# Before, in the database, in this order:
#   CREATE PUBLICATION shop;
#   SELECT slot;
# In the worker's plugin.path: {PLUGIN.name}, which --plugin FOLDER copies there.
# In the environment of the worker: PASSWORD. In its own settings:
#   config.providers=env
#   config.providers.env.class=org.apache.kafka.common.config.provider.EnvVarConfigProvider
name=shop_outbox
a\:b\ c\=d=\  \u0416\\.\u000a
secret=${{env:PASSWORD}}
"""


@pytest.mark.parametrize("open_storage", [TablesStorage()], indirect=True)
@pytest.mark.usefixtures("open_storage")
def test_the_settings_of_debezium_are_a_file_for_the_worker(capsys: pytest.CaptureFixture[str]) -> None:
    """In Latin-1, as Java reads such files, with what has to be done before at its top."""
    assert 0 == main(["outbox", "debezium-config", "db://x"])
    assert PROPERTIES == capsys.readouterr().out


@pytest.mark.parametrize("open_storage", [TablesStorage()], indirect=True)
@pytest.mark.usefixtures("open_storage")
def test_the_settings_of_debezium_as_json_are_what_the_worker_takes_over_http(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The name beside the rest."""
    assert 0 == main(["outbox", "debezium-config", "db://x", "--json", "--name", "mine"])

    config = {"a:b c=d": "  Ж\\.\n", "secret": "${env:PASSWORD}"}
    assert {"name": "mine", "config": config} == json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("open_storage", [TablesStorage()], indirect=True)
@pytest.mark.usefixtures("open_storage")
def test_the_plugin_for_the_worker_is_copied_into_a_folder(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Which has to be there: where a worker does not look, it would be of no use."""
    assert 0 == main(["outbox", "debezium-config", "db://x", "--plugin", str(tmp_path)])
    assert PLUGIN.read_bytes() == (tmp_path / PLUGIN.name).read_bytes()

    assert 1 == main(["outbox", "debezium-config", "db://x", "--plugin", str(tmp_path / "not there")])
    assert "It must be a folder that is there, of the worker's plugin.path." in capsys.readouterr().err


@pytest.mark.parametrize("open_storage", [PlainStorage()], indirect=True)
@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["db", "check", "db://x"], "has no tables that could be made or checked."),
        (["db", "ddl", "db://x"], "has no tables that could be made or checked."),
        (["outbox", "import", "db://x", "--from", "old"], "cannot take over an outbox."),
        (["outbox", "debezium-config", "db://x"], "has no outbox that Debezium could send."),
    ],
)
@pytest.mark.usefixtures("open_storage")
def test_a_storage_that_cannot_do_it_is_named(
    capsys: pytest.CaptureFixture[str], arguments: list[str], problem: str
) -> None:
    assert 1 == main(arguments)
    assert f"NoSuchCommand: PlainStorage {problem}\n" == capsys.readouterr().err


@pytest.mark.parametrize("error", [StorageUnavailable("db://x", "no route."), OSError("disk full")])
@pytest.mark.parametrize("open_storage", [TablesStorage()], indirect=True)
def test_what_goes_wrong_is_told_and_the_storage_stopped(
    open_storage: TablesStorage, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async def fail() -> None:
        raise error

    monkeypatch.setattr(open_storage, "create", fail)
    open_storage.done.clear()

    assert 1 == main(["db", "create", "db://x"])
    assert str(error) in capsys.readouterr().err
    assert ["stop"] == open_storage.done


def test_an_unknown_storage_is_an_error_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert 1 == main(["db", "check", "nothing://x"])
    assert capsys.readouterr().err.startswith("BackendNotFound: ")


@pytest.mark.parametrize("arguments", [["db"], ["db", "check"], ["outbox", "import", "db://x"], ["outbox"]])
def test_what_is_left_out_is_asked_for(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)

    assert 2 == caught.value.code
    assert "required" in capsys.readouterr().err
