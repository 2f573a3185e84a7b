"""How sagas are written, and everything that is wrong with one, at once."""

from __future__ import annotations

from dataclasses import dataclass
from types import new_class
from typing import Any

import pytest

from cqrs_core.errors import InvalidSaga, UnresolvedAnnotation
from cqrs_core.resilience import RetryPolicy
from cqrs_core.saga.definition import Saga, definition_of
from cqrs_core.saga.log import Branch
from cqrs_core.saga.plan import StepKind
from cqrs_core.saga.saga_map import SagaMap
from cqrs_core.saga.steps import Fallback, SagaContext, SagaStepHandler, SagaStepResult, Step


class Order(SagaContext):
    order_id: str
    paid: bool = False


class Other(SagaContext):
    name: str


class Reserve(SagaStepHandler[Order, None]):
    async def act(self, context: Order) -> SagaStepResult[Order, None]:
        return self.result()


class Pay(Reserve):
    timeout_s = 2.5
    retry = RetryPolicy(max_attempts=2)


class Invoice(Reserve):
    step_id = "invoice"


class Ship(Reserve):
    kind = StepKind.PIVOT


class Notify(Reserve):
    kind = StepKind.RETRIABLE


class OrderSaga(Saga[Order]):
    steps = [
        Reserve,
        Fallback(Pay, Invoice),
        Step(Reserve, id="reserve_again", timeout_s=1.0),
        Ship,
        Notify,
    ]


def make(class_name: str, /, **attributes: Any) -> type[Saga[Order]]:
    """Write a class."""
    return new_class(class_name, (Saga[Order],), exec_body=lambda body: body.update(attributes))


def problems_of(**attributes: Any) -> tuple[str, ...]:
    with pytest.raises(InvalidSaga) as raised:
        make("Broken", **attributes)
    return raised.value.problems


def test_a_definition_has_the_steps_as_they_were_written() -> None:
    definition = definition_of(OrderSaga)

    assert "OrderSaga" == definition.name
    assert Order is definition.context_type
    assert ["Reserve", "Pay", "reserve_again", "Ship", "Notify"] == [step.id for step in definition.steps]
    assert [StepKind.COMPENSABLE] * 3 + [StepKind.PIVOT, StepKind.RETRIABLE] == list(definition.kinds)
    second = definition.steps[1]
    assert [(Pay, Branch.PRIMARY, 2.5), (Invoice, Branch.FALLBACK, None)] == [
        (side.handler, side.branch, side.timeout_s) for side in second.sides
    ]
    assert RetryPolicy(max_attempts=2) == second.primary.retry
    assert 1.0 == definition.steps[2].primary.timeout_s
    assert definition is definition_of(OrderSaga())


def test_an_undecorated_context_is_a_dataclass() -> None:
    context = Order("o-1", paid=True)

    assert {"order_id": "o-1", "paid": True} == context.to_dict() == context.model_dump()
    assert context == Order.from_dict({"order_id": "o-1", "paid": True}) == Order.from_dict(order_id="o-1", paid=True)


def test_a_decorated_context_works_as_in_python_cqrs() -> None:
    @dataclass
    class Decorated(SagaContext):
        order_id: str

    assert Decorated("1") == Decorated.from_dict({"order_id": "1", "of a newer version": 2})


def test_everything_that_is_wrong_is_told_at_once() -> None:
    class OfOther(SagaStepHandler[Other, None]):
        async def act(self, context: Other) -> SagaStepResult[Other, None]:
            return self.result()

    class Open(SagaStepHandler[Order, None]):
        pass

    class NotAsync(SagaStepHandler[Order, None]):
        def act(self, context: Order) -> Any:  # type: ignore[override] # the fault
            return self.result()

    class NoTime(Reserve):
        timeout_s = 0

    class NoKind(Reserve):
        kind = "pivot"  # type: ignore[assignment] # the fault

    class NoErrors(Reserve):
        in_doubt_on = TimeoutError  # type: ignore[assignment] # the fault

    found = problems_of(steps=[OfOther, Open, NotAsync, int, Reserve, Reserve, NoTime, NoErrors, NoKind])

    assert 8 == len(found)
    for text in (
        "OfOther works on Other, and the saga on Order.",
        "Open does not define act.",
        "NotAsync.act must be an `async def`.",
        "int is no step: list classes that derive from SagaStepHandler, Step or Fallback.",
        "2 steps have the id 'Reserve': tell them apart by Step(Handler, id=...).",
        "NoTime: timeout_s is 0. It must be a number of seconds, more than 0.",
        "NoKind has the kind 'pivot': it must be a StepKind.",
        "NoErrors has in_doubt_on <class 'TimeoutError'>: it must be a tuple of classes of exceptions.",
    ):
        assert any(text in problem for problem in found), text


def test_the_error_is_one_that_a_stranger_would_catch() -> None:
    with pytest.raises(TypeError, match="The saga Broken cannot work:\n  - 2 steps have the id"):
        make("Broken", steps=[Reserve, Reserve])


def test_behind_a_point_of_no_return_only_retriable_steps_stand() -> None:
    found = problems_of(steps=[Ship, Reserve, Notify, Pay])

    assert (
        "Reserve stands behind Ship, after which there is no way back: only retriable steps can.",
        "Pay stands behind Notify, after which there is no way back: only retriable steps can.",
    ) == found


def test_a_fallback_is_of_the_kind_of_its_step() -> None:
    assert ("Ship and its fallback are of different kinds: pivot and compensable.",) == problems_of(
        steps=[Fallback(Ship, Pay)]
    )


