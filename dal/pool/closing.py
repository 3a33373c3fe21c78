"""How a pool ends: no new borrowers, a bounded wait for what is out, then the rest is broken off."""

from __future__ import annotations

from time import monotonic
from typing import TypeVar

from dal.errors import UsageError
from dal.pool import exhaustion
from dal.pool.core import Core

__all__ = ["close"]

T = TypeVar("T")


def close(core: Core[T], timeout: float) -> list[str]:
    """Close a pool: refuse borrowers, wait for what is out, break it off when the time is over.

    Args:
        core: The pool.
        timeout: Seconds to wait for objects in use.

    Returns:
        What was still in use at the end, one line each.
    """
    shelf, deadline = core.shelf, monotonic() + timeout
    with shelf.lock:
        shelf.closed = True
        shelf.settle()
        while shelf.waiters:
            shelf.waiters.popleft().fail(UsageError(f"the pool {core.name!r} was closed", hint="open a new one"))
    core.retire("closed")
    core.runtime.stop()
    while (shelf.entries or shelf.opening) and monotonic() < deadline:
        core.runtime.pause(min(0.01, max(0.0, deadline - monotonic())))
    with shelf.lock:
        left = shelf.in_use()
    for entry in left:
        core.hooks.abort(entry.thing)
    return [exhaustion.holder(core, entry, monotonic()) for entry in left]
