"""One execution, read off SQLAlchemy's event; it lives no longer than the event."""

from __future__ import annotations

from types import FrameType
from typing import Any

from dal.detection.shapes import Shape
from dal.detection.trail import Trail

__all__ = ["Statement"]


class Statement:
    """One execution, as the cursor saw it, shared by all scopes that watch.

    Args:
        execution: SQLAlchemy's execution context; knows the cursor, too.
        sql: The text: of a compiled statement its own, one for every length of an IN list; else as it was sent.
        parameters: The parameters; of a compiled statement by name.
        started: When it was sent, by `perf_counter()`.
        ended: When the driver had the answer.
        shape: What is known about its text.
        trail: The way from it to the application.
        request: The outermost frame of a web framework on that way.
    """

    __slots__ = ("ended", "execution", "parameters", "request", "shape", "sql", "started", "trail")

    def __init__(
        self,
        execution: Any,
        sql: str,
        parameters: Any,
        started: float,
        ended: float,
        shape: Shape,
        trail: Trail,
        request: FrameType | None,
        /,
    ) -> None:
        self.execution = execution
        self.sql = sql
        self.parameters = parameters
        self.started = started
        self.ended = ended
        self.shape = shape
        self.trail = trail
        self.request = request
