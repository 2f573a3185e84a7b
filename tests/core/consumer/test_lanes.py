"""Lanes: what may be handled next, what waits, and when a partition is paused."""

from __future__ import annotations

from collections import Counter
from itertools import count

import pytest

from cqrs_core.broker import Delivery
from cqrs_core.consumer.lanes import Lane, Lanes
from cqrs_core.envelope import Envelope

numbers = count()


def message(key: str | None = None, *, partition: str = "p") -> Delivery:
    return Delivery(Envelope("topic", b"", key), partition, str(next(numbers)))


def lanes(*, max_waiting: int = 100) -> Lanes:
    return Lanes(lambda delivery: delivery.envelope.key, max_waiting=max_waiting)


def taken(kept: Lanes) -> Lane:
    lane = kept.take()
    assert lane is not None
    return lane


# ready, busy, waiting ------------------------------------------------------------------------------------------------


def test_messages_of_a_lane_come_one_after_the_other_in_their_order() -> None:
    """A lane in somebody's hands is not given to another; put back, it is ready again."""
    kept = lanes()
    first, second = message("a"), message("a")
    kept.add(first)
    kept.add(second)

    lane = taken(kept)
    assert (first, None, False) == (lane.first, kept.take(), kept.has_ready)
    kept.finish(lane, 1)
    kept.put_back(lane)

    again = taken(kept)
    assert (second, "p") == (again.first, again.partition)


def test_the_lane_that_has_been_ready_longest_comes_first() -> None:
    """One that is put back goes to the end."""
    kept = lanes()
    for key in ("a", "a", "b", "c"):
        kept.add(message(key))

    lane = taken(kept)
    kept.finish(lane, 1)
    kept.put_back(lane)

    assert ["b", "c", "a"] == [taken(kept).first.envelope.key for _ in range(3)]
    assert kept.take() is None


def test_messages_without_a_lane_wait_for_no_other() -> None:
    """Each has a lane of its own."""
    kept = lanes()
    kept.add(message(None))
    kept.add(message(None))

    assert taken(kept) is not taken(kept)


def test_lanes_of_two_partitions_are_two_though_they_are_called_the_same() -> None:
    """They are taken away one by one."""
    kept = lanes()
    kept.add(message("a", partition="p"))
    kept.add(message("a", partition="q"))

    assert {"p", "q"} == {taken(kept).partition, taken(kept).partition}


def test_a_lane_that_was_put_off_is_ready_when_it_is_woken() -> None:
    """Not before, whatever is added to it meanwhile."""
    kept = lanes()
    kept.add(message("a"))
    lane = taken(kept)

    kept.put_off(lane)
    kept.add(message("a"))
    assert kept.take() is None
    kept.wake(lane)

    assert lane is kept.take()
    assert 2 == len(lane.queue)


def test_an_empty_lane_is_forgotten() -> None:
    """Keys are without number; a later message of the key gets a new lane."""
    kept = lanes()
    kept.add(message("a"))
    lane = taken(kept)
    kept.finish(lane, 1)
    kept.put_back(lane)

    assert not kept.has_ready
    kept.add(message("a"))
    assert lane is not taken(kept)


def test_what_was_added_while_the_last_message_was_handled_is_not_lost() -> None:
    """It waits in the same lane."""
    kept = lanes()
    kept.add(message("a"))
    lane = taken(kept)
    kept.finish(lane, 1)
    late = message("a")
    kept.add(late)

    kept.put_back(lane)

    assert late is taken(kept).first


def test_finishing_begins_a_new_count_of_failures() -> None:
    """They, and the dead letter, are of the message that was first."""
    kept = lanes()
    for _ in range(5):
        kept.add(message("a"))
    lane = taken(kept)
    lane.failures, lane.letter, lane.alone = 3, Envelope("dead", b""), 3
    first_few = lane.first_few(2)

    kept.finish(lane, 2)

    assert (0, None, 1) == (lane.failures, lane.letter, lane.alone)
    assert 3 == len(lane.queue)
    assert not set(map(id, first_few)) & set(map(id, lane.queue))
    kept.finish(lane, 2)
    assert 0 == lane.alone


# pause and resume ----------------------------------------------------------------------------------------------------


