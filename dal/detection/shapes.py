"""What kind of statement a text is: read, write, a queue being polled, a savepoint, or none of detection's business."""

from __future__ import annotations

import re

__all__ = ["NOISE", "POLL", "READ", "SAVEPOINT", "WRITE", "shape_kind"]

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
