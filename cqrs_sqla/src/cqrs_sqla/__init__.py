"""
SQL databases for :mod:`cqrs_core`, through SQLAlchemy 2: **their names, and nothing behind them yet**.

It will hold the outbox, the inbox, the unit of work and the saga storage on PostgreSQL, MariaDB/MySQL and SQLite. In
version 0.1 ``plugin`` registers the storage ``sqlalchemy`` with the schemes of these databases; who asks for it is told
that it is not built yet.
"""

__version__ = "0.1.0"

__all__: list[str] = []
