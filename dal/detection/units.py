"""The requests of one scope, numbered, so that two requests of a test are not taken for a loop."""

from __future__ import annotations

import itertools
from contextvars import ContextVar
from types import FrameType

from dal.detection.statement import Statement

__all__ = ["Units"]

_MOST = 8

_worker_unit: ContextVar[int] = ContextVar("dal_detection_worker_unit", default=0)
_numbers = itertools.count(1)


class Units:
    """Numbers of requests.

    A request is known by the outermost frame of its framework, or by the context of the worker that serves it. The frames of
    the last few are kept, as a frame that is gone may have a successor at the same address.
    """

    __slots__ = ("_requests",)

    def __init__(self) -> None:
        self._requests: dict[int, tuple[FrameType, int]] = {}

    def number(self, statement: Statement) -> int:
        """Return the number of the request a statement belongs to; 0 outside of requests."""
        if statement.request is not None:
            return self._of_frame(statement.request)
        if statement.trail.worker:
            unit = _worker_unit.get()
            if not unit:
                unit = next(_numbers)
                _worker_unit.set(unit)
            return unit
        return 0

    def _of_frame(self, frame: FrameType) -> int:
        known = self._requests.get(id(frame))
        if known is None:
            if len(self._requests) >= _MOST:
                del self._requests[next(iter(self._requests))]
            known = self._requests[id(frame)] = (frame, next(_numbers))
        return known[1]

    def clear(self) -> None:
        """Let go of the frames."""
        self._requests.clear()
