"""
Circuit breakers for :mod:`cqrs_core`, on aiobreaker: **their name, and nothing behind it yet**.

It will hold a breaker that stops calling a handler which keeps failing, kept in one process or shared through Redis.
In version 0.1 ``plugin`` registers the circuit breaker ``aiobreaker``; who asks for it is told that it is not built
yet.
"""

__version__ = "0.1.0"

__all__: list[str] = []
