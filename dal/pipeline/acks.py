"""Acknowledging what a source gave, in its order, once it is stored or rejected.

A source whose items have `ack()`, such as a change stream or a queue, keeps what is not acknowledged and gives it again: with
it a pipeline loses nothing when it is stopped in the middle. Where a stage aggregates, everything is acknowledged at the end.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

__all__ = ["Acks"]


class Acks:
    """What waits to be acknowledged.

    Args:
        call: Calls `ack`, and awaits it where that is needed.
        at_the_end: Whether nothing is done with before everything is.
    """

    def __init__(self, call: Callable[[Callable[[], Any]], object], *, at_the_end: bool) -> None:
        self._call, self._at_the_end = call, at_the_end
        self._waiting: deque[list[Any]] = deque()
        self._lock = threading.Lock()
        self._acking = False

    def begin(self, item: Any) -> list[Any]:
        """Note an item of the source; returns its origin, which goes along with it."""
        origin = [item, False]
        self._waiting.append(origin)
        return origin

    def done(self, origins: list[Any]) -> None:
        """Note that items are stored or rejected, and acknowledge everything up to the first that is not."""
        if self._at_the_end:
            return
        with self._lock:
            for origin in origins:
                origin[1] = True
            if self._acking:
                return
            self._acking = True
        try:
            while (item := self._next()) is not None:
                self._call(item.ack)
        except BaseException:
            self._acking = False
            raise

    def settled(self) -> bool:
        """Tell whether nothing waits that could be acknowledged now."""
        return self._at_the_end or not self._waiting

    def all_done(self) -> None:
        """Acknowledge what waits for the end."""
        if self._at_the_end:
            for item, _ in self._waiting:
                self._call(item.ack)
            self._waiting.clear()

    def _next(self) -> Any:
        # One at a time acknowledges, so that it is in order; it goes on with what others have finished meanwhile.
        with self._lock:
            if self._waiting and self._waiting[0][1]:
                return self._waiting.popleft()[0]
            self._acking = False
            return None
