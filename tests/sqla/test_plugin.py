from __future__ import annotations

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

import cqrs_sqla
from cqrs_core.plugins import InvalidBackendOption, open_backend
from cqrs_sqla.errors import DriverRefused, UnknownOption
from cqrs_sqla.plugin import open_storage
from cqrs_sqla.tables import Tables, define_tables


@pytest.mark.parametrize("scheme", ["postgresql+asyncpg", "mysql+asyncmy", "mariadb+asyncmy"])
def test_a_url_leads_to_the_storage(scheme: str) -> None:
    storage = open_backend("storage", f"{scheme}://u:p@host/shop")

    assert isinstance(storage, cqrs_sqla.SqlAlchemyStorage)


async def test_the_storage_works_with_the_tables_in_the_database(
    engine: AsyncEngine, tables: Tables, database_url: str
) -> None:
    storage = open_backend("storage", database_url)

    await storage.start()
    await storage.stop()

    assert [table.name for table in tables] == [table.name for table in storage.tables]  # type: ignore[attr-defined]  # of ours
    assert engine.url.database is not None


def test_the_query_names_tables_and_sessions() -> None:
    storage = open_backend("storage", "sqlite:///shop.db?table_prefix=cqrs_&schema=main&session_from=container")

    assert AsyncSession is storage.takes
    assert define_tables(sa.MetaData(), prefix="cqrs_", schema="main").inbox.key == storage.tables.inbox.key  # type: ignore[attr-defined]  # of ours


def test_the_query_says_how_large_the_pool_is_and_the_rest_goes_to_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver's words stay text; those of the pool have their types."""
    made = []
    make_engine = cqrs_sqla.make_engine
    monkeypatch.setattr(
        "cqrs_sqla.engines.make_engine", lambda *a, **options: made.append((a, options)) or make_engine(*a, **options)
    )

    open_backend(
        "storage",
        "postgresql+asyncpg://u:p@host/shop?pool_size=3&max_overflow=0&pool_timeout=1.5&pool_recycle=60"
        "&pool_pre_ping=yes&echo=no&isolation_level=REPEATABLE%20READ&ssl=require&application_name=the%20shop",
    )

    ((address,), options) = made[0]
    assert "postgresql+asyncpg://u:p@host/shop?ssl=require&application_name=the+shop" == address
    assert {
        "pool_size": 3,
        "max_overflow": 0,
        "pool_timeout": 1.5,
        "pool_recycle": 60,
        "pool_pre_ping": True,
        "echo": False,
        "isolation_level": "REPEATABLE READ",
    } == options


def test_an_option_that_is_misspelt_does_not_reach_the_driver() -> None:
    with pytest.raises(UnknownOption, match="no option 'pool_sise'. Did you mean 'pool_size'?"):
        open_storage("sqlite:///shop.db", pool_sise="3")


def test_an_option_of_the_wrong_type_is_refused() -> None:
    with pytest.raises(InvalidBackendOption, match="'pool_size' .* must be an integer"):
        open_backend("storage", "sqlite:///shop.db?pool_size=many")


def test_errors_of_the_engine_are_the_storage_s() -> None:
    with pytest.raises(DriverRefused):
        open_backend("storage", "postgresql+psycopg2://u:p@host/shop")
