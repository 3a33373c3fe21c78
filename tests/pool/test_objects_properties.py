"""Whatever is done to a pool in whatever order: sizes hold, nothing is lent twice, nothing is lost."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dal.pool import ObjectPool
from dal.pool.control import resize
from dal.pool.entry import Entry
from dal.pool.maintenance import tick
from dal.pool.runtime import Threads


class Thing:
    """Something expensive, with a number."""

    numbers = itertools.count()

    def __init__(self) -> None:
        self.number = next(self.numbers)
        self.good = True
        self.ended = 0


def end(thing: Thing) -> None:
    thing.ended += 1


class Inline(Threads):
    """Makes on the spot, and leaves maintenance to the test: every run is the same."""

    def spawn(self, work: Callable[[], None], name: str) -> None:
        if name.endswith("-maker"):
            work()


class PoolMachine(RuleBasedStateMachine):
    """One borrower who does everything a pool allows."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[Entry[Thing]] = []
        self.limit = 3

    @initialize(minimum=st.integers(0, 2))
    def open(self, minimum: int) -> None:
        self.pool = ObjectPool(
            Thing, validate=lambda thing: thing.good, destroy=end, min_size=minimum, max_size=3, runtime=Inline()
        )

    @precondition(lambda self: len(self.held) < self.limit)
    @rule()
    def borrow(self) -> None:
        entry = self.pool.take(5)
        assert entry.thing.good
        assert not entry.thing.ended
        assert all(entry.thing is not other.thing for other in self.held)
        self.held.append(entry)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        self.pool.give_back(self.held.pop(data.draw(st.integers(0, len(self.held) - 1))))

    @precondition(lambda self: self.held)
    @rule()
    def spoil_and_give_back(self) -> None:
        entry = self.held.pop()
        entry.thing.good = False
        self.pool.give_back(entry)

    @precondition(lambda self: self.held)
    @rule()
    def drop(self) -> None:
        entry = self.held.pop()
        self.pool._core.drop(entry)
        assert entry.thing.ended == 1

    @rule()
    def drain(self) -> None:
        self.pool.drain()

    @rule()
    def sweep(self) -> None:
        self.pool._core.sweep()

    @rule()
    def maintain(self) -> None:
        tick(self.pool._core)

    @rule(limit=st.integers(1, 4))
    def resize(self, limit: int) -> None:
        resize(self.pool._core, 0, limit)
        self.limit = limit

    @invariant()
    def the_numbers_agree(self) -> None:
        if hasattr(self, "pool"):
            stats = self.pool.stats()
            assert stats.in_use == len(self.held)
            assert stats.waiting == 0
            assert stats.opening == 0
            assert stats.size <= max(self.limit, len(self.held))
            assert all(not entry.thing.ended for entry in self.held)

    def teardown(self) -> None:
        if hasattr(self, "pool"):
            for entry in self.held:
                self.pool.give_back(entry)
            self.pool.close()
            stats = self.pool.stats()
            assert (stats.size, stats.idle, stats.in_use) == (0, 0, 0)


TestPool = PoolMachine.TestCase
TestPool.settings = settings(max_examples=100, stateful_step_count=25, deadline=None)
