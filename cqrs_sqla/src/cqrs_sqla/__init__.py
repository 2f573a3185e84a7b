"""
SQL databases for :mod:`cqrs_core`, through SQLAlchemy 2: **empty in this version**.

It will hold the outbox, the inbox, the unit of work and the saga storage on PostgreSQL, MariaDB/MySQL and SQLite.
Version 0.1 reserves the name and pins the dependencies; there is nothing to import yet.
"""

__version__ = "0.1.0"

__all__: list[str] = []
