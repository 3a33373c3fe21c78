"""The names of SQLAlchemy and greenlet that are not promised, in one place, each with what happens where it is missing."""

from __future__ import annotations

from collections.abc import Awaitable
from importlib import import_module
from types import FrameType
from typing import Any, TypeVar

from sqlalchemy import util
from sqlalchemy.engine import Connection

__all__ = ["awaiting_frame", "driver_of", "wait_for"]

T = TypeVar("T")

_getcurrent: Any = import_module("greenlet").getcurrent
_await: Any = getattr(util, "await_", None) or util.await_only


def wait_for(awaitable: Awaitable[T]) -> T:
    """Await inside one of SQLAlchemy's greenlets."""
    result: T = _await(awaitable)
    return result


def awaiting_frame() -> FrameType | None:
    """Find the frame of the coroutine that runs the current greenlet; None outside of one."""
    parent = _getcurrent().parent
    frame: FrameType | None = parent.gr_frame if parent is not None else None
    return frame


def driver_of(connection: Connection | None) -> Any:
    """Find the driver's connection without opening another one; None when there is none."""
    proxied = getattr(connection, "_dbapi_connection", None)
    return proxied.driver_connection if proxied is not None else None
