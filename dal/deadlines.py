"""Deadlines: one budget of time for everything that is done inside a block, and where it went.

`with db.deadline("2s")` and `db.unit(deadline="2s")` set one; nested ones only shorten it. Waiting for a connection, connecting
and the pauses between tries fit into what is left. On PostgreSQL each transaction starts with a local statement_timeout of what
is left, renewed as time goes by, so that the server stops working too. Other databases, and connections in AUTOCOMMIT, check
between statements only. A server that is frozen answers no timeout: that is what TCP's keepalives are for.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from time import monotonic
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import ExceptionContext

from dal.durations import Duration, seconds
from dal.errors import DeadlineExceeded, PoolTimeout
from dal.events import TimedOut, Waited
from dal.own_statements import ask, in_autocommit

__all__ = ["Deadline", "current", "keep_to", "limit", "shared", "within"]

_now: ContextVar[Deadline | None] = ContextVar("dal_deadline", default=None)
_kept: weakref.WeakSet[Engine] = weakref.WeakSet()

_OWN, _TOLD, _BEGAN = "dal.deadline.own", "dal.deadline.told", "dal.deadline.began"
_SHOWN = 200
_FIRST_TIMEOUT = (
    "SELECT own, set_config('statement_timeout', CASE WHEN own BETWEEN 1 AND %s THEN own ELSE %s END::text, true) FROM (SELECT"
    " (extract(epoch FROM current_setting('statement_timeout')::interval) * 1000)::bigint AS own OFFSET 0) AS setting"
)
_SET_TIMEOUT = "SELECT set_config('statement_timeout', %s, true)"


class Deadline:
    """A point in time, and how the time until then was spent.

    Args:
        seconds: From now.

    Example:
        >>> 1.9 < Deadline(2.0).left() <= 2.0
        True
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._began = monotonic()
        self.at = self._began + seconds
        self.statement = ""
        self._spent: dict[str, float] = {}
        self._lock = threading.Lock()

    def left(self) -> float:
        """Seconds left; negative once it is over."""
        return self.at - monotonic()

    def note(self, what: str, seconds: float) -> None:
        """Note how time was spent.

        Args:
            what: On what.
            seconds: How much.
        """
        with self._lock:
            self._spent[what] = self._spent.get(what, 0.0) + seconds

    def exceeded(self, what: str = "") -> DeadlineExceeded:
        """Make the error that says where the time went.

        Args:
            what: What could not be done any more.
        """
        used = monotonic() - self._began
        parts = {**self._spent, "elsewhere in the application": max(0.0, used - sum(self._spent.values()))}
        longest = max(parts, key=lambda part: parts[part])
        told = ", ".join(f"{spent:.3g} s {part}" for part, spent in parts.items() if spent >= 0.0005)
        message = (
            f"the deadline of {self.seconds:.3g} s is over"
            if self.left() <= 0
            else f"the deadline of {self.seconds:.3g} s is near"
        )
        message += f"; {what}" if what else ""
        return DeadlineExceeded(f"{message}: {told}", hint=self._hint(longest))

    def _hint(self, longest: str) -> str:
        if longest == "waiting for a connection":
            return "raise max_pool_size, hold connections for less time, or check that the server is up"
        if longest == "in statements":
            return f"make the statement faster or allow more time; the last one was: {self.statement[:_SHOWN]}"
        return "allow more time, or do less in it"


def current() -> Deadline | None:
    """Return the deadline in force here."""
    return _now.get()


def within(timeout: float) -> float:
    """Shorten a timeout to what the deadline in force leaves.

    Args:
        timeout: Seconds.

    Returns:
        Seconds.

    Raises:
        DeadlineExceeded: Nothing is left.
    """
    deadline = _now.get()
    if deadline is None:
        return timeout
    left = deadline.left()
    if left <= 0:
        raise deadline.exceeded("no connection was asked for")
    return min(timeout, left)


@contextmanager
def shared(deadline: Deadline | None) -> Iterator[None]:
    """Put a deadline of another thread or task in force here.

    Args:
        deadline: That one, or None for none.
    """
    token = _now.set(deadline)
    try:
        yield
    finally:
        _now.reset(token)


