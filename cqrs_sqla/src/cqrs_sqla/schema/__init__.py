"""Makes the tables, and tells what is wrong with those that are there."""

from __future__ import annotations

from cqrs_sqla.schema.checking import columns_of, is_of_python_cqrs, problems_of
from cqrs_sqla.schema.making import ddl

__all__ = ["columns_of", "ddl", "is_of_python_cqrs", "problems_of"]
