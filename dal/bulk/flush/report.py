"""FlushReport: what the flushes of a session sent by COPY, and what by INSERT all the same, and why."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Table
from sqlalchemy.orm import Mapper

__all__ = ["Fallback", "FlushReport", "Ordinary"]

_log = logging.getLogger("dal.bulk.flush")


class Ordinary(Exception):
    """Rows have to go the ordinary way.

    Args:
        reason: Why.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Fallback:
    """Rows that went by INSERT.

    Args:
        entity: The mapped class.
        table: The table.
        reason: Why.
        rows: How many.
    """

    entity: str
    table: str
    reason: str
    rows: int


class FlushReport:
    """What became of the flushes of one session.

    Args:
        off: Why no flush of it can go by COPY, or None.
    """

    def __init__(self, off: str | None = None) -> None:
        self.off = off
        self.few = 0
        self._copied: Counter[str] = Counter()
        self._fallbacks: Counter[tuple[str, str, str]] = Counter()
        if off is not None:
            _once(("", "", off), f"flushes stay SQLAlchemy's own: {off}")

    def __repr__(self) -> str:
        shown = [f"{entity}: {rows:,} by COPY" for entity, rows in self._copied.items()]
        shown += [f"{each.entity}: {each.rows:,} by INSERT ({each.reason})" for each in self.fallbacks]
        shown += [f"{self.few:,} by INSERT, too few at a time"] * bool(self.few)
        shown += [] if self.off is None else [self.off]
        return f"<FlushReport {'; '.join(shown) or 'nothing flushed'}>"

    @property
    def copied(self) -> Mapping[str, int]:
        """How many rows went by COPY, by the name of the table."""
        return dict(self._copied)

    @property
    def fallbacks(self) -> tuple[Fallback, ...]:
        """What went by INSERT though there was enough of it for a COPY."""
        return tuple(Fallback(*told, rows) for told, rows in self._fallbacks.items())

    def went(self, table: Table, rows: int) -> None:
        """Note rows that went by COPY."""
        self._copied[table.fullname] += rows

    def fell_back(self, mapper: Mapper[Any], table: Table, reason: str, rows: int) -> None:
        """Note rows that went by INSERT, and say so in the log, once for each mapper and reason."""
        told = (mapper.class_.__name__, table.fullname, reason)
        self._fallbacks[told] += rows
        _once(told, f"{told[0]} is flushed by INSERT into {told[1]}: {reason}")


_told: set[tuple[str, str, str]] = set()


def _once(key: tuple[str, str, str], line: str) -> None:
    if key not in _told:
        _told.add(key)
        _log.info("%s", line)