@contextmanager
def limit(time: Duration | None, *, anew: bool = False) -> Iterator[Deadline | None]:
    """Set a deadline for a block; one already in force that ends sooner stays.

    Args:
        time: How long the block may take; None sets none.
        anew: Forget the one in force.

    Yields:
        The deadline in force.

    Raises:
        DeadlineExceeded: A connection did not come free in time.
    """
    outer = _now.get()
    chosen = None if time is None else Deadline(seconds(time, name="deadline"))
    if outer is not None and not anew and (chosen is None or outer.at <= chosen.at):
        chosen = outer
    token = _now.set(chosen)
    try:
        yield chosen
    except PoolTimeout as error:
        if chosen is None or chosen.left() > 0:
            raise
        raise chosen.exceeded("no connection came free") from error
    finally:
        _now.reset(token)


def keep_to(engine: Engine) -> None:
    """Make an engine's statements keep to the deadline in force; done once, when a deadline is first used with it.

    Args:
        engine: The engine.
    """
    if engine in _kept:
        return
    _kept.add(engine)
    observe: Callable[[Any], Any] | None = getattr(engine.pool, "observe", None)
    if observe is not None:
        observe(_note_wait)
    event.listen(engine, "begin", _begun)
    event.listen(engine, "rollback_savepoint", _undone)
    event.listen(engine, "before_cursor_execute", _before)
    event.listen(engine, "after_cursor_execute", _after)
    event.listen(engine, "commit", _commit)
    event.listen(engine, "handle_error", _failed)


def _note_wait(fact: object) -> None:
    deadline = _now.get()
    if deadline is not None and isinstance(fact, (Waited, TimedOut)):
        deadline.note("waiting for a connection", fact.seconds)


def _begun(connection: Connection) -> None:
    for key in (_OWN, _TOLD, _BEGAN):
        connection.info.pop(key, None)


def _undone(connection: Connection, name: str, context: None) -> None:
    # What was set since the savepoint is undone with it.
    connection.info.pop(_TOLD, None)


def _before(connection: Connection, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
    deadline = _now.get()
    if deadline is None:
        if _TOLD in connection.info:
            _tell(connection, connection.info[_OWN])
            del connection.info[_TOLD]
        return
    deadline.statement = statement
    left = deadline.left()
    if left <= 0:
        raise deadline.exceeded("a statement was not sent")
    _tell_server(connection, left)
    connection.info[_BEGAN] = monotonic()


def _after(connection: Connection, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
    _ended(connection)


def _ended(connection: Connection) -> None:
    deadline, began = _now.get(), connection.info.pop(_BEGAN, None)
    if deadline is not None and began is not None:
        deadline.note("in statements", monotonic() - began)


def _commit(connection: Connection) -> None:
    deadline = _now.get()
    if deadline is not None and deadline.left() <= 0:
        raise deadline.exceeded("COMMIT was not sent")


def _failed(context: ExceptionContext) -> Exception | None:
    if context.connection is not None and not context.connection.invalidated:
        _ended(context.connection)
    deadline = _now.get()
    state = getattr(context.original_exception, "sqlstate", None)
    if deadline is None or state != "57014" or deadline.left() > 0:
        return None
    return deadline.exceeded("the server stopped the statement")


def _tell_server(connection: Connection, left: float) -> None:
    told = connection.info.get(_TOLD)
    if told is not None and 0 <= told - left <= max(0.005, left * 0.1):
        return
    if connection.dialect.name != "postgresql" or in_autocommit(connection):
        return
    mine = int(left * 1000) + 1
    own = connection.info.get(_OWN)
    if own is None:
        connection.info[_OWN] = ask(connection, _FIRST_TIMEOUT, mine, mine)[0]
    else:
        _tell(connection, min(own, mine) if own else mine)
    connection.info[_TOLD] = left


def _tell(connection: Connection, milliseconds: int) -> None:
    ask(connection, _SET_TIMEOUT, str(milliseconds))
