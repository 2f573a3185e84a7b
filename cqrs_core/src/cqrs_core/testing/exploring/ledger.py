"""What the steps of a saga have done to the world, and whether the promises were kept."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from cqrs_core.saga.log import Branch, SagaAction, SagaStatus, SagaStepStatus
from cqrs_core.saga.plan import StepKind

if TYPE_CHECKING:
    import uuid
    from collections.abc import Sequence

    from cqrs_core.saga.definition import Definition
    from cqrs_core.saga.log import SagaLogEntry
    from cqrs_core.saga.storage import SagaRecord, SagaWrite

_FORWARD = (SagaStatus.PENDING, SagaStatus.RUNNING)


class SideId(NamedTuple):
    """One side of one step."""

    step_id: str
    branch: Branch

    def __str__(self) -> str:
        """As schedules and reports name it: by the id of its step, and whether it is the fallback."""
        return self.step_id if self.branch is Branch.PRIMARY else f"{self.step_id} fallback"


class Ledger:
    """
    The effects of one play: what services that know repetitions by their keys would have.

    Attributes:
        effects: ``"done"``, ``"undone"``, or ``"refused"``: undone before it was ever done.
        violations: The promises that were broken, one sentence each.
    """

    def __init__(self, definition: Definition) -> None:
        self.effects: dict[SideId, str] = {}
        self.violations: list[str] = []
        self._definition = definition
        self._keys: dict[tuple[SideId, SagaAction], set[uuid.UUID]] = defaultdict(set)

    def acts(
        self, side: SideId, key: uuid.UUID, record: SagaRecord | None, history: Sequence[SagaLogEntry], *, owns: bool
    ) -> None:
        """
        Judge that an act begins.

        Args:
            record: The saga, as it is stored then.
            history: What was done.
            owns: Whether the driver still has the saga; one that has lost it cannot know that.
        """
        self._judge_key(side, SagaAction.ACT, key)
        if record is None:
            self.violations.append(f"Promise 1: {side} runs before the saga is durable.")
            return
        if not owns:
            return
        if any(_is_completed(entry, side) for entry in history):
            self.violations.append(f"Promise 2: {side} runs again, though its record is durable.")
        if record.status not in _FORWARD:
            self.violations.append(f"Promise 5: {side} runs while the saga is {record.status}.")

    def undoes(self, side: SideId, key: uuid.UUID, record: SagaRecord | None, *, owns: bool) -> None:
        """Judge that an undo begins."""
        self._judge_key(side, SagaAction.COMPENSATE, key)
        if not owns or record is None:
            return
        is_leaving = record.branch is Branch.LEAVING and record.step_id == side.step_id
        if record.status is not SagaStatus.COMPENSATING and not (record.status in _FORWARD and is_leaving):
            self.violations.append(f"Promise 5: {side} is undone before it is durable that it is to be.")
        order = [step.id for step in self._definition.steps]
        later = [
            other
            for other, effect in self.effects.items()
            if effect == "done" and order.index(other.step_id) > order.index(side.step_id)
        ]
        if later:
            self.violations.append(f"{side} is undone before {later[0]}, which was done after it.")

    def done(self, side: SideId, *, is_late: bool = False) -> None:
        """Note that an act has taken effect; of one that is undone by then, only if it may be late."""
        if is_late:
            self.effects[side] = "done"
        self.effects.setdefault(side, "done")

    def undone(self, side: SideId) -> None:
        """Note that an undo has: an act of the same side that comes later has none."""
        self.effects[side] = "undone" if self.effects.get(side) in ("done", "undone") else "refused"

    def refuses(self, side: SideId) -> bool:
        """Tell whether the service has seen the undo, and so refuses the act."""
        return self.effects.get(side) in ("undone", "refused")

    def written(self, write: SagaWrite, before: SagaRecord | None) -> None:
        """Judge that a write was made."""
        if before is None:
            self.violations.append("Promise 1: something was written of a saga that is not durable.")
        elif before.fence != write.fence:
            self.violations.append("Promise 4: a driver that has lost the saga has changed it.")
        elif before.status is SagaStatus.COMPENSATING and write.standing.status in _FORWARD:
            self.violations.append("Promise 5: a saga that had turned round goes forward.")
        elif before.status.is_ended and before.version == write.version:
            self.violations.append("Promise 6: a saga that has ended was changed.")

    def ended(self, record: SagaRecord | None, history: Sequence[SagaLogEntry], *, may_be_stuck: bool) -> None:
        """
        Judge how the saga stands when everybody has done what they could.

        Args:
            may_be_stuck: Whether something was told to fail for good.
        """
        done = {side for side, effect in self.effects.items() if effect == "done"}
        if record is None:
            if self.effects:
                self.violations.append("Promise 1: there are effects of a saga that is not there.")
            return
        if record.status is SagaStatus.COMPLETED:
            self._judge_completed(done, history)
        elif record.status is SagaStatus.FAILED:
            if done:
                named = ", ".join(map(str, sorted(done)))
                self.violations.append(f"The saga says that all is undone, and {named} is not.")
        elif record.status is SagaStatus.SUSPENDED:
            if not record.error:
                self.violations.append("Promise 6: the saga waits for a person, and does not say why.")
            if not may_be_stuck and not self._has_passed_pivot(record):
                self.violations.append(f"Promise 6: the saga waits for a person without need: {record.error}")
        else:
            self.violations.append(f"Promise 6: the saga is {record.status} for ever.")

    def _has_passed_pivot(self, record: SagaRecord) -> bool:
        begun = self._definition.kinds[: record.cursor + 1]
        return record.suspended_from is SagaStatus.RUNNING and any(kind is not StepKind.COMPENSABLE for kind in begun)

    def _judge_completed(self, done: set[SideId], history: Sequence[SagaLogEntry]) -> None:
        acted = [SideId(entry.step_id, entry.branch) for entry in history if _is_completed(entry)]
        if [side.step_id for side in acted] != [step.id for step in self._definition.steps]:
            self.violations.append(f"The saga is completed, and its history has {', '.join(map(str, acted))}.")
        if set(acted) != done:
            missing, extra = set(acted) - done, done - set(acted)
            for side in sorted(missing):
                self.violations.append(f"The saga is completed, and {side} is not done.")
            for side in sorted(extra):
                self.violations.append(f"The saga is completed, and {side} is done beside the other side.")

    def _judge_key(self, side: SideId, action: SagaAction, key: uuid.UUID) -> None:
        keys = self._keys[side, action]
        keys.add(key)
        if len(keys) > 1:
            self.violations.append(f"Promise 3: {side} has another key than before.")


def _is_completed(entry: SagaLogEntry, side: SideId | None = None) -> bool:
    is_act = entry.action is SagaAction.ACT and entry.status is SagaStepStatus.COMPLETED
    return is_act and side in (None, SideId(entry.step_id, entry.branch))
