"""What a pool does by itself, a few times a second: replace, shrink, prove, refill, and report leaks."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from dal.events import Leaked
from dal.pool import exhaustion
from dal.pool.entry import Entry, Verdict
from dal.pool.sites import shown

if TYPE_CHECKING:
    from dal.pool.core import Core

__all__ = ["keeper", "tick"]

T = TypeVar("T")

_log = logging.getLogger("dal.pool")
_REPLACED_AT_ONCE = 4


def keeper(reference: weakref.ref[Core[Any]], run: int) -> Callable[[], None]:
    """Make the background work of a pool's run: it ends with the run or the pool, and keeps neither alive."""

    def keep() -> None:
        try:
            work()
        finally:
            core = reference()
            if core is not None:
                core.ended(run)

    def work() -> None:
        while True:
            core = reference()
            if core is None or core.run != run or not core.shelf.running or core.shelf.closed:
                return
            try:
                tick(core)
            except Exception:
                _log.exception("the maintenance of the pool %r failed; it goes on", core.name)
            seconds, runtime = core.lifetimes.tick, core.runtime
            del core
            runtime.pause(seconds)

    return keep


def tick(core: Core[T]) -> None:
    """Do what is due now."""
    now = monotonic()
    _report_leaks(core, now)
    _replace_old(core, now)
    _shrink(core, now)
    _prove_idle(core)
    with core.shelf.lock:
        core.shelf.serve()
        makers = core.maker.summon()
    core.maker.start(makers)


def _replace_old(core: Core[T], now: float) -> None:
    with core.shelf.lock:
        old = [entry for entry in list(core.shelf.idle) if now >= entry.retire_at][:_REPLACED_AT_ONCE]
        old = [entry for entry in old if core.shelf.pick(entry)]
    core.discard("lifetime", *old)


def _shrink(core: Core[T], now: float) -> None:
    with core.shelf.lock:
        spare = core.shelf.size - core.shelf.min_size
        cold: list[Entry[T]] = []
        for entry in list(core.shelf.idle):
            if len(cold) >= spare or now - entry.returned < core.lifetimes.idle_timeout:
                break
            if core.shelf.pick(entry):
                cold.append(entry)
    core.discard("idle", *cold)


def _prove_idle(core: Core[T]) -> None:
    if core.lifetimes.keepalive == float("inf"):
        return
    now = monotonic()
    with core.shelf.lock:
        idle = list(core.shelf.idle)
        dead = [entry for entry in idle if not core.hooks.alive(entry) and core.shelf.pick(entry)]
    core.discard("dead", *dead)
    for entry in idle:
        if now - entry.proven >= core.lifetimes.keepalive and not _prove(core, entry):
            return


def _prove(core: Core[T], entry: Entry[T]) -> bool:
    with core.shelf.lock:
        if not core.shelf.pick(entry):
            return True
        core.shelf.checking += 1
    verdict = Verdict.DEAD
    try:
        verdict = core.hooks.prove(entry)
        entry.proven = monotonic()
    finally:
        with core.shelf.lock:
            core.shelf.checking -= 1
            if verdict is Verdict.ALIVE and entry.retire_at:
                core.shelf.put_back(entry)
        if verdict is not Verdict.ALIVE:
            core.condemn(entry, verdict)
        elif not entry.retire_at:
            core.discard("retired", entry)
    return verdict is Verdict.ALIVE


def _report_leaks(core: Core[T], now: float) -> None:
    threshold = core.lifetimes.leak_threshold
    if not threshold:
        return
    with core.shelf.lock:
        found = [entry for entry in core.shelf.in_use() if now - entry.taken > threshold and entry.reported != entry.taken]
        for entry in found:
            entry.reported = entry.taken
        core.shelf.tally.leaks += len(found)
    for entry in found:
        _log.warning("the pool %r may leak: %s", core.name, exhaustion.holder(core, entry, now))
        if core.observers:
            core.tell(Leaked(core.name, now - entry.taken, shown(entry.site)))
