"""What an operator does to a pool: warm it up, change its sizes, suspend it, close it."""

from __future__ import annotations

from time import monotonic
from typing import TypeVar

from dal.errors import UsageError
from dal.pool import exhaustion
from dal.pool.core import Core

__all__ = ["close", "resize", "rest", "suspend", "warm_up"]

T = TypeVar("T")


def warm_up(core: Core[T], timeout: float) -> bool:
    """Start, and wait until the minimum exists, for `timeout` seconds at the most.

    Raises:
        Exception: What the maker failed with, if trying again is of no use.
    """
    core.start()
    deadline = monotonic() + timeout
    while len(core.shelf.entries) < core.shelf.min_size:
        error = core.maker.last_error
        if error is not None and not core.hooks.transient(error):
            raise core.hooks.failure(error)
        if monotonic() >= deadline:
            return False
        core.runtime.pause(0.005)
    return True


def resize(core: Core[T], min_size: int, max_size: int) -> None:
    """Change the sizes; what is over the maximum goes at once if idle, else when it comes back."""
    with core.shelf.lock:
        core.shelf.min_size, core.shelf.max_size = min_size, max_size
        over = max(0, len(core.shelf.entries) - max_size)
        gone = [entry for entry in list(core.shelf.idle)[:over] if core.shelf.pick(entry)]
        if over > len(gone):
            for entry in core.shelf.in_use():
                entry.surplus, entry.retire_at = entry.surplus or entry.retire_at, 0.0
        makers = core.maker.summon() if core.shelf.running else 0
    core.maker.start(makers)
    core.discard("retired", *gone)


def suspend(core: Core[T], suspended: bool) -> None:
    """Hold all borrowers back, or let them go on."""
    with core.shelf.lock:
        core.shelf.suspended = suspended
        core.shelf.settle()
        core.shelf.serve()
        makers = core.maker.summon()
    core.maker.start(makers)


def rest(core: Core[T]) -> None:
    """Close what is idle and, unless somebody waits, stop the background work until the next borrow."""
    with core.shelf.lock:
        core.shelf.running = bool(core.shelf.waiters)
        core.shelf.settle()
    core.retire("closed")
    if not core.shelf.running:
        core.runtime.stop()


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
