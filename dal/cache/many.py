"""Many values of a cache at once: what is missing is read in one go, and kept value by value.

For cells of a map or neighbouring keys, which one statement reads and later calls ask for one by one. What others are
fetching at the same time is not waited for.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from sqlalchemy.orm import Session

from dal.cache.cache import Cache, Form
from dal.cache.entry import Entry
from dal.cache.forms import copies
from dal.cache.frozen import Frozen, freeze
from dal.cache.recording import Recording, current
from dal.cache.sizes import ENTRY, TAG, size_of

__all__ = ["LoadMany", "fetch_many"]

LoadMany = Callable[[Session, Sequence[Any]], Mapping[Any, Any]]
"""Reads the values of several keys."""


def fetch_many(cache: Cache, keys: Sequence[Hashable], load: LoadMany, *, form: Form[Any] = copies) -> list[Any]:
    """Return what is kept under each of some keys; what is missing is read in one go.

    Args:
        cache: The cache.
        keys: The keys.
        load: Called with a session and the keys that are missing, if there are any; returns the value of each of them.
        form: `copies`, `shapes` or `dictionaries`.

    Returns:
        The values, in the order of the keys.

    Raises:
        UsageError: What was loaded cannot be kept.
    """
    found = {key: entry for key in keys if (entry := cache.hit(key)) is not None}
    missing = [key for key in keys if key not in found]
    if missing:
        found.update(_read(cache, missing, load))
    return [_given(cache, key, found[key], form) for key in keys]


def _given(cache: Cache, key: Hashable, entry: Entry, form: Form[Any]) -> Any:
    if current() is not None:
        cache._part_of_another(entry)
    return entry.root if entry.plain else cache.formed(key, entry, form)


def _read(cache: Cache, missing: Sequence[Hashable], load: LoadMany) -> dict[Hashable, Entry]:
    cache._await_bus()
    since = cache._shelf.now()
    recording = Recording()

    def each(values: Mapping[Any, Any]) -> dict[Hashable, Frozen]:
        return {key: freeze(values[key]) for key in missing}

    frozen: dict[Hashable, Frozen] = cache._trying(lambda: cache._read(lambda session: load(session, missing), recording, each))
    tables = frozenset(recording.tables)
    made = {}
    for key, value in frozen.items():
        entry = made[key] = Entry(value, tables, recording.snapshot, size_of(key, value) + ENTRY + TAG * len(tables))
        entry.clean, entry.since = recording.clean, since
        cache._shelf.keep(key, entry, since)
    return made
