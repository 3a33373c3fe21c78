"""Recording: what the function that fetches a value reads, so that the value can be spoiled by the right tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from dal.cache.snapshot import Snapshot
from dal.cache.tables import Touched

__all__ = ["Recording", "current", "recorded"]

_current: ContextVar[Recording | None] = ContextVar("dal_cache_recording", default=None)
current = _current.get


class Recording:
    """What was read.

    Attributes:
        tables: From these tables.
        clean: Whether all of it is known, was committed, and nothing was written on the way.
        snapshot: The oldest it was read in.
    """

    def __init__(self, tables: Iterable[str] = ()) -> None:
        self.tables = set(tables)
        self.clean = True
        self.snapshot: Snapshot | None = None

    def statement(self, touched: Touched, *, dirty: bool) -> None:
        """Note a statement.

        Args:
            touched: What it touches.
            dirty: Whether its transaction has written something.
        """
        if dirty or touched.writes != frozenset() or touched.reads is None:
            self.clean = False
        else:
            self.tables |= touched.reads

    def value(self, tables: frozenset[str], snapshot: Snapshot | None) -> None:
        """Note another value of the cache that this one is made of."""
        self.tables |= tables
        if self.snapshot is None or (snapshot is not None and self.snapshot.covers(snapshot)):
            self.snapshot = snapshot


@contextmanager
def recorded(recording: Recording) -> Iterator[Recording]:
    """Record what the block reads, on any engine that is watched."""
    token = _current.set(recording)
    try:
        yield recording
    finally:
        _current.reset(token)
