"""Why no object came free: who holds them, since when, from which line, and what was done with them last."""

from __future__ import annotations

import sys
from time import monotonic
from typing import TYPE_CHECKING, TypeVar

from dal.errors import PoolTimeout
from dal.pool.entry import Entry
from dal.pool.runtime import Waiter
from dal.pool.sites import shown

if TYPE_CHECKING:
    from dal.pool.core import Core

__all__ = ["holder", "self_wait", "timeout", "waits_for_itself"]

T = TypeVar("T")

_SHOWN = 5
_STATEMENT_SHOWN = 200


def timeout(core: Core[T], waited: float) -> PoolTimeout:
    """Explain a borrow that timed out.

    Args:
        core: The pool.
        waited: Seconds that the borrower waited.

    Returns:
        The error, its `__cause__` being the last failure to make an object, if there is one.
    """
    error = core.maker.last_error
    with core.shelf.lock:
        held = core.shelf.in_use()
        sizes = _sizes(core, len(held))
        own = _below(core, held)
    message = f"nothing came free in the pool {core.name!r} within {waited:.3g} s: {sizes}"
    if error is not None:
        message += f"\n  the last attempt to make one failed: {_one_line(error)}"
        hint = "check that the server is up and can be reached from here"
    elif core.complaint:
        message += f"\n  a check failed: {core.complaint}"
        hint = "correct what checks an object: every new one fails it"
    elif core.shelf.suspended:
        hint = "the pool is suspended: call resume()"
    elif own:
        message += "\n  the caller holds one itself: it may be waiting for itself"
        hint = "use what was borrowed first, or give it back before borrowing again"
    elif held and monotonic() - held[0].taken > waited:
        hint = "what is held longer than this may never be given back: borrow in a `with` block at the lines below"
    else:
        hint = "give objects back sooner, or raise the maximum size of the pool"
    found = PoolTimeout(message + _holders(core, held), hint=hint)
    found.__cause__ = core.hooks.failure(error) if error is not None else None
    return found


def self_wait(core: Core[T]) -> PoolTimeout:
    """Explain a borrow that could never have succeeded."""
    with core.shelf.lock:
        held = core.shelf.in_use()
        sizes = _sizes(core, len(held))
    return PoolTimeout(
        f"the pool {core.name!r} is exhausted and every object is held by a caller that waits for another one, "
        f"this one included: {sizes}{_holders(core, held)}",
        hint="borrow once and pass it on, or give the first one back before borrowing again",
    )


def waits_for_itself(core: Core[T], waiter: Waiter) -> bool:
    """Tell whether a new borrower completes a circle of waiting. The lock is held.

    Certain only when every object is held by a waiting borrower whose borrowing function still runs below the one that waits
    now: an object may have been passed on to another thread, which will give it back.
    """
    shelf = core.shelf
    if shelf.opening or shelf.idle or shelf.checking or shelf.suspended or len(shelf.entries) < shelf.max_size:
        return False
    held = shelf.in_use()
    waiter.below = _below(core, held)
    if not waiter.below or len(held) < len(shelf.entries):
        return False
    stuck = {entry for other in list(shelf.waiters) for entry in other.below}
    return stuck.issuperset(held)


def holder(core: Core[T], entry: Entry[T], now: float) -> str:
    """Say in one line who holds an object."""
    doing = _brief(entry.statement)
    return f"held for {now - entry.taken:.3g} s, borrowed at {shown(entry.site)}" + (
        f", last statement: {doing}" if doing else ""
    )


def _below(core: Core[T], held: list[Entry[T]]) -> list[Entry[T]]:
    """Pick what was borrowed by functions that still run below the caller."""
    frame = sys._getframe(1)
    return [entry for entry in held if entry.site is not None and core.runtime.is_below(entry.site, frame)]


def _holders(core: Core[T], held: list[Entry[T]]) -> str:
    now = monotonic()
    lines = "".join(f"\n  {holder(core, entry, now)}" for entry in held[:_SHOWN])
    return lines + (f"\n  and {len(held) - _SHOWN} more" if len(held) > _SHOWN else "")


def _sizes(core: Core[T], in_use: int) -> str:
    shelf = core.shelf
    return (
        f"{len(shelf.entries)} of at most {shelf.max_size} exist, {in_use} in use, {len(shelf.idle)} idle, "
        f"{shelf.opening} being made, {len(shelf.waiters)} waiting"
    )


def _brief(statement: str) -> str:
    text = " ".join(statement.split())
    return text if len(text) <= _STATEMENT_SHOWN else f"{text[:_STATEMENT_SHOWN]}..."


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
