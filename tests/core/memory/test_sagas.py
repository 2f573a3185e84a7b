"""What the memory storage of sagas does beyond its contract: it forgets, but only what has ended."""

from __future__ import annotations

import subprocess
import sys

import pytest

import cqrs_core.memory
from cqrs_core.errors import InvalidOption, UnpublishableEnvelope
from cqrs_core.memory import MemorySagaStorage, MemoryStorage
from cqrs_core.saga.log import SagaStatus
from cqrs_core.saga.plan import Standing
from cqrs_core.testing.conformance.sagas.suite import envelope, new_saga, step_write


async def test_of_sagas_that_have_ended_the_last_are_kept() -> None:
    """Three end, two are kept; one that is under way is never forgotten."""
    storage = MemorySagaStorage(max_finished=2)
    going, *ending = [new_saga() for _ in range(4)]
    for new in (going, *ending):
        await storage.start(new)
    for new in ending:
        await storage.write(step_write(new.id, standing=Standing(SagaStatus.COMPLETED, 1)))

    kept = [new.id for new in (going, *ending) if await storage.load(new.id) is not None]
    assert [going.id, ending[1].id, ending[2].id] == kept


async def test_with_none_to_be_kept_a_saga_is_forgotten_when_it_ends() -> None:
    storage = MemorySagaStorage(max_finished=0)
    new = new_saga()
    await storage.start(new)
    await storage.write(step_write(new.id, standing=Standing(SagaStatus.FAILED, 0)))

    assert await storage.load(new.id) is None


def test_a_negative_number_is_refused() -> None:
    with pytest.raises(InvalidOption, match="max_finished is -1"):
        MemorySagaStorage(max_finished=-1)


async def test_a_message_that_does_not_fit_the_outbox_refuses_the_whole_write() -> None:
    storage = MemoryStorage(max_message_bytes=10)
    new = new_saga()
    await storage.sagas.start(new)
    with pytest.raises(UnpublishableEnvelope):
        await storage.sagas.write(step_write(new.id, envelopes=(envelope(b"more than ten"),)))

    record = await storage.sagas.load(new.id)
    assert record is not None
    assert 1 == record.version


async def test_a_savepoint_that_is_undone_takes_its_sagas_with_it() -> None:
    storage = MemoryStorage()
    await storage.start()
    unit = storage.unit_of_work()
    kept, lost = new_saga(), new_saga()
    await storage.sagas.start(kept, within=unit)
    with pytest.raises(ValueError, match="undo"):
        async with unit.savepoint():
            await storage.sagas.start(lost, within=unit)
            raise ValueError("undo")
    await unit.commit()

    assert await storage.sagas.load(kept.id) is not None
    assert await storage.sagas.load(lost.id) is None


async def test_a_write_in_a_unit_that_is_overtaken_keeps_nothing_of_the_unit() -> None:
    """Checked when it was written, and once more with the commit."""
    storage = MemoryStorage()
    await storage.start()
    new = new_saga()
    await storage.sagas.start(new)
    unit = storage.unit_of_work()
    unit.enqueue([envelope(b"lost")])
    await storage.sagas.write(step_write(new.id), within=unit)
    await storage.sagas.write(step_write(new.id, step_id="other", standing=Standing(SagaStatus.SUSPENDED, 1)))
    with pytest.raises(RuntimeError, match="taken over"):
        await unit.commit()

    assert [] == list(await storage.outbox.pending())


async def test_one_write_in_two_units_that_are_open_at_once_is_made_once() -> None:
    """As when the driver makes it again before the first unit has been committed."""
    storage = MemoryStorage()
    await storage.start()
    new = new_saga()
    await storage.sagas.start(new)
    units = [storage.unit_of_work(), storage.unit_of_work()]
    for unit in units:
        await storage.sagas.write(step_write(new.id), within=unit)
    for unit in units:
        await unit.commit()
    record = await storage.sagas.load(new.id)

    assert record is not None
    assert 2 == record.version
    assert 1 == len(await storage.sagas.get_step_history(new.id))


async def test_when_the_last_stops_it_everything_is_forgotten() -> None:
    storage = MemoryStorage()
    await storage.start()
    new = new_saga()
    await storage.sagas.start(new)
    await storage.stop()

    assert await storage.sagas.load(new.id) is None


def test_a_program_without_sagas_does_not_import_them() -> None:
    """Neither for the broker in memory, nor for the storage; nor does an App that has both."""
    code = """
import asyncio, sys
import cqrs_core as cqrs
async def main():
    async with cqrs.App("shop", storage="memory://").running():
        pass
asyncio.run(main())
print([name for name in sys.modules if name.startswith("cqrs_core") and "saga" in name.replace("errors.sagas", "")])
"""
    ran = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)

    assert "[]" == ran.stdout.strip()


def test_the_memory_package_has_no_other_names() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'MemorySaga'"):
        _ = cqrs_core.memory.MemorySaga
