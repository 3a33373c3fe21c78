"""The store against an oracle, and its bounds."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from dal.cache import MemoryCache
from dal.cache.entry import Entry
from dal.cache.frozen import freeze
from dal.cache.memory import MemoryStore

KEYS = st.integers(0, 7)
TABLES = st.frozensets(st.sampled_from("abc"), max_size=2)


class Store(RuleBasedStateMachine):
    """Entries come, are used and go; a list in order of use says which should be there."""

    def __init__(self) -> None:
        super().__init__()
        self.store = MemoryStore(MemoryCache(max_bytes=100, max_entries=5))
        self.known: list[tuple[int, int, frozenset[str]]] = []

    @rule(key=KEYS, size=st.integers(1, 120), tables=TABLES)
    def put(self, key: int, size: int, tables: frozenset[str]) -> None:
        self.store.put(key, Entry(freeze(None), tables, None, size))
        self.known = [each for each in self.known if each[0] != key]
        if size <= 100:
            self.known.append((key, size, tables))
            while sum(each[1] for each in self.known) > 100 or len(self.known) > 5:
                self.known.pop(0)

    @rule(key=KEYS)
    def use(self, key: int) -> None:
        if key in self.store.entries:
            self.store.entries.move_to_end(key)
            at = [each[0] for each in self.known].index(key)
            self.known.append(self.known.pop(at))

    @rule(key=KEYS)
    def remove(self, key: int) -> None:
        self.store.remove(key)
        self.known = [each for each in self.known if each[0] != key]

    @rule(tables=st.none() | TABLES)
    def drop(self, tables: frozenset[str] | None) -> None:
        self.store.drop(tables)
        self.known = [each for each in self.known if tables is not None and not each[2] & tables]

    @invariant()
    def holds_what_it_should(self) -> None:
        assert list(self.store.entries) == [each[0] for each in self.known]
        assert self.store.bytes == sum(each[1] for each in self.known) <= 100
        tags = {table for each in self.known for table in each[2]}
        assert set(self.store._tagged) == tags


TestStore = Store.TestCase
TestStore.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_an_entry_that_grows_makes_others_go() -> None:
    store = MemoryStore(MemoryCache(max_bytes=100))
    first, second = (Entry(freeze(None), frozenset(), None, 40) for _ in range(2))
    store.put(1, first)
    store.put(2, second)
    store.grow(2, second, 50)
    assert (list(store.entries), store.bytes) == ([2], 90)
    store.grow(1, first, 50)
    assert store.bytes == 90


def test_ends_are_scattered() -> None:
    store = MemoryStore(MemoryCache(ttl=100, jitter=0.5))
    for key in range(100):
        store.put(key, Entry(freeze(None), frozenset(), None, 1))
    ends = [entry.fresh_until for entry in store.entries.values()]
    assert max(ends) - min(ends) > 10
