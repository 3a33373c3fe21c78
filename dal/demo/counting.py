"""Count the statements an engine really sends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, event

__all__ = ["Counter", "counted"]


@dataclass
class Counter:
    """How many statements were sent so far."""

    statements: int = 0


@contextmanager
def counted(engine: Engine) -> Iterator[Counter]:
    """Listen to an engine for the time of a block.

    Args:
        engine: The engine.

    Yields:
        The counter; it keeps its number after the block.
    """
    counter = Counter()

    def before_cursor_execute(*_: Any) -> None:
        counter.statements += 1

    event.listen(engine, "before_cursor_execute", before_cursor_execute)
    try:
        yield counter
    finally:
        event.remove(engine, "before_cursor_execute", before_cursor_execute)
