"""What a session is bound to and busy with."""

from __future__ import annotations

from typing import Any

from greenlet import getcurrent
from sqlalchemy.orm import Mapper, Session
from sqlalchemy.util import concurrency

from dal.loading._internals.names import missing

__all__ = [
    "current_task",
    "flushing",
    "in_greenlet",
    "is_async",
    "waits",
]


def is_async(session: Session, mapper: Mapper[Any]) -> bool:
    """Tell whether a session works on an asyncio engine."""
    return session.get_bind(mapper).dialect.is_async


def waits(session: Session) -> bool:
    """Tell whether a session is bound to an asyncio engine as a whole."""
    bind = session.bind
    return bind is not None and bind.dialect.is_async


def flushing(session: Session) -> bool:
    """Tell whether the session is inside a flush."""
    return bool(session._flushing)


def in_greenlet() -> bool:
    """Tell whether a wait for an asyncio driver is possible here."""
    return "concurrency.in_greenlet" in missing() or concurrency.in_greenlet()


def current_task() -> object:
    """Return what tells one asyncio task that loads from another."""
    return getcurrent()