def test_a_partition_is_paused_once_when_it_is_full_and_resumed_once_when_half_is_done() -> None:
    """Each partition by itself."""
    kept = lanes(max_waiting=4)
    kept.add(message("other", partition="q"))

    assert [False, False, False, True, False, False] == [kept.add(message("a")) for _ in range(6)]
    taken(kept)
    lane = taken(kept)
    assert [False, False, False, True, False, False] == [
        kept.finish(lane, 1) for _ in range(6)
    ]  # 2 are left at the 4th
    assert [False, False, False, True] == [kept.add(message("a")) for _ in range(4)]


def test_one_message_may_be_all_that_is_kept() -> None:
    """Paused with each, resumed after each."""
    kept = lanes(max_waiting=1)

    for _ in range(2):
        assert kept.add(message("a"))
        lane = taken(kept)
        assert kept.finish(lane, 1)
        kept.put_back(lane)


# drop ----------------------------------------------------------------------------------------------------------------


def test_what_is_dropped_is_not_begun() -> None:
    """Whether it was ready, busy, or waiting; others stay."""
    kept = lanes()
    for key in ("busy", "waiting", "ready"):
        kept.add(message(key))
    kept.add(message("other", partition="q"))
    busy, waiting = taken(kept), taken(kept)
    kept.put_off(waiting)

    kept.drop(["p"])
    kept.wake(waiting)
    kept.put_back(busy)

    assert "q" == taken(kept).partition
    assert kept.take() is None


def test_a_lane_in_somebodys_hands_keeps_what_it_is_at() -> None:
    """So that it can still be acknowledged; only then it is not busy any more."""
    kept = lanes(max_waiting=2)
    kept.add(message("a"))
    kept.add(message("a"))
    lane = taken(kept)

    kept.drop()

    assert lane.is_dropped
    assert 2 == len(lane.first_few(9))
    assert 1 == len(kept.busy()) == len(kept.busy(["p"]))
    assert not kept.finish(lane, 2)  # what was forgotten is not resumed
    kept.put_back(lane)
    assert 0 == len(kept.busy()) == len(kept.busy(["p"]))


def test_a_partition_that_comes_back_begins_anew() -> None:
    """What is left of its former time neither counts nor gets in the way."""
    kept = lanes(max_waiting=2)
    kept.add(message("a"))
    assert kept.add(message("a"))
    old = taken(kept)
    kept.drop(["p"])

    assert [False, True] == [kept.add(message("a")) for _ in range(2)]
    new = taken(kept)
    assert not kept.finish(old, 2)
    kept.put_back(old)

    assert old is not new
    assert kept.finish(new, 1)
    kept.put_back(new)
    assert new is kept.take()


def test_busy_lanes_are_counted_by_partition() -> None:
    """Taken, and neither put back nor put off."""
    kept = lanes()
    for partition in ("p", "p", "q"):
        kept.add(message(partition=partition))
    first, second = taken(kept), taken(kept)
    taken(kept)

    assert (3, 2, 1, 3, 0) == tuple(len(kept.busy(names)) for names in (None, ["p"], ["q"], ["p", "q"], ["r"]))
    kept.put_back(first)
    kept.put_off(second)
    assert (1, 0, 1) == tuple(len(kept.busy(names)) for names in (None, ["p"], ["q"]))


def test_dropping_nothing_and_what_is_not_there_does_nothing() -> None:
    """A partition may be taken away before anything of it has come."""
    kept = lanes()
    kept.add(message("a"))

    kept.drop([])
    kept.drop(["r"])

    assert kept.has_ready


# anything, in any order ----------------------------------------------------------------------------------------------


