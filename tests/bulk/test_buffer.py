"""The buffer of a batch writer, without threads or a clock."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dal.bulk.buffer import Buffer, Entry


def buffer(**settings: Any) -> Buffer:
    return Buffer(**{"size": 3, "interval": 5.0, "capacity": 10, **settings})


def put(into: Buffer, who: str, at: float = 0.0) -> Entry:
    entry = Entry(None, None, who, at)
    into.put(entry)
    return entry


def test_nothing_is_due_when_nothing_is_there() -> None:
    assert buffer().due(100.0) is None


def test_a_full_batch_is_due() -> None:
    full = buffer()
    for _ in range(2):
        put(full, "a")
    assert full.due(0.0) == 5.0
    put(full, "a")
    assert full.due(0.0) == 0.0
    batch, reason = full.take(0.0)
    assert (len(batch), reason) == (3, "size")


def test_the_oldest_item_counts() -> None:
    waiting = buffer()
    put(waiting, "a", at=1.0)
    put(waiting, "b", at=4.0)
    assert waiting.due(4.0) == 2.0
    assert waiting.due(6.0) == 0.0
    assert waiting.take(6.0)[1] == "interval"


def test_it_is_due_when_every_submitter_waits() -> None:
    both = buffer()
    one, other = put(both, "a"), put(both, "b")
    both.waits("a", one)
    assert both.due(0.0) == 5.0
    both.waits("b", other)
    assert both.due(0.0) == 0.0
    assert both.take(0.0)[1] == "waiting"


def test_who_is_being_written_counts_as_a_submitter() -> None:
    busy = buffer(size=1)
    put(busy, "a")
    busy.take(0.0)
    busy.size = 3
    busy.waits("b", put(busy, "b"))
    assert busy.due(0.0) == 5.0, "a may submit another"


def test_a_submitter_that_goes_on_no_longer_waits() -> None:
    one = buffer()
    first = put(one, "a")
    one.waits("a", first)
    put(one, "a")
    assert one.due(0.0) == 5.0
    one.waits("a", first)
    one.resumes("a", first)
    assert one.due(0.0) == 5.0


def test_who_waits_for_several_items_waits_until_the_last() -> None:
    several = buffer(size=2)
    entries = [put(several, "a") for _ in range(3)]
    for entry in entries:
        several.waits("a", entry)
    batch, _ = several.take(0.0)
    several.settled(batch, 0.0)
    assert several.due(0.0) == 0.0, "it waits for the third"


def test_who_got_what_it_waited_for_may_submit_again() -> None:
    one = buffer(size=2)
    first, _, _ = (put(one, "a") for _ in range(3))
    one.waits("a", first)
    batch, _ = one.take(0.0)
    one.settled(batch, 0.0)
    assert one.due(0.0) == 5.0


def test_a_waiting_that_comes_too_late_is_none() -> None:
    late = buffer(size=1)
    first = put(late, "a")
    batch, _ = late.take(0.0)
    late.settled(batch, 0.0)
    late.waits("a", first)
    late.size = 2
    put(late, "b")
    put(late, "a")
    late.take(0.0)
    put(late, "a")
    assert late.due(0.0) == 5.0


def test_submitters_that_have_ended_are_not_waited_for() -> None:
    gone: set[Any] = set()
    left = buffer(gone=gone.__contains__)
    put(left, "a")
    left.waits("b", put(left, "b"))
    assert left.due(0.0) == 5.0
    gone.add("a")
    assert left.due(0.0) == 0.0


def test_waiting_can_be_ignored() -> None:
    patient = buffer(when_waiting=False)
    patient.waits("a", put(patient, "a"))
    assert patient.due(0.0) == 5.0


def test_the_submitters_of_the_last_batch_have_a_moment_to_come_back() -> None:
    again = buffer(regather=0.1)
    for who in "ab":
        again.waits(who, put(again, who))
    batch, _ = again.take(0.0)
    again.settled(batch, 1.0)
    again.waits("a", put(again, "a", at=1.0))
    assert again.due(1.0) == pytest.approx(0.1)
    assert again.due(1.2) == 0.0
    again.waits("b", put(again, "b", at=1.0))
    assert again.due(1.0) == 0.0


def test_a_flush_is_of_what_is_there() -> None:
    some = buffer()
    put(some, "a")
    some.flush()
    assert some.due(0.0) == 0.0
    assert some.take(0.0)[1] == "flush"
    put(some, "a")
    assert some.due(0.0) == 5.0


def test_after_close_everything_is_due() -> None:
    ending = buffer()
    put(ending, "a")
    ending.close()
    assert ending.due(0.0) == 0.0
    assert ending.take(0.0)[1] == "close"
    put(ending, "a")
    assert ending.due(0.0) == 0.0


def test_room_counts_what_is_being_written() -> None:
    small = buffer(capacity=3)
    for _ in range(3):
        put(small, "a")
    assert not small.has_room
    batch, _ = small.take(0.0)
    assert not small.has_room
    small.settled(batch, 0.0)
    assert small.has_room


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["put", "wait", "write", "resume"])), max_size=60))
def test_whoever_waits_is_never_forgotten(steps: list[tuple[str, str]]) -> None:
    """Items leave in order and once, and when all who have items in there wait, the next batch is due."""
    some = buffer(size=4, capacity=1000)
    mine: dict[str, list[Entry]] = {"a": [], "b": [], "c": []}
    waits: dict[str, Entry | None] = dict.fromkeys("abc")
    submitted: list[Entry] = []
    taken: list[Entry] = []
    for who, step in steps:
        if step == "put":
            entry = put(some, who)
            mine[who].append(entry)
            submitted.append(entry)
            waits[who] = None
        elif step == "wait" and mine[who] and waits[who] is None:
            waits[who] = mine[who][-1]
            some.waits(who, mine[who][-1])
        elif step == "resume" and (awaited := waits[who]) is not None:
            waits[who] = None
            some.resumes(who, awaited)
        elif step == "write" and some.pending:
            batch, _ = some.take(0.0)
            taken += batch
            some.settled(batch, 0.0)
            for each in batch:
                mine[str(each.submitter)].remove(each)
            waits = {name: None if entry in batch else entry for name, entry in waits.items()}
        assert some.pending == len(submitted) - len(taken)
        holders = [name for name, entries in mine.items() if entries]
        if some.pending and some.pending < 4:
            assert (some.due(0.0) == 0.0) == all(waits[name] is not None for name in holders)
    assert taken == submitted[: len(taken)]


def test_what_is_taken_is_counted_at_every_moment() -> None:
    """Who asks for the length without the lock may count an item twice, and never miss one."""
    some = buffer(size=3)
    for _ in range(3):
        put(some, "a")
    seen: list[int] = []

    class Pending(deque[Entry]):
        def popleft(self) -> Entry:
            seen.append(len(some))
            found = super().popleft()
            seen.append(len(some))
            return found

    some._pending = Pending(some._pending)
    some.take(0.0)
    assert min(seen) == len(some) == 3
