"""
The codec against pydantic, msgspec and ``json.dumps(asdict())``: a five-line order, both ways.

Only ratios inside one run count: machines change their speed within minutes. So small batches of all contenders
alternate, each is compared with pydantic's batch of the same round, and the median of the rounds is held against the
bar. Needs pydantic and msgspec: ``python benchmarks/codec.py --rounds 100``.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import timeit
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
import pydantic

from cqrs_core.serialization import codec_for

if TYPE_CHECKING:
    from collections.abc import Callable

#: At most so many times pydantic's time (DESIGN.md, section 8).
BAR = 2.0 if sys.version_info < (3, 11) else 1.75
CALLS_PER_BATCH = 60
WARM_UP_ROUNDS = 3


class Status(Enum):
    NEW = "new"
    PAID = "paid"


@dataclass
class Line:
    sku: str
    quantity: int
    price: Decimal


@dataclass
class Order:
    id: UUID
    placed_at: datetime
    status: Status
    lines: list[Line]


@dataclass(frozen=True, slots=True, kw_only=True)
class FrozenLine:
    sku: str
    quantity: int
    price: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class FrozenOrder:
    id: UUID
    placed_at: datetime
    status: Status
    lines: list[FrozenLine]


def make_order(order: type[Any], line: type[Any]) -> Any:
    return order(
        id=UUID("12345678-1234-4234-8234-123456789abc"),
        placed_at=datetime(2026, 11, 24, 12, 30, 15, 123456, tzinfo=timezone.utc),
        status=Status.PAID,
        lines=[line(sku=f"sku-{n}", quantity=n + 1, price=Decimal("19.99") + n) for n in range(5)],
    )


def as_word(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else value.isoformat() if isinstance(value, datetime) else str(value)


def writers(value: Any) -> dict[str, Callable[[], bytes]]:
    adapter, codec, encoder = pydantic.TypeAdapter(type(value)), codec_for(type(value)), msgspec.json.Encoder()
    return {
        "pydantic": lambda: adapter.dump_json(value),
        "cqrs_core": lambda: codec.encode(value),
        "msgspec": lambda: encoder.encode(value),
        "json.dumps(asdict())": lambda: json.dumps(asdict(value), default=as_word).encode(),
    }


def readers(value: Any) -> dict[str, Callable[[], Any]]:
    order: Any = type(value)
    line: Any = type(value.lines[0])
    adapter, codec, decoder = pydantic.TypeAdapter(order), codec_for(order), msgspec.json.Decoder(order)
    data = codec.encode(value)

    def by_hand() -> Any:
        """Check nothing."""
        found = json.loads(data)
        return order(
            id=UUID(found["id"]),
            placed_at=datetime.fromisoformat(found["placed_at"]),
            status=Status(found["status"]),
            lines=[line(sku=x["sku"], quantity=x["quantity"], price=Decimal(x["price"])) for x in found["lines"]],
        )

    return {
        "pydantic": lambda: adapter.validate_json(data),
        "cqrs_core": lambda: codec.decode(data),
        "msgspec": lambda: decoder.decode(data),
        "json.loads, by hand": by_hand,
    }


def ratios(contenders: dict[str, Callable[[], Any]], rounds: int) -> dict[str, tuple[float, list[float]]]:
    """Give each contender's median time in microseconds and its sorted ratios to the first, one for each round."""
    timers = {name: timeit.Timer(call) for name, call in contenders.items()}
    names = list(timers)
    times: dict[str, list[float]] = {name: [] for name in names}
    gc.disable()
    for number in range(rounds + WARM_UP_ROUNDS):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            taken = timers[name].timeit(CALLS_PER_BATCH)
            if number >= WARM_UP_ROUNDS:
                times[name].append(taken)
    gc.enable()
    reference = times[names[0]]
    return {
        name: (
            statistics.median(times[name]) / CALLS_PER_BATCH * 1e6,
            sorted(own / other for own, other in zip(times[name], reference, strict=True)),
        )
        for name in names
    }


def report(title: str, results: dict[str, tuple[float, list[float]]]) -> bool:
    """Print one table; tell whether the codec keeps the bar."""
    is_kept = True
    print(f"\n{title}")
    for name, (time_us, found) in results.items():
        median, tenth = statistics.median(found), len(found) // 10
        verdict = ""
        if name == "cqrs_core":
            is_kept = median <= BAR
            verdict = f"  bar {BAR}: {'kept' if is_kept else 'MISSED'}"
        print(
            f"  {name:22} {time_us:8.2f} us  x {median:5.2f}  ({found[tenth]:.2f} to {found[-1 - tenth]:.2f}){verdict}"
        )
    return is_kept


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare the JSON codec with others.")
    parser.add_argument("--rounds", type=int, default=100, help="how many alternating rounds (default: 100)")
    rounds = parser.parse_args().rounds
    print(f"Python {sys.version.split()[0]}, pydantic {pydantic.VERSION}, msgspec {msgspec.__version__}")
    print("median time, median ratio to pydantic, and where 80 % of the rounds lie")
    are_kept = []
    for kind, order, line in (("plain", Order, Line), ("frozen, slots, kw_only", FrozenOrder, FrozenLine)):
        value = make_order(order, line)
        codec = codec_for(order)
        for way, contenders in (("read", readers(value)), ("write", writers(value))):
            for name, call in contenders.items():
                result = call()
                if (codec.decode(result) if way == "write" else result) != value:
                    raise SystemExit(f"{name} does not give the order")
            are_kept.append(report(f"{way}, {kind}", ratios(contenders, rounds)))
    return 0 if all(are_kept) else 1


if __name__ == "__main__":
    sys.exit(main())
