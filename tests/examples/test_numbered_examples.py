"""Each numbered example is run alone, the way its reader runs it, and prints what it is there to show."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

DEADLINE_S = 60.0
PRINTED = {
    "01_send_a_request": """\
Good morning, Ada.
Ada? Never heard of.
""",
    "02_publish_domain_events": """\
placed o-1
packed o-1
receipt for o-1
carrier called for o-1
all of it is done when send returns
carrier called for o-2
""",
    "03_inject_dependencies": """\
  session opened on Monday
  it is Monday: buy milk (one session for the whole message: True)
  session closed
  session opened on a holiday
  it is a holiday: sleep in (one session for the whole message: True)
  session closed
""",
    "04_wrap_with_middlewares": """\
> Withdraw(amount=30)
  > Withdrawn(amount=30)
    30 taken
< 70
> Withdraw(amount=80)
< 100
""",
    "05_stream_answers": """\
To the end:
  event 2
  2
  event 1
  1
  event 0
  0
  the handler is closed
Left early:
  event 1000
  1000
  the handler is closed
""",
    "06_chain_of_responsibility": """\
  asked the cache
tea: 2.50 (cached)
  asked the cache
  asked the catalogue
coffee: 3.20
  asked the cache
  asked the catalogue
cake: about 5, not in the catalogue
  asked the cache
  asked the catalogue
love: None
""",
    "07_choose_how_events_run": """\
At most 1 at a time, errors: raise
  mail about p-1: begun
  mail about p-1: sent
  label for p-1: begun
  errors: ['out of paper'], answer: p-1 is on its way
At most 2 at a time, errors: raise
  mail about p-1: begun
  label for p-1: begun
  mail about p-1: sent
  errors: ['out of paper'], answer: p-1 is on its way
At most 1 at a time, errors: log
  mail about p-1: begun
  mail about p-1: sent
  label for p-1: begun
  log: ERROR: OSError('out of paper')
  answer: p-1 is on its way
""",
    "08_write_messages_your_way": """\
Plain says one
Options says two
Decorated says three
ByHand says FOUR
Plain(text='one', tags=['a']) True
False
FOUR
""",
    "09_pydantic_messages": """\
{"seats":2}
Booked(seats=2)
Input should be greater than or equal to 1
""",
    "10_bootstrap_like_python_cqrs": """\
once, before the first message
added map
added handler
['m', 'a', 'p']
added elsewhere
""",
    "11_read_wiring_errors": """\
5 wiring problems:
1. NotAsync.handle cannot be run: it must be an `async def` without `yield`.
2. Open is bound to OpenHandler twice. Remove one of the two.
3. Close promises str, but CloseHandler answers with int. Make the two type parameters agree.
4. Lock is bound to OpenHandler, which handles Open. Bind a handler of Lock, or correct the type parameters of \
OpenHandler.
5. Alarm cannot be built (needed by OpenHandler): nobody provides str for its parameter 'pin'. Register it: \
container.transient(str, a_factory), or give the parameter a default.
for programs: HandlerNotAsync, DuplicateHandler, WrongResponse, WrongHandler, MissingDependency
""",
    "12_publish_and_consume": """\
OrderPlaced in orders: pack o-1 for Ada
OrderPlaced in orders: pack o-2 for Ada
OrderPlaced in orders: pack o-3 for Ada
""",
    "13_retry_and_dead_letters": """\
open: attempt 1
closed: attempt 1
closed: given up: no such account
open: attempt 2
open: attempt 3
open: paid
""",
    "15_try_again_or_fall_back": """\
sku-0: 9.50, as printed last year (calls so far: 3)
sku-1: 9.50, as printed last year (calls so far: 6)
sku-2: 9.50, as printed last year (calls so far: 6)
sku-3: 9.50, as printed last year (calls so far: 6)
""",
    "14_handle_batches": """\
to store: [20, 21, 22]
to store: [23, 24, 25]
  not 23: the disk is full
to store: [23, 24, 25]
to store: [26]
stored: [20, 21, 22, 23, 24, 25, 26]
""",
    "16_send_to_kafka_like_python_cqrs": """\
ada joined m-1
""",
    "17_produce_from_the_outbox_to_kafka": """\
sent: {"user_id":"ada"}
sent: {"user_id":"grace"}
""",
    "18_run_a_saga": """\
  the warehouse knows of tea
  ReserveInventory: r-tea
  ProcessPayment: paid 3.5
  the warehouse knows of gold
  ReserveInventory: r-gold
  released: r-gold
  nothing is left of gold, because the card was declined
""",
    "19_fall_back_in_a_saga": """\
  asked the warehouse about 1
  done by FallbackStep
  done by Charge
  asked the warehouse about 2
  done by FallbackStep
  done by Charge
  done by FallbackStep
  cancelled: fallback_reservation_3
  undone: the card was declined