class Model:
    """What lanes promise, written as simply as it can be: a list for each lane, and a set of those at hand."""

    def __init__(self, kept: Lanes, max_waiting: int) -> None:
        self.kept = kept
        self.max_waiting = max_waiting
        self.waiting: dict[tuple[str, str], list[Delivery]] = {}
        self.in_hand: dict[tuple[str, str], Lane] = {}
        self.put_off: dict[tuple[str, str], Lane] = {}
        self.former: list[Lane] = []
        self.former_put_off: list[Lane] = []
        self.is_paused: Counter[str] = Counter()

    def size(self, partition: str) -> int:
        return sum(len(queue) for (of, _), queue in self.waiting.items() if of == partition)

    def add(self, partition: str, key: str) -> None:
        delivery = message(key, partition=partition)
        self.waiting.setdefault((partition, key), []).append(delivery)
        self.is_paused[partition] += self.kept.add(delivery)
        assert (self.size(partition) >= self.max_waiting) <= self.is_paused[partition] <= 1

    def take(self) -> None:
        lane = self.kept.take()
        ready = {name for name, queue in self.waiting.items() if queue} - {*self.in_hand, *self.put_off}
        if lane is None:
            assert not ready
            return
        name = (lane.partition, str(lane.name))
        assert name in ready  # so no two hands are on one lane
        assert self.waiting[name] == list(lane.queue)
        self.in_hand[name] = lane

    def finish(self, name: tuple[str, str], size: int) -> None:
        lane = self.in_hand[name]
        size = min(size, len(lane.queue))
        del self.waiting[name][:size]
        partition = name[0]
        self.is_paused[partition] -= self.kept.finish(lane, size)
        assert 0 <= self.is_paused[partition] <= (self.size(partition) > self.max_waiting // 2)

    def put_back(self, name: tuple[str, str]) -> None:
        self.kept.put_back(self.in_hand.pop(name))

    def put_off_lane(self, name: tuple[str, str]) -> None:
        if not self.waiting[name]:
            self.add(*name)  # what is put off is its first message
        self.put_off[name] = self.in_hand.pop(name)
        self.kept.put_off(self.put_off[name])

    def wake(self, name: tuple[str, str]) -> None:
        self.kept.wake(self.put_off.pop(name))

    def drop(self, partitions: list[str] | None) -> None:
        gone = {of for of, _ in self.waiting} if partitions is None else set(partitions)
        for lanes_of, former in ((self.in_hand, self.former), (self.put_off, self.former_put_off)):
            former.extend(lanes_of.pop(name) for name in list(lanes_of) if name[0] in gone)
        self.waiting = {name: queue for name, queue in self.waiting.items() if name[0] not in gone}
        for partition in gone:
            self.is_paused[partition] = 0
        self.kept.drop(partitions)

    def end_former(self) -> None:
        if self.former:
            lane = self.former.pop()
            assert not self.kept.finish(lane, len(lane.queue))
            self.kept.put_back(lane)
        if self.former_put_off:
            self.kept.wake(self.former_put_off.pop())

    def check(self) -> None:
        at_hand = [*self.in_hand.values(), *self.former]
        assert len(at_hand) == len(self.kept.busy())
        for partition in "pq":
            assert sum(lane.partition == partition for lane in at_hand) == len(self.kept.busy([partition]))
        ready = {name for name, queue in self.waiting.items() if queue} - {*self.in_hand, *self.put_off}
        assert bool(ready) == self.kept.has_ready


@pytest.mark.parametrize("max_waiting", [1, 2, 5])
def test_whatever_is_done_in_whatever_order_lanes_keep_their_promises(max_waiting: int) -> None:
    """Against a model: order, one hand on each lane, counts, one pause and one resume, nothing after a drop."""
    hypothesis = pytest.importorskip("hypothesis")
    st = hypothesis.strategies
    steps = st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.sampled_from("pq"), st.sampled_from("abc")),
            st.tuples(st.just("add"), st.sampled_from("pq"), st.sampled_from("abc")),
            st.tuples(st.just("take")),
            st.tuples(st.just("finish"), st.integers(0, 9), st.integers(0, 3)),
            st.tuples(st.sampled_from(["put_back", "put_off_lane", "wake"]), st.integers(0, 9)),
            st.tuples(st.just("drop"), st.sampled_from([None, [], ["p"], ["q", "r"]])),
            st.tuples(st.just("end_former")),
        ),
        max_size=60,
    )

    @hypothesis.given(steps)
    @hypothesis.settings(deadline=None, max_examples=300)
    def run(steps: list[tuple[object, ...]]) -> None:
        model = Model(lanes(max_waiting=max_waiting), max_waiting)
        for name, *arguments in steps:
            if name in {"finish", "put_back", "put_off_lane", "wake"}:
                choices = sorted(model.put_off if name == "wake" else model.in_hand)
                if not choices:
                    continue
                arguments[0] = choices[int(str(arguments[0])) % len(choices)]
            getattr(model, str(name))(*arguments)
            model.check()

    run()
