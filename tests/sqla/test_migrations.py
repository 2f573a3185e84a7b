"""What Alembic's autogenerate writes of a program's metadata is run as it was written."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from cqrs_sqla.storage import SqlAlchemyStorage
from cqrs_sqla.tables import Tables, define_tables

pytest.importorskip("alembic")

from alembic import command
from alembic.config import Config

CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

ENV = """
from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=context.config.attributes["metadata"],
    compare_type=True,
    compare_server_default=True,
    include_schemas=context.config.attributes["metadata"].schema is not None,
    render_as_batch=context.config.attributes["connection"].dialect.name == "sqlite",
)
with context.begin_transaction():
    context.run_migrations()
"""


class Migrations:
    """The migrations of a program, as Alembic keeps them in a folder."""

    def __init__(self, engine: AsyncEngine, metadata: sa.MetaData, folder: Path) -> None:
        self._engine = engine
        self.config = Config()
        self.config.set_main_option("script_location", str(folder))
        self.config.attributes["metadata"] = metadata
        template = Path(self.config.get_template_directory(), "generic", "script.py.mako")
        (folder / "versions").mkdir(parents=True)
        (folder / "env.py").write_text(ENV)
        shutil.copy(template, folder)

    async def run(self, do: Callable[..., object], *arguments: object, **options: object) -> None:
        def with_connection(connection: sa.Connection) -> None:
            self.config.attributes["connection"] = connection
            do(self.config, *arguments, **options)

        async with self._engine.begin() as connection:
            await connection.run_sync(with_connection)

    async def write(self, message: str) -> None:
        await self.run(command.revision, message, autogenerate=True)

    async def upgrade(self) -> None:
        await self.run(command.upgrade, "head")

    async def check(self) -> None:
        await self.run(command.check)


def own_tables(metadata: sa.MetaData) -> None:
    """Put on the metadata what a program might have there."""
    sa.Table("books", metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("title", sa.String(80)))
    sa.Table(
        "copies",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("book", sa.ForeignKey("books.id"), nullable=False),
        sa.Column("shelf", sa.String(20), index=True),
        sa.UniqueConstraint("book", "shelf"),
    )


@pytest.mark.parametrize("convention", [None, CONVENTION], ids=["unnamed", "named"])
async def test_a_migration_runs_as_it_was_written_and_leaves_nothing_to_change(
    empty_engine: AsyncEngine, tmp_path: Path, convention: dict[str, str] | None
) -> None:
    """Our tables beside the program's, types and defaults compared."""
    metadata = sa.MetaData(naming_convention=convention)
    own_tables(metadata)
    tables = define_tables(metadata)
    migrations = Migrations(empty_engine, metadata, tmp_path / "migrations")

    await migrations.write("first")
    await migrations.upgrade()

    await migrations.check()
    assert [] == await SqlAlchemyStorage(empty_engine, tables=tables).check()


async def test_tables_are_added_to_a_program_that_has_migrations(empty_engine: AsyncEngine, tmp_path: Path) -> None:
    """And taken out again by the way back."""
    metadata = sa.MetaData(naming_convention=CONVENTION)
    own_tables(metadata)
    migrations = Migrations(empty_engine, metadata, tmp_path / "migrations")
    await migrations.write("first")
    await migrations.upgrade()

    tables = define_tables(metadata, prefix="cqrs_")
    await migrations.write("second")
    await migrations.upgrade()

    await migrations.check()
    assert [] == await SqlAlchemyStorage(empty_engine, tables=tables).check()
    await migrations.run(command.downgrade, "-1")
    assert 8 == len(
        [text for text in await SqlAlchemyStorage(empty_engine, tables=tables).check() if "There is no table" in text]
    )


async def test_tables_that_create_all_made_need_no_migration(
    engine: AsyncEngine, tables: Tables, tmp_path: Path
) -> None:
    """Who began without Alembic finds nothing to change either."""
    await Migrations(engine, tables.metadata, tmp_path / "migrations").check()


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"], indirect=True)
async def test_tables_in_a_schema_are_migrated_there(empty_engine: AsyncEngine, tmp_path: Path) -> None:
    metadata = sa.MetaData(schema="shop")
    tables = define_tables(metadata)
    async with empty_engine.begin() as connection:
        await connection.execute(sa.schema.CreateSchema("shop"))
    migrations = Migrations(empty_engine, metadata, tmp_path / "migrations")

    await migrations.write("first")
    await migrations.upgrade()

    await migrations.check()
    assert [] == await SqlAlchemyStorage(empty_engine, tables=tables).check()


@pytest.mark.parametrize("driver", ["asyncpg"], indirect=True)
async def test_the_documented_line_has_the_outbox_swept_by_number(
    empty_engine: AsyncEngine, tables: Tables, tmp_path: Path
) -> None:
    """What SQLAlchemy 2.0 cannot say in a table is one more line of a migration."""
    migrations = Migrations(empty_engine, tables.metadata, tmp_path / "migrations")
    await migrations.write("first")
    (script,) = (tmp_path / "migrations" / "versions").glob("*.py")
    line = '    op.execute("ALTER TABLE outbox SET (autovacuum_vacuum_scale_factor = 0)")\n'
    text = script.read_text()
    script.write_text(text.replace("\n\ndef downgrade", f"{line}\n\ndef downgrade", 1))
    await migrations.upgrade()

    await migrations.check()
    async with empty_engine.connect() as connection:
        options = await connection.scalar(sa.text("SELECT reloptions FROM pg_class WHERE relname = 'outbox'"))
    assert ["autovacuum_vacuum_scale_factor=0"] == options