""",
    "20_recover_a_saga": """\
  reserves
Somebody else goes on:
  charges what is reserved, with a key (of version 5)
  Reserve - act - completed
  Charge - act - completed
Started again, with the same id, it is done, and nothing is:
[]
""",
    "22_recover_sagas_on_a_schedule": """\
  gold is released
['completed', 'failed']
""",
    "23_follow_a_saga_by_server_sent_events": """\
data: tea: Reserve
data: tea: ReserveMore
data: done
data: cake: Reserve (and the browser leaves)
data: done
""",
    "21_draw_a_saga": """\
sequenceDiagram
    participant C as OrderSaga
    participant S1 as Reserve
    participant S2 as Pay
    C->>S1: act(OrderContext)
    S1-->>C: None
    Note over S2: the point of no return
    C->>S2: act(OrderContext)
    S2-->>C: None
    opt a step fails, and there is a way back
        C->>S1: compensate(OrderContext)
    end

classDiagram
    class Saga["OrderSaga"] {
        <<saga>>
    }
    class H1["Reserve"] {
        +act(OrderContext) None
        +compensate(OrderContext)
    }
    class H2["Pay"] {
        +act(OrderContext) None
        +compensate(OrderContext)
    }
    class M1["OrderContext"] {
        +order_id: str
    }
    Saga --> H1 : 1
    Saga --> H2 : 2
    H1 ..> M1 : works on
    H2 ..> M1 : works on

stateDiagram-v2
    state "act Reserve" as A1
    state "undo Reserve" as U1
    state "act Pay" as A2
    [*] --> A1
    A1 --> A2 : done
    A1 --> FAILED : fails
    A1 --> U1 : in doubt
    U1 --> FAILED : undone
    U1 --> SUSPENDED : cannot be undone
    A2 --> COMPLETED : done
    A2 --> U1 : fails
    A2 --> SUSPENDED : in doubt
    COMPLETED --> [*]
    FAILED --> [*]

  (reserved for o-1)
  (reserved for o-1)
flowchart LR
    B(["OrderSaga"])
    E1["act Reserve<br>completed"]
    B --> E1
    class E1 completed
    E2["act Pay<br>completed"]
    E1 --> E2
    class E2 completed
    classDef completed fill:#d5f0d5,stroke:#2e7d32,color:#000
    classDef failed fill:#f8d7d7,stroke:#b71c1c,color:#000
    classDef in_doubt fill:#fdeac2,stroke:#b26a00,color:#000
""",
}
#: Which need servers, and are told where they are.
WITH_KAFKA = ["16_send_to_kafka_like_python_cqrs", "17_produce_from_the_outbox_to_kafka"]


@pytest.mark.parametrize("name", [name for name in PRINTED if name not in WITH_KAFKA])
def test_an_example_prints_what_it_shows(
    name: str, examples: Path, tmp_path: Path, plain_environment: dict[str, str]
) -> None:
    """It runs from any folder, alone, warns of nothing, and its output is exactly what the reader is promised."""
    ran = run(examples / f"{name}.py", tmp_path, plain_environment)

    assert (0, "", PRINTED[name]) == (ran.returncode, ran.stderr, ran.stdout)


@pytest.mark.parametrize("storage", ["mariadb"], indirect=True)
@pytest.mark.parametrize("name", WITH_KAFKA)
def test_an_example_with_kafka_prints_what_it_shows(
    *, name: str, examples: Path, tmp_path: Path, plain_environment: dict[str, str], kafka: str, storage: str
) -> None:
    """On the real one, and on the database that python-cqrs's documentation has; aiokafka says which topics are new."""
    server = kafka.partition("//")[2].partition("?")[0]
    ran = run(examples / f"{name}.py", tmp_path, {**plain_environment, "KAFKA": server, "DATABASE": storage})

    assert (0, PRINTED[name]) == (ran.returncode, ran.stdout), ran.stderr


def run(path: Path, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run an example as its reader does."""
    command = [sys.executable, "-W", "error", str(path)]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=DEADLINE_S
    )


def test_every_numbered_example_is_run(examples: Path) -> None:
    """Who adds an example says here what it prints; the numbers have no gap."""
    names = sorted(path.stem for path in examples.glob("*.py"))

    assert sorted(PRINTED) == names
    assert list(range(1, len(names) + 1)) == [int(name[:2]) for name in names]


@pytest.mark.parametrize("name", PRINTED)
def test_an_example_can_be_read_at_a_glance(name: str, examples: Path) -> None:
    """One capability each, in less than 60 lines."""
    assert len((examples / f"{name}.py").read_text(encoding="utf-8").splitlines()) < 60
