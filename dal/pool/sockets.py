"""What is done to a connection's socket from outside, when its owner cannot be asked."""

from __future__ import annotations

import os
import socket
from contextlib import suppress

from sqlalchemy.pool import ConnectionPoolEntry

__all__ = ["break_off", "orphan"]


def break_off(record: ConnectionPoolEntry) -> None:
    """Hang up on a connection that another thread uses: its statement fails, and the server rolls back."""
    handle = _handle(record)
    if handle >= 0:
        with suppress(OSError), socket.socket(fileno=os.dup(handle)) as line:
            line.shutdown(socket.SHUT_RDWR)


def orphan(record: ConnectionPoolEntry) -> None:
    """Cut a forked child off its parent's connection: whatever it sends, also on closing, goes nowhere."""
    handle = _handle(record)
    if handle >= 0:
        here, there = socket.socketpair()
        there.close()
        with here:
            os.dup2(here.fileno(), handle)


def _handle(record: ConnectionPoolEntry) -> int:
    pgconn = getattr(record.driver_connection, "pgconn", None)
    try:
        return int(pgconn.socket) if pgconn is not None else -1
    except Exception:
        return -1
