"""The guard against an oracle: whatever is admitted has seen every write that was told of."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from dal.cache.guard import Guard, Origin
from dal.cache.snapshot import Snapshot

TABLES = ("a", "b", "c")


def test_a_snapshot_says_what_it_sees() -> None:
    snapshot = Snapshot.of("10:14:10,12")
    assert [each for each in range(8, 16) if snapshot.sees(each)] == [8, 9, 11, 13]
    assert Snapshot.of("14:14:").covers(snapshot)
    assert not snapshot.covers(Snapshot.of("14:14:"))
    assert snapshot.covers(snapshot)


@pytest.mark.parametrize("bad", ["", "1:2", "a:b:", "5:4:", "1:2:x"])
def test_what_is_no_snapshot_is_refused(bad: str) -> None:
    with pytest.raises(ValueError):
        Snapshot.of(bad)


@given(st.lists(st.tuples(st.sampled_from(["begin", "end", "look"]), st.integers(0, 9)), max_size=40))
def test_later_snapshots_cover_earlier_ones(steps: list[tuple[str, int]]) -> None:
    following, running, seen = 1, set[int](), []
    for step, which in steps:
        if step == "begin":
            running.add(following)
            following += 1
        elif step == "end" and running:
            running.discard(sorted(running)[which % len(running)])
        elif step == "look":
            lowest = min(running, default=following)
            seen.append(Snapshot.of(f"{lowest}:{following}:{','.join(map(str, sorted(running)))}"))
    for early, late in pairwise(seen):
        assert late.covers(early)
        assert early.covers(late) == all(late.sees(each) == early.sees(each) for each in range(1, following))


class Processes(RuleBasedStateMachine):
    """One process's guard; writes here and elsewhere, readings that begin and end, news that come late."""

    def __init__(self) -> None:
        super().__init__()
        self.guard = Guard()
        self.guard.restart(Snapshot.of("1:1:"))
        self.next = 1
        self.news: list[tuple[str, Snapshot]] = []
        self.readings: list[tuple[str, int, Snapshot, int]] = []
        self.version = dict.fromkeys(TABLES, 0)
        self.told = dict.fromkeys(TABLES, 0)
        self.kept: dict[str, tuple[int, Snapshot]] = {}

    def snapshot(self) -> Snapshot:
        return Snapshot.of(f"{self.next}:{self.next}:")

    def drop(self, table: str, unless: Snapshot | None = None) -> None:
        if table in self.kept and (unless is None or not self.kept[table][1].covers(unless)):
            del self.kept[table]

    @rule(table=st.sampled_from(TABLES))
    def write_here(self, table: str) -> None:
        self.next += 1
        self.version[table] += 1
        self.guard.spoil(frozenset({table}))
        self.drop(table)
        self.told[table] = self.version[table]

    @rule(table=st.sampled_from(TABLES))
    def write_elsewhere(self, table: str) -> None:
        self.next += 1
        self.version[table] += 1
        self.news.append((table, self.snapshot()))

    @rule(which=st.integers(0, 9))
    def hear(self, which: int) -> None:
        if self.news:
            table, snapshot = self.news.pop(which % len(self.news))
            self.guard.raise_floor([table], snapshot)
            self.drop(table, unless=snapshot)
            if not any(each == table for each, _ in self.news):
                self.told[table] = self.version[table]

    @rule(table=st.sampled_from(TABLES))
    def begin_to_read(self, table: str) -> None:
        self.readings.append((table, self.guard.clock, self.snapshot(), self.version[table]))

    @rule(which=st.integers(0, 9))
    def end_reading(self, which: int) -> None:
        if self.readings:
            table, since, snapshot, version = self.readings.pop(which % len(self.readings))
            if self.guard.admits(Origin(frozenset({table}), since, snapshot)):
                self.kept[table] = (version, snapshot)

    @invariant()
    def what_is_kept_is_not_older_than_what_was_told(self) -> None:
        for table, (version, _) in self.kept.items():
            assert version >= self.told[table]


TestProcesses = Processes.TestCase
TestProcesses.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_what_another_process_read_is_used_only_when_it_saw_everything() -> None:
    guard = Guard()
    guard.restart(Snapshot.of("10:10:"))
    table = frozenset({"a"})
    assert not guard.admits_foreign(table, Snapshot.of("9:9:"))
    assert guard.admits_foreign(table, Snapshot.of("10:10:"))
    until = guard.unsettle(["a"])
    assert not guard.admits_foreign(table, Snapshot.of("99:99:"))
    assert guard.admits_foreign(frozenset({"b"}), Snapshot.of("10:10:"))
    guard.settle(["a"], until, Snapshot.of("20:20:"))
    assert not guard.admits_foreign(table, Snapshot.of("19:19:"))
    assert guard.admits_foreign(table, Snapshot.of("20:20:"))
    guard.raise_floor(["*"], Snapshot.of("30:30:"))
    assert not guard.admits_foreign(frozenset({"b"}), Snapshot.of("29:29:"))


def test_a_write_that_follows_is_not_settled_by_the_one_before() -> None:
    guard = Guard()
    guard.spoil(frozenset({"a"}))
    first = guard.unsettle(["a"])
    guard.spoil(frozenset({"a"}))
    guard.unsettle(["a"])
    guard.settle(["a"], first, Snapshot.of("20:20:"))
    assert not guard.admits_foreign(frozenset({"a"}), Snapshot.of("99:99:"))


def test_names_without_end_do_not_grow_without_end() -> None:
    guard = Guard()
    for number in range(25_000):
        guard.spoil(frozenset({f"t{number}"}))
        until = guard.unsettle([f"t{number}"])
        guard.settle([f"t{number}"], until, Snapshot.of(f"{number + 1}:{number + 1}:"))
        guard.raise_floor([f"u{number}"], Snapshot.of(f"{number + 1}:{number + 1}:"))
    assert guard.size < 35_000
    assert not guard.admits_foreign(frozenset({"t0"}), Snapshot.of("1:1:"))
