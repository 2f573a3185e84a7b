"""Makes the tables, and tells what is wrong with those that are there."""

from __future__ import annotations

from cqrs_sqla.schema.checking import columns_of, is_of_python_cqrs, problems, problems_of
from cqrs_sqla.schema.making import create, ddl

__all__ = ["columns_of", "create", "ddl", "is_of_python_cqrs", "problems", "problems_of"]
