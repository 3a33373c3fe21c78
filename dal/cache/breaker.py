"""Breaker: leaves a service that does not answer alone for a while, and then lets one caller try."""

from __future__ import annotations

import random
import threading
from time import monotonic

__all__ = ["Breaker"]

_FIRST, _LONGEST = 0.5, 30.0


class Breaker:
    """Whether a service is asked: after a failure not for half a second, then for twice as long, up to half a minute."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pause = 0.0
        self._until = 0.0
        self._closed = True

    def allows(self) -> bool:
        """Tell whether the caller may ask; while it is open, one caller may each time the pause is over."""
        if self._closed:
            return True
        with self._lock:
            if monotonic() < self._until:
                return False
            self._until = monotonic() + self._pause
            return True

    def worked(self) -> None:
        """Note an answer."""
        if not self._closed:
            with self._lock:
                self._closed, self._pause = True, 0.0

    def failed(self) -> None:
        """Note that there was none."""
        with self._lock:
            if self._closed or monotonic() >= self._until - self._pause:
                self._pause = min(max(self._pause * 2, _FIRST), _LONGEST)
                self._until = monotonic() + self._pause * (1 - 0.2 * random.random())
            self._closed = False
