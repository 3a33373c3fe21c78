"""What is known about a text of SQL: its fingerprint, its kind, and the ways on which it came; looked up, not found out again.

The kinds are read, write, a queue being polled, a savepoint, or none of detection's business.
"""

from __future__ import annotations

import re

from dal.detection.fingerprint import LONGEST, fingerprint
from dal.detection.trail import Trail

__all__ = [
    "NOISE",
    "POLL",
    "READ",
    "SAVEPOINT",
    "WRITE",
    "Shape",
    "known",
    "remember",
    "shape_kind",
    "shape_of",
    "written_table",
]

READ, WRITE, POLL, SAVEPOINT, NOISE = "read", "write", "poll", "savepoint", "noise"

_NOISE = re.compile(
    r"\s*(?:PRAGMA|SHOW|SET|BEGIN|START|COMMIT|ROLLBACK|RELEASE|EXPLAIN|ANALYZE|CREATE|DROP|ALTER|TRUNCATE|COPY|LOCK|LISTEN|NOTIFY"
    r"|UNLISTEN|DESCRIBE|USE|VACUUM|DECLARE|FETCH|MOVE|CLOSE|DEALLOCATE|PREPARE|DISCARD|CALL|DO|GRANT|REFRESH|COMMENT)\b",
    re.IGNORECASE,
)
_CATALOG = re.compile(
    r"\bpg_catalog\b|\bpg_class\b|\binformation_schema\b|\bsqlite_master\b|\bsqlite_schema\b|\bnextval\s*\(|\bpg_advisory|\bpg_try_advisory",
    re.IGNORECASE,
)
_WRITE = re.compile(
    r"\s*(?:INSERT|UPDATE|DELETE|MERGE|REPLACE)\b|\s*WITH\b.*\b(?:INSERT\s+INTO|UPDATE\s+\S+\s+SET|DELETE\s+FROM)\b",
    re.IGNORECASE | re.DOTALL,
)

_TABLE = re.compile(r"\b(?:INTO|UPDATE|FROM)\s+(?:ONLY\s+)?([^\s(]+)", re.IGNORECASE)


def shape_kind(shape: str) -> str:
    """Return the kind of a statement.

    Args:
        shape: The statement, or its fingerprint.

    Example:
        >>> shape_kind("SELECT 1 FROM t"), shape_kind("PRAGMA table_info(t)"), shape_kind("DELETE FROM t")
        ('read', 'noise', 'write')
    """
    if shape[:9].upper() == "SAVEPOINT":
        return SAVEPOINT
    if _NOISE.match(shape) or _CATALOG.search(shape):
        return NOISE
    if _WRITE.match(shape):
        return WRITE
    return POLL if "SKIP LOCKED" in shape.upper() else READ


def written_table(shape: str) -> str:
    """Return the table that a write changes, as it is written; empty where none can be told.

    Example:
        >>> written_table("INSERT INTO users (name) VALUES (?)"), written_table("UPDATE ONLY t SET a = ?")
        ('users', 't')
    """
    found = _TABLE.search(shape)
    return found.group(1) if found else ""


class Shape:
    """What texts of one fingerprint have in common.

    Attributes:
        text: The fingerprint.
        kind: READ, WRITE, POLL, SAVEPOINT or NOISE.
        trails: The last ways on which such a statement came.
    """

    __slots__ = ("kind", "text", "trails")

    def __init__(self, text: str) -> None:
        self.text = text
        self.kind = shape_kind(text)
        self.trails: list[Trail] = []


_MOST_TEXTS = 2_000
_MOST_TRAILS = 4_000
_MOST_TRAILS_EACH = 8

known: dict[str, Shape] = {}
"""Shapes by the text of a statement, while they are few."""

_by_fingerprint: dict[str, Shape] = {}
_trails = 0


def shape_of(sql: str) -> Shape:
    """Return the shape of a text.

    Example:
        >>> shape_of("SELECT 1 FROM t") is shape_of("SELECT 2 FROM t")
        True
    """
    text = sql if len(sql) <= LONGEST else sql[:LONGEST]
    found = known.get(text)
    if found is None:
        if len(known) >= _MOST_TEXTS:
            _forget()
        print_ = fingerprint(text)
        found = _by_fingerprint.get(print_)
        if found is None:
            found = _by_fingerprint[print_] = Shape(print_)
        known[text] = found
    return found


def remember(shape: Shape, trail: Trail) -> None:
    """Keep a trail, to know it again.

    Args:
        shape: What came on it.
        trail: One that leads over at least one frame.
    """
    global _trails
    if _trails >= _MOST_TRAILS:
        _forget()
    _trails += 1
    # A new list: other threads may be looking through the old one.
    shape.trails = [trail, *shape.trails[: _MOST_TRAILS_EACH - 1]]


def _forget() -> None:
    global _trails
    known.clear()
    _by_fingerprint.clear()
    _trails = 0
