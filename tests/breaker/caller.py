"""
A process that uses a circuit, and is told what to do line by line: ``acquire``, ``succeed``, ``fail``, ``end``.

Run as ``python caller.py REDIS_URL NAMESPACE OPEN_FOR_S``. It answers each line: ``passed``, ``refused``, ``done``.
"""

from __future__ import annotations

import asyncio
import sys

import redis

from cqrs_breaker import AioBreakerAdapter, CircuitRedisStorage
from cqrs_core.breaker import Permit
from cqrs_core.errors import CircuitOpen


async def main(url: str, namespace: str, open_for_s: str) -> None:
    storage = CircuitRedisStorage("closed", redis.Redis.from_url(url), namespace)
    breaker = AioBreakerAdapter(1, float(open_for_s), storage_factory=lambda _name: storage)
    permits: list[Permit] = []
    while (word := (await asyncio.to_thread(sys.stdin.readline)).strip()) != "end":
        answer = "done"
        if word == "acquire":
            try:
                permits.append(await breaker.acquire("Pay.handle"))
                answer = "passed"
            except CircuitOpen:
                answer = "refused"
        elif word == "succeed":
            await permits.pop().succeeded()
        else:
            await permits.pop().failed(ConnectionError())
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
