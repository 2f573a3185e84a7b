"""Which context means which saga."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cqrs_core.errors import CqrsError, InvalidSaga, MapFrozen, SagaNotBound, UnresolvedAnnotation, name_of
from cqrs_core.saga.definition import Saga, definition_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cqrs_core.saga.definition import Definition
    from cqrs_core.saga.steps import SagaContext


class SagaMap:
    """Binds contexts to sagas; several sagas may work on one."""

    def __init__(self) -> None:
        self._bindings: list[tuple[type[SagaContext], type[Saga[Any]]]] = []
        self._is_frozen = False

    def bind(self, context: type[SagaContext], saga: type[Saga[Any]]) -> None:
        """
        Bind *context* to *saga*. What is wrong with it is told when the mediator is built, with all the rest.

        Args:
            context: A class of contexts; only instances of exactly this class mean the saga.
            saga: What is done with such a context. If several are bound, who starts one says which.

        Raises:
            MapFrozen: A mediator has been built from this map.
        """
        if self._is_frozen:
            raise MapFrozen(type(self).__name__, context)
        self._bindings.append((context, saga))

    def freeze(self) -> None:
        """Refuse changes from now on."""
        self._is_frozen = True

    def problems(self) -> list[CqrsError]:
        """Tell everything that is wrong with the bindings: errors, none of them raised."""
        found: list[CqrsError] = []
        names: dict[str, type] = {}
        for context, saga in dict.fromkeys(self._bindings):
            try:
                definition = definition_of(saga)
            except (InvalidSaga, UnresolvedAnnotation) as error:
                found.append(error)
                continue
            if definition.context_type is not context:
                problem = f"It is bound to {name_of(context)}, and works on {name_of(definition.context_type)}."
                found.append(InvalidSaga(saga, [problem]))
            first = names.setdefault(definition.name, saga)
            if first is not saga:
                problem = f"{name_of(first)} has its name too, {definition.name!r}: say `name` in one of the classes."
                found.append(InvalidSaga(saga, [problem]))
        return found

    def definitions(self) -> Iterator[Definition]:
        """Go through what was bound, each saga once; to be asked when nothing is wrong with it."""
        return (definition_of(saga) for saga in dict.fromkeys(saga for _, saga in self._bindings))

    def find(self, context_type: type, saga: type[Saga[Any]] | None = None) -> type[Saga[Any]]:
        """
        Find the saga that a context of *context_type* means.

        Args:
            saga: Which, if several are bound.

        Raises:
            SagaNotBound: None is, or several are and it was not said which.
        """
        bound = list(dict.fromkeys(found for context, found in self._bindings if context is context_type))
        if saga is not None and saga in bound:
            return saga
        if saga is None and len(bound) == 1:
            return bound[0]
        if not bound:
            raise SagaNotBound(context_type)
        names = ", ".join(map(name_of, bound))
        cure = f"Bound are {names}: " + ("say which, by saga=." if saga is None else f"{name_of(saga)} is not.")
        raise SagaNotBound(context_type, cure)

    def __len__(self) -> int:
        """Count the bindings."""
        return len(self._bindings)
