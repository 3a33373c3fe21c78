"""Connections that are watched one by one: while any is, what its dialect sends goes by here; after that, nothing is left.

This is how a sample of a production application is watched. Listeners on a connection would cost more than the statements they
are told of, and one for all statements would cost those that are not in the sample.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import perf_counter
from typing import Any

from sqlalchemy import Connection

from dal.detection.attached import Attached
from dal.detection.listeners import record
from dal.detection.scope import Scope

__all__ = ["attach", "detach", "detach_all"]

_METHODS = ("do_execute", "do_executemany", "do_execute_no_params")

# The collector may close a forgotten session in the middle of this.
_lock = threading.RLock()
_connections: Attached[tuple[Scope, ...]] = Attached()
_tapped: dict[int, tuple[Any, dict[str, Any]]] = {}
"""By identity, dialects whose methods are replaced, with what replaces them."""


def attach(connection: Connection, scope: Scope) -> None:
    """Watch one connection with a scope; `detach` it in the end.

    Args:
        connection: The connection of one transaction.
        scope: Who watches.
    """
    dialect = connection.dialect
    with _lock:
        _connections.put(connection, (*(_connections.of(connection) or ()), scope))
        if id(dialect) not in _tapped:
            _tap(dialect)


def detach(scope: Scope) -> None:
    """Watch no connection any more with a scope; a connection that is gone has taken its part along."""
    with _lock:
        for key, ((*scopes, last), known) in list(_connections.items()):
            if last is scope or scope in scopes:
                left = tuple(other for other in (*scopes, last) if other is not scope)
                if left:
                    _connections[key] = (left, known)
                else:
                    del _connections[key]
        if not _connections:
            _untap()


def detach_all() -> None:
    """Watch no connection any more."""
    with _lock:
        _connections.clear()
        _untap()


def _tap(dialect: Any) -> None:
    replaced = {name: _through(getattr(dialect, name), dialect.__dict__.get(name)) for name in _METHODS}
    _tapped[id(dialect)] = (dialect, replaced)
    dialect.__dict__.update(replaced)


def _untap() -> None:
    """Give the dialects their methods back; the caller holds the lock."""
    for key, (dialect, replaced) in list(_tapped.items()):
        own = dialect.__dict__
        if any(own.get(name) is not through for name, through in replaced.items()):
            # Somebody else has put theirs in our place, and calls ours: it stays, and passes everything on.
            continue
        for name, through in replaced.items():
            if through.before is None:
                del own[name]
            else:
                own[name] = through.before
        del _tapped[key]


def _through(send: Callable[..., Any], before: Any) -> Any:
    def through(*call: Any) -> Any:
        execution = call[-1]
        scopes = _connections.of(execution.root_connection) if execution is not None else None
        if scopes is None:
            return send(*call)
        started = perf_counter()
        found = send(*call)
        record(scopes, call[1], call[2:-1], execution, started, perf_counter())
        return found

    through.before = before  # type: ignore[attr-defined]
    return through
