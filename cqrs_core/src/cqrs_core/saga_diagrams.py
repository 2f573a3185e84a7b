"""Draws sagas, as Mermaid text for a README or a wiki: as they were written, and as one of them went."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cqrs_core.diagrams import annotation_text, class_box, declared, distinct_names, escape, fields_of, numbered, shown
from cqrs_core.saga.definition import definition_of
from cqrs_core.saga.log import Branch
from cqrs_core.saga.plan import StepKind
from cqrs_core.saga.steps import SagaStepHandler
from cqrs_core.type_arguments import MISSING, type_argument

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from cqrs_core.saga.definition import Saga, StepDefinition
    from cqrs_core.saga.log import SagaLogEntry

_COLOURS = {
    "completed": "fill:#d5f0d5,stroke:#2e7d32,color:#000",
    "failed": "fill:#f8d7d7,stroke:#b71c1c,color:#000",
    "in_doubt": "fill:#fdeac2,stroke:#b26a00,color:#000",
}


class SagaMermaid:
    """Draws a saga."""

    def __init__(self, saga: type[Saga[Any]] | Saga[Any]) -> None:
        """
        Read what it is made of.

        Args:
            saga: Its class, or an object of it.

        Raises:
            InvalidSaga: It cannot work.
            UnresolvedAnnotation: A type parameter cannot be found at run time.
        """
        self._definition = definition_of(saga)
        self._handlers = [side.handler for step in self._definition.steps for side in step.sides]

    def sequence(self) -> str:
        """Draw the way forward, step by step, and the way back if one fails."""
        names = distinct_names(self._handlers)
        ids = iter(range(1, len(self._handlers) + 1))
        numbered_steps = [[(next(ids), side.handler) for side in step.sides] for step in self._definition.steps]
        context = escape(annotation_text(self._definition.context_type))
        lines = ["sequenceDiagram", f"    participant C as {escape(self._definition.name)}"]
        lines += [f"    participant S{at} as {names[handler]}" for sides in numbered_steps for at, handler in sides]
        for step, sides in zip(self._definition.steps, numbered_steps, strict=True):
            lines += self._acts(step, sides, names, context)
        undoable = [
            sides for step, sides in zip(self._definition.steps, numbered_steps, strict=True) if _is_undoable(step)
        ]
        if undoable:
            lines.append("    opt a step fails, and there is a way back")
            lines += [
                f"        C->>S{at}: compensate({context})" for sides in reversed(undoable) for at, _ in reversed(sides)
            ]
            lines.append("    end")
        return "\n".join(lines)

    @staticmethod
    def _acts(
        step: StepDefinition, sides: list[tuple[int, type]], names: Mapping[Any, str], context: str
    ) -> Iterator[str]:
        (first, primary), *others = sides
        if step.kind is not StepKind.COMPENSABLE:
            text = "the point of no return" if step.kind is StepKind.PIVOT else "has to succeed at last"
            yield f"    Note over S{first}: {text}"
        if not others:
            yield from _call("    ", first, primary, context)
            return
        ((other, fallback),) = others
        yield f"    alt {names[primary]} succeeds"
        yield from _call("        ", first, primary, context)
        yield "    else it fails, or its circuit is open"
        yield from _call("        ", other, fallback, context)
        yield "    end"

    def class_diagram(self) -> str:
        """Draw the classes: the saga and its steps in order, their context with its fields, what they answer."""
        definition = self._definition
        handlers = numbered("H", self._handlers)
        responses = [response for handler in handlers for response in shown(_response(handler))]
        messages = numbered("M", [definition.context_type, *responses])
        names = distinct_names([*handlers, *messages])
        lines = ["classDiagram"]
        lines += class_box(f'class Saga["{escape(definition.name)}"]', ["<<saga>>"])
        for handler, box in handlers.items():
            context = names[definition.context_type]
            answer = declared(_response(handler), "response")
            lines += class_box(
                f'class {box}["{names[handler]}"]', [f"+act({context}) {answer}", f"+compensate({context})"]
            )
        for message, box in messages.items():
            fields = [f"+{escape(name)}: {declared(tp, 'Any')}" for name, tp in fields_of(message).items()]
            lines += class_box(f'class {box}["{names[message]}"]', fields)
        lines += [f"    {arrow}" for arrow in dict.fromkeys(self._arrows(handlers, messages))]
        return "\n".join(lines)

    def _arrows(self, handlers: Mapping[Any, str], messages: Mapping[Any, str]) -> Iterable[str]:
        for number, step in enumerate(self._definition.steps, 1):
            yield f"Saga --> {handlers[step.primary.handler]} : {number}"
            if step.fallback is not None:
                yield f"{handlers[step.primary.handler]} --> {handlers[step.fallback.handler]} : fallback"
        for handler, box in handlers.items():
            yield f"{box} ..> {messages[self._definition.context_type]} : works on"
            for response in shown(_response(handler)):
                yield f"{box} ..> {messages[response]} : answers"

    def state(self) -> str:
        """Draw where a saga may stand, and what leads from there."""
        steps = self._definition.steps
        lines = ["stateDiagram-v2"]
        for at, step in enumerate(steps, 1):
            lines.append(f'    state "act {escape(step.id)}" as A{at}')
            if step.fallback is not None:
                lines.append(f'    state "act {escape(step.id)}, by its fallback" as F{at}')
            if _is_undoable(step):
                lines.append(f'    state "undo {escape(step.id)}" as U{at}')
        lines += ["    [*] --> A1"]
        for at, step in enumerate(steps, 1):
            lines += [f"    {arrow}" for arrow in self._ways(at, step)]
        lines += ["    COMPLETED --> [*]", "    FAILED --> [*]"]
        return "\n".join(lines)

    def _ways(self, at: int, step: StepDefinition) -> Iterator[str]:
        following = f"A{at + 1}" if at < len(self._definition.steps) else "COMPLETED"
        back = f"U{at - 1}" if at > 1 else "FAILED"
        doubtful = f"U{at}" if _is_undoable(step) else "SUSPENDED"
        refused = "SUSPENDED" if step.kind is StepKind.RETRIABLE else back
        yield f"A{at} --> {following} : done"
        last = "A"
        if step.fallback is not None:
            yield f"A{at} --> F{at} : fails"
            yield f"F{at} --> {following} : done"
            last = "F"
        yield f"{last}{at} --> {refused} : fails"
        if doubtful != refused:
            yield f"{last}{at} --> {doubtful} : in doubt"
        if step.fallback is not None:
            yield f"A{at} --> {doubtful} : in doubt"
        if _is_undoable(step):
            if step.fallback is not None:
                yield f"U{at} --> F{at} : before the fallback"
            yield f"U{at} --> {back} : undone"
            yield f"U{at} --> SUSPENDED : cannot be undone"

    def instance(self, history: Iterable[SagaLogEntry]) -> str:
        """
        Draw what one saga has done, in order, with what became of it.

        Args:
            history: As ``get_step_history`` gives it.
        """
        lines = ["flowchart LR", f'    B(["{escape(self._definition.name)}"])']
        before = "B"
        for number, entry in enumerate(history, 1):
            what = f"{entry.action} {entry.step_name or entry.step_id}"
            if entry.branch is Branch.FALLBACK:
                what += ", the fallback"
            lines.append(f'    E{number}["{escape(what)}<br>{escape(str(entry.status).replace("_", " "))}"]')
            lines.append(f"    {before} --> E{number}")
            lines.append(f"    class E{number} {entry.status}")
            before = f"E{number}"
        lines += [f"    classDef {status} {colours}" for status, colours in _COLOURS.items()]
        return "\n".join(lines)


def _call(indent: str, at: int, handler: type, context: str) -> Iterator[str]:
    yield f"{indent}C->>S{at}: act({context})"
    yield f"{indent}S{at}-->>C: {declared(_response(handler), 'done')}"


def _response(handler: type) -> Any:  # noqa: ANN401 - annotations are of any type
    found = type_argument(handler, SagaStepHandler, 1)
    return MISSING if found is MISSING or hasattr(found, "__bound__") else found


def _is_undoable(step: StepDefinition) -> bool:
    return step.kind is StepKind.COMPENSABLE
