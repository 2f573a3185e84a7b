"""Requests and responses that are pydantic models. Needs ``pip install "cqrs-core[pydantic]"``."""

from __future__ import annotations

from typing import Generic

from pydantic import BaseModel

from cqrs_core.messages import R_co, Request, Response


class PydanticRequest(BaseModel, Request[R_co], Generic[R_co]):
    """A command or a query that is a pydantic model, answered by *R*."""


class PydanticResponse(BaseModel, Response):
    """A response that is a pydantic model."""