def test_a_fallback_has_the_rules_of_every_fallback() -> None:
    (found,) = problems_of(steps=[Fallback(Reserve, Pay, failure_exceptions=(int,))])  # type: ignore[arg-type]  # wrong on purpose

    assert "failure_exceptions is (<class 'int'>,)." in found


def test_aliases_lead_from_ids_that_are_gone_to_ids_that_are_there() -> None:
    found = problems_of(steps=[Reserve], aliases={"Reserve": "Reserve", "Old": "Gone"})

    assert (
        "Its alias 'Reserve' is the id of a step that it has.",
        "Its alias 'Old' leads to 'Gone', which is no step of it.",
    ) == found
    assert ("Its aliases are no dict of new ids by old ones.",) == problems_of(steps=[Reserve], aliases=["Reserve"])


def test_steps_are_a_list() -> None:
    assert ("Its steps are no list.",) == problems_of(steps=Reserve)


def test_a_saga_without_steps_or_context_is_refused_when_it_is_used() -> None:
    class Base(Saga[Order]):
        """Some sagas share what they have; it may have no steps itself."""

    class Nameless(Saga):  # type: ignore[type-arg] # the fault
        steps = [Reserve]

    with pytest.raises(InvalidSaga, match="It has no steps"):
        definition_of(Base)
    with pytest.raises(InvalidSaga, match="Its context is not said"):
        definition_of(Nameless)
    with pytest.raises(InvalidSaga, match="int does not derive from Saga"):
        definition_of(int)  # type: ignore[arg-type]  # wrong on purpose


def test_a_context_is_a_dataclass() -> None:
    class ByHand(SagaContext):
        def __init__(self, order_id: str) -> None:
            self.order_id = order_id

    saga: Any = new_class("Odd", (Saga[ByHand],), exec_body=lambda body: body.update(steps=[]))
    with pytest.raises(InvalidSaga, match="ByHand, is no dataclass"):
        definition_of(saga)


class Late(Saga["Later"]):
    """A context that is written below is known when the saga is used."""

    steps = [Reserve]


class Later(Order):
    pass


def test_a_context_may_be_written_behind_its_saga() -> None:
    assert Later is definition_of(Late).context_type


def test_the_fingerprint_changes_with_ids_kinds_and_sides_and_nothing_else() -> None:
    def fingerprint(*steps: Any) -> str:
        return definition_of(make("Made", steps=list(steps))).fingerprint

    class Renamed(Pay):
        step_id = "Pay"
        timeout_s = 100.0

    same = fingerprint(Reserve, Pay)
    others = [fingerprint(Pay, Reserve), fingerprint(Reserve), fingerprint(Reserve, Fallback(Pay, Invoice))]

    assert 16 == len(same)
    assert same == fingerprint(Reserve, Renamed)
    assert 4 == len({same, *others})
    assert same != fingerprint(Reserve, Step(Pay, kind=StepKind.PIVOT))


class Changed(Saga[Order]):
    name = "Order"
    steps = [Reserve, Step(Pay, id="take_payment"), Ship]
    aliases = {"Pay": "take_payment"}
    retired_steps = [Invoice]


@pytest.mark.parametrize(
    ("done", "at_work", "expected"),
    [
        ([], None, None),
        (["Reserve"], "Pay", None),
        (["Reserve", "Pay"], "Ship", None),
        (["Reserve", "invoice", "take_payment"], None, None),
        (["Reserve"], None, None),
        (["Pay"], None, "it has done take_payment, and Order begins with Reserve"),
        (["Reserve"], "Ship", "the step 'Ship' may have been begun, and Order goes on with 'take_payment'"),
        (["Reserve", "Gone"], None, "it has done Reserve, Gone, and Order begins with Reserve, take_payment"),
        (["Reserve", "Pay", "Ship"], "More", "the step 'More' may have been begun, and Order goes on with None"),
    ],
)
def test_a_changed_definition_goes_on_only_where_what_was_done_is_its_beginning(
    done: list[str], at_work: str | None, expected: str | None
) -> None:
    assert expected == definition_of(Changed).misfit(done, at_work)


def test_a_name_is_not_inherited() -> None:
    class Child(Changed):
        pass

    assert "Order" == definition_of(Changed).name
    assert "Child" == definition_of(Child).name


def test_a_result_has_the_fields_of_python_cqrs() -> None:
    result = Reserve().result(None, with_error=True, error_message="half of it")

    assert (None, Reserve, True, "half of it", None, None, None) == (
        result.response,
        result.step_type,
        result.with_error,
        result.error_message,
        result.error_traceback,
        result.error_type,
        result.saga_id,
    )
    assert Reserve._generate_step_result is Reserve.result  # noqa: SLF001 - what python-cqrs users call


@pytest.mark.parametrize("text", ["x" * 201, "a\0b", "a\ud800b"])
def test_ids_and_names_are_what_every_database_can_keep(text: str) -> None:
    """Told when the class is written: found out at the second step, the first would be done."""
    expected = "it must be a text of at most 200 characters, without NUL and surrogates."
    (of_step,) = problems_of(steps=[Step(Reserve, id=text)])
    (of_saga,) = problems_of(steps=[Reserve], name=text)

    assert f"Reserve has the step_id {text!r}: {expected}" == of_step
    assert f"Its name is {text!r}: {expected}" == of_saga


class Nowhere(Saga["Missing"]):  # type: ignore[name-defined]  # there is no such class
    """Its context is written nowhere."""

    steps = [Reserve]


def test_a_context_that_is_written_nowhere_is_told_when_the_saga_is_bound() -> None:
    sagas = SagaMap()
    sagas.bind(Order, Nowhere)
    (problem,) = sagas.problems()

    assert "Missing" in str(problem)
    with pytest.raises(UnresolvedAnnotation):
        definition_of(Nowhere)
