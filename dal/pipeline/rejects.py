"""Where rejected items go: to the caller's function, and the first of them into the report."""

from __future__ import annotations

import threading
from collections.abc import Callable

from dal.pipeline.report import KEPT, RejectedItem

__all__ = ["Rejects"]


class Rejects:
    """Takes the rejected items of a run.

    Args:
        stop: Whether the first one ends the run.
        sink: Told each of them, one at a time.
        limit: How many there may be.
    """

    def __init__(self, *, stop: bool, sink: Callable[[RejectedItem], object] | None, limit: int | None) -> None:
        self.stop, self._sink, self._limit = stop, sink, limit
        self._count = 0
        self._lock = threading.Lock()
        self.kept: list[RejectedItem] = []

    def add(self, rejected: RejectedItem) -> str | None:
        """Take an item.

        Returns:
            Why the run has to end, or None.
        """
        if self.stop:
            return rejected.reason
        with self._lock:
            self._count += 1
            if len(self.kept) < KEPT:
                self.kept.append(rejected)
            if self._sink is not None:
                self._sink(rejected)
        if self._limit is not None and self._count > self._limit:
            return f"more than {self._limit} items were rejected; the last one: {rejected.reason}"
        return None
