"""One execution, read off SQLAlchemy's event; it lives no longer than the event."""

from __future__ import annotations

from typing import Any

from dal.detection.callsite import Walk

__all__ = ["Statement"]


class Statement:
    """One execution, as the cursor saw it, shared by all scopes that watch.

    Args:
        execution: SQLAlchemy's execution context.
        cursor: The driver's cursor.
        sql: The text as it was sent.
        parameters: The parameters as they were sent.
        many: It was an executemany.
        started: When it was sent, by `perf_counter()`.
        ended: When the driver had the answer.
    """

    __slots__ = ("cursor", "ended", "execution", "many", "parameters", "sql", "started", "walk")

    def __init__(
        self, execution: Any, cursor: Any, sql: str, parameters: Any, many: bool, started: float, ended: float, /
    ) -> None:
        self.execution = execution
        self.cursor = cursor
        self.many = many
        self.started = started
        self.ended = ended
        compiled = execution.compiled
        if compiled is None:
            self.sql = sql
            self.parameters = parameters
        else:
            # The compiled text is one string for every length of an IN list, and its parameters have names.
            self.sql = compiled.string or sql
            named = execution.compiled_parameters
            self.parameters = named[0] if named else parameters
        self.walk: Walk | None = None
