from __future__ import annotations

CQRS_API = 2
