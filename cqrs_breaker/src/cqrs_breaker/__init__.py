"""
Circuit breakers for :mod:`cqrs_core`, on aiobreaker: **empty in this version**.

It will hold a breaker that stops calling a handler which keeps failing, kept in one process or shared through Redis.
Version 0.1 reserves the name and pins the dependencies; there is nothing to import yet.
"""

__version__ = "0.1.0"

__all__: list[str] = []
