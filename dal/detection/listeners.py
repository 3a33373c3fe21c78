"""The listeners on SQLAlchemy's events: installed while somebody watches, gone when nobody does.

Whatever goes wrong in here stays in here: the observed program never fails because it is observed.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from contextvars import ContextVar
from time import perf_counter
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.orm import ORMExecuteState, Session

from dal.detection import _internals, shapes
from dal.detection.scope import Scope
from dal.detection.statement import Statement
from dal.detection.trail import recognise, walk

__all__ = ["active", "close", "enter", "hold", "leave", "listening", "open_scope", "record", "release"]

_log = logging.getLogger("dal.detection")

_active: ContextVar[tuple[Scope, ...]] = ContextVar("dal_detection_scopes", default=())
_lock = threading.Lock()
_open: list[Scope] = []
_holders = 0
_installed = False


def active() -> tuple[Scope, ...]:
    """Return the scopes that watch the current context, outermost first."""
    scopes = _active.get()
    if scopes:
        return scopes if not scopes[-1].closed else tuple(scope for scope in scopes if not scope.closed)
    # A thread started without the context of its starter: there is no doubt whose it is while only one scope is open.
    if len(_open) == 1 and _open[0].follow_threads:
        return (_open[0],)
    return ()


def open_scope(scope: Scope) -> None:
    """Watch the current context and what it starts with a scope.

    Args:
        scope: The scope; `close` it in the end.
    """
    with _lock:
        _install()
        _open.append(scope)
    enter(scope)


def enter(scope: Scope) -> None:
    """Make a scope that listens already watch the current context, too."""
    _active.set((*(other for other in _active.get() if not other.closed and other is not scope), scope))


def close(scope: Scope) -> None:
    """Stop watching with a scope; the last one takes the listeners with it."""
    leave(scope)
    with _lock:
        if scope in _open:
            _open.remove(scope)
        _tidy()
    scope.close()


def hold() -> None:
    """Keep the listeners between scopes: for servers and test runs, where one scope follows the other."""
    global _holders
    with _lock:
        _holders += 1
        _install()


def release() -> None:
    """Undo one `hold`."""
    global _holders
    with _lock:
        _holders -= 1
        _tidy()


def _tidy() -> None:
    """Remove the listeners nobody needs; the caller holds the lock.

    SQLAlchemy's list of listeners must not change under a thread that is walking along it, so with other threads about they
    stay, at a fifth of a microsecond a statement, until a scope closes without any.
    """
    if not _open and not _holders and threading.active_count() == 1:
        _uninstall()


def leave(scope: Scope) -> None:
    """Stop watching the current context with a scope."""
    _active.set(tuple(other for other in _active.get() if other is not scope and not other.closed))


def listening() -> bool:
    """Tell whether any listener is installed on SQLAlchemy's classes."""
    return _installed


# One listener that takes the place of the dialect's own call costs a third of two that stand around it: events of the engine
# make every connection join dispatchers, and look up seven more kinds of listeners for each statement.


def _install() -> None:
    global _installed
    if _installed:
        return
    _installed = True
    for name, listener in _EXECUTING.items():
        event.listen(Engine, name, listener)
    event.listen(Session, "before_flush", _flush)
    if _internals.missing():
        event.listen(Session, "do_orm_execute", _ask)


def _uninstall() -> None:
    global _installed
    if not _installed:
        return
    _installed = False
    for name, listener in _EXECUTING.items():
        event.remove(Engine, name, listener)
    event.remove(Session, "before_flush", _flush)
    if event.contains(Session, "do_orm_execute", _ask):
        event.remove(Session, "do_orm_execute", _ask)


def _executing(name: str) -> Callable[..., bool]:
    """Make the listener that takes the place of one of the dialect's methods where a scope watches."""

    def execute(*call: Any) -> bool:
        if not _open:
            return False
        scopes = _active.get()
        if not scopes or scopes[-1].closed:
            scopes = active()
        execution = call[-1]
        # SQLAlchemy's own questions to a server that it meets for the first time come without a transaction.
        if not scopes or execution is None or execution.root_connection.get_transaction() is None:
            return False
        dialect = execution.dialect
        others = _internals.listeners_behind(execute, dialect, name)
        started = perf_counter()
        if not others or not any(other(*call) for other in others):
            getattr(dialect, name)(*call)
        record(scopes, call[1], call[2:-1], execution, started, perf_counter())
        return True

    return execute


_EXECUTING = {name: _executing(name) for name in ("do_execute", "do_executemany", "do_execute_no_params")}


def record(scopes: tuple[Scope, ...], sql: str, sent: tuple[Any, ...], execution: Any, started: float, ended: float) -> None:
    """Hand one execution to scopes; called from a listener.

    Args:
        scopes: Who watches.
        sql: The text as it was sent.
        sent: The parameters as they were sent, in a tuple; an empty one where none were.
        execution: SQLAlchemy's execution context.
        started: When it was sent, by `perf_counter()`.
        ended: When the driver had the answer.
    """
    try:
        parameters = sent[0] if sent else None
        compiled = execution.compiled
        if compiled is not None:
            sql = compiled.string or sql
            named = execution.compiled_parameters
            if named:
                parameters = named[0]
        shape = shapes.known.get(sql) or shapes.shape_of(sql)
        end = scopes[0].end
        trail = recognise(shape.trails, end)
        if trail is None:
            trail = walk(sys._getframe(), end, 1)
            if trail.steps:
                shapes.remember(shape, trail)
        request = trail.request() if trail.request_at is not None else None
        statement = Statement(execution, sql, parameters, started, ended, shape, trail, request)
        for scope in scopes:
            scope.add(statement)
    except Exception:
        for scope in scopes:
            scope.failed += 1
            if scope.failed == 1:
                _log.warning("a statement could not be observed and is not counted", exc_info=True)


def _flush(session: Session, context: Any, instances: Any) -> None:
    for scope in active():
        scope.flush_began()


def _ask(state: ORMExecuteState) -> None:
    """Leave what the public event says where `_internals.asked` looks for it."""
    if not active():
        return
    parent, by_user = state.lazy_loaded_from, False
    if parent is not None and "sa_top_level_orm_context" in state.execution_options:
        parent, by_user = None, _internals.is_refresh(state.execution_options)
    path = tuple(state.loader_strategy_path.path) if state.loader_strategy_path is not None else ()
    refreshed = getattr(state.load_options, "_refresh_state", None) if state.is_column_load else None
    said = _internals.Asked(parent, refreshed, by_user, path)
    state.update_execution_options(**{_internals.PUBLIC_OPTION: said})
