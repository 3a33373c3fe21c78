"""Switching it on for a session."""

from __future__ import annotations

import threading
from typing import Any

import sqlalchemy
from sqlalchemy.orm import Session

from dal.bulk import _internals
from dal.bulk.flush.emitting import emit
from dal.bulk.flush.report import FlushReport
from dal.errors import UsageError

__all__ = ["bulk_flush"]

_REPORT = "dal.bulk_flush"
_lock = threading.Lock()
_standing = False


def bulk_flush(session: Any) -> FlushReport:
    """Let the flushes of a session go by COPY where they can; `db.session(bulk_flush=True)` calls it.

    Args:
        session: A Session, an AsyncSession, or a `scoped_session`.

    Returns:
        What became of its flushes, from the first call on; it keeps counting.

    Raises:
        UsageError: It is no session.

    Example:
        >>> from dal import Database
        >>> with Database("sqlite://") as db, db.session() as session:
        ...     bulk_flush(session)
        <FlushReport nothing flushed>
    """
    inner = session() if hasattr(session, "registry") else session
    inner = getattr(inner, "sync_session", inner)
    if not isinstance(inner, Session):
        raise UsageError(f"a {type(session).__name__} is no session", hint="write bulk_flush(session)")
    found: FlushReport | None = inner.info.get(_REPORT)
    if found is None:
        found = inner.info[_REPORT] = FlushReport(_stand())
    return found


def _stand() -> str | None:
    """Stand before SQLAlchemy's sending, once in a process; return why that cannot be."""
    global _standing
    changed = _internals.missing()
    if changed:
        return f"SQLAlchemy {sqlalchemy.__version__} has another {', '.join(changed)} than this dal knows"
    with _lock:
        if not _standing:
            _internals.stand_before(_asked, lambda emission: emit(emission, emission.unit.session.info[_REPORT]))
            _standing = True
    return None


def _asked(session: Session) -> bool:
    found: FlushReport | None = session.info.get(_REPORT)
    return found is not None and found.off is None
