"""COMMIT was sent and its reply never came: was the transaction applied?

Before the COMMIT of a unit that wrote, its transaction id is asked for (one round trip more), and once for each connection what
tells one life of a server from the next. When the connection dies during COMMIT, the server is asked what became of the id:

* committed: the unit has succeeded.
* aborted, or the server that came back has never heard of it: nothing was applied, the unit can be run again.
* in progress: asked again; after half a second its backend, which waits for a client that is gone, is ended.
* otherwise `CommitUnknown`: another server answers (a fail-over: other timeline), or the id is too old, or it may have been
  given to somebody else, which a server does that crashed before the id reached its disk. After a crash "committed" counts only
  while the checkpoint that ended the recovery is still the latest: it says which ids were in use before.

PostgreSQL 13 and newer; elsewhere a unit that may write and loses its connection during COMMIT is a `CommitUnknown` at once.
What `synchronous_commit=off` loses after it was acknowledged stays lost. NOTIFY alone is no writing: it may be sent twice.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from time import monotonic
from typing import Any, Literal

from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, SessionTransaction

from dal import deadlines
from dal.errors import CommitUnknown, ConnectFailed, DalError, DeadlineExceeded, PoolTimeout
from dal.events import CommitSettled
from dal.own_statements import ask, in_autocommit
from dal.pool.retry import Undone, state_of

__all__ = ["Commit", "watch"]

Outcome = Literal["committed", "aborted", "unknown"]

_XID = "SELECT pg_current_xact_id_if_assigned()::text, pg_backend_pid(), pg_postmaster_start_time()::text"
_LIFE = """
SELECT system_identifier::text, left(pg_walfile_name(pg_current_wal_lsn()), 8), pg_postmaster_start_time()::text,
       (SELECT string_agg(pid::text, ' ') FROM pg_stat_activity WHERE datid IS NULL)
FROM pg_control_system()"""
_RECOVERY = "SELECT pg_is_in_recovery()"
_STATUS = "SELECT pg_xact_status(%s::xid8)"
_END_BACKEND = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE backend_xid = %s::xid8::xid"
# A checkpoint that starts where it is written ran alone: at the end of a recovery, or at a shutdown.
_KNOWN_BEFORE = """
SELECT redo_lsn = checkpoint_lsn AND current_setting('wal_level') <> 'minimal', next_xid FROM pg_control_checkpoint()"""

_LIFE_KEY = "dal.commit.life"
_FIRST_VERSION = (13,)
_IN_FUTURE = "22023"
_UNANSWERED = ("08", "57P", "40003")
_GRACE, _PATIENCE, _AT_LEAST = 0.5, 30.0, 1.0

_current: ContextVar[Commit | None] = ContextVar("dal_commit", default=None)
_watched: weakref.WeakSet[Engine] = weakref.WeakSet()


@dataclass(frozen=True, slots=True)
class Life:
    """One life of one server: from its start, or its last crash, to the next one, on one timeline.

    Args:
        server: The system identifier and the timeline.
        started: When the postmaster started.
        processes: The server's own processes, such as the checkpointer; a crash replaces all of them.
    """

    server: tuple[str, str]
    started: str
    processes: frozenset[str]

    def goes_on_in(self, other: Life) -> bool:
        """Tell whether there was no restart and no crash in between."""
        return self.started == other.started and bool(self.processes & other.processes)


class Commit:
    """The COMMIT of one try of a unit.

    Args:
        read_only: Whether the unit only reads; then there is nothing to lose.
        pause: Sleeps; under asyncio it suspends the task.
        tell: Called with a fact when a doubt was cleared up, or not.
    """

    def __init__(
        self, *, read_only: bool, pause: Callable[[float], None], tell: Callable[[object], None] | None = None
    ) -> None:
        self._read_only, self._pause, self._tell = read_only, pause, tell
        self._session: Session | None = None
        self._connection: Connection | None = None
        self._engine: Engine | None = None
        self._sent = self._asked = False
        self._xid: str | None = None
        self._life: Life | None = None

    @contextmanager
    def of(self, session: Session) -> Iterator[None]:
        """Follow what a session does until its transaction ends.

        Args:
            session: The session, before its transaction begins.
        """
        self._session = session
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)
            self._session = self._connection = None

    def begun(self, session: Session, connection: Connection) -> None:
        """Note the connection a session's transaction runs on."""
        if session is self._session:
            self._connection, self._engine = connection, connection.engine

    def before(self, connection: Connection) -> None:
        """Ask for the transaction's id, since COMMIT comes next."""
        if connection is not self._connection or self._read_only:
            return
        if _can_tell(connection) and not in_autocommit(connection):
            self._xid, *backend = ask(connection, _XID)
            self._asked = True
            if self._xid is not None:
                self._life = _known_life(connection, backend)
        self._sent = True

    def in_doubt(self, error: Exception) -> bool:
        """Tell whether an error leaves open if the transaction was committed.

        Args:
            error: What the unit raised.
        """
        if not self._sent or not isinstance(error, DBAPIError):
            return False
        return error.connection_invalidated or (state_of(error) or "").startswith(_UNANSWERED)

    def settle(self, error: Exception) -> None:
        """Find out what became of a COMMIT that is in doubt; returns when it was applied.

        Args:
            error: What the unit raised.

        Raises:
            Undone: It was not applied, and never will be.
            CommitUnknown: The server cannot tell.
        """
        if self._asked and self._xid is None:
            raise Undone(error) from error
        began = monotonic()
        outcome, why = self._found() if self._asked else ("unknown", "this database keeps no record of it")
        if self._tell is not None:
            self._tell(CommitSettled(outcome, monotonic() - began))
        if outcome == "aborted":
            raise Undone(error) from error
        if outcome == "unknown":
            raise CommitUnknown(
                f"the connection was lost during COMMIT and it cannot be told whether it was applied: {why}",
                hint="look for what the unit writes before running it again, or make it safe to apply twice",
            ) from error

    def _found(self) -> tuple[Outcome, str]:
        deadline = deadlines.current()
        patience = _PATIENCE if deadline is None else max(deadline.left(), _AT_LEAST)
        began = monotonic()
        why = "the server did not say in time"
        for pause in _pauses():
            try:
                with deadlines.limit(max(0.001, patience - (monotonic() - began)), anew=True):
                    outcome = self._asked_again(end=monotonic() - began > min(_GRACE, patience / 2))
            except (DBAPIError, PoolTimeout, DeadlineExceeded) as trouble:
                if isinstance(trouble, DBAPIError) and not (
                    trouble.connection_invalidated or isinstance(trouble, ConnectFailed)
                ):
                    return "unknown", f"the server refused to say: {trouble.orig}"
                why = "the server could not be reached" if isinstance(trouble, DalError) else why
                outcome = None
            if outcome is not None:
                return outcome
            if monotonic() - began + pause > patience:
                return "unknown", why
            self._pause(pause)
        raise AssertionError

    def _asked_again(self, *, end: bool) -> tuple[Outcome, str] | None:
        """Ask on another connection; None means to ask once more."""
        assert self._engine is not None
        assert self._life is not None
        with self._engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            if ask(connection, _RECOVERY)[0]:
                return None
            life = _life(connection)
            if life.server != self._life.server:
                return "unknown", "another server has taken over since"
            return self._judged(connection, alive=self._life.goes_on_in(life), end=end)

    def _judged(self, connection: Connection, *, alive: bool, end: bool) -> tuple[Outcome, str] | None:
        assert self._xid is not None
        try:
            status = ask(connection, _STATUS, self._xid)[0]
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) != _IN_FUTURE:
                raise
            return ("unknown", "the server does not know the transaction") if alive else ("aborted", "")
        if status == "aborted" or (status == "in progress" and not alive):
            return "aborted", ""
        if status == "in progress":
            if end:
                ask(connection, _END_BACKEND, self._xid)
            return None
        if status is None:
            return "unknown", "the server has forgotten transactions that old"
        return ("committed", "") if alive else self._survived(connection)

    def _survived(self, connection: Connection) -> tuple[Outcome, str]:
        """Tell whether an id that is committed after a restart is the one of before."""
        assert self._xid is not None
        alone, following = ask(connection, _KNOWN_BEFORE)
        if not alone:
            return "unknown", "the server crashed, and its transaction ids of that moment may have been given out again"
        epoch, number = (int(part) for part in following.split(":"))
        return ("committed" if int(self._xid) < (epoch << 32) + number else "aborted"), ""


def watch(engine: Engine) -> None:
    """Let an engine's units ask before they commit; done once, when a unit is first made.

    Args:
        engine: The engine.
    """
    _listen()
    if engine not in _watched:
        _watched.add(engine)
        event.listen(engine, "commit", _before)


@cache
def _listen() -> None:
    event.listen(Session, "after_begin", _begun)


def _begun(session: Session, transaction: SessionTransaction, connection: Connection) -> None:
    commit = _current.get()
    if commit is not None:
        commit.begun(session, connection)


def _before(connection: Connection) -> None:
    commit = _current.get()
    if commit is not None:
        commit.before(connection)


def _can_tell(connection: Connection) -> bool:
    dialect = connection.dialect
    return dialect.name == "postgresql" and (dialect.server_version_info or ()) >= _FIRST_VERSION


def _known_life(connection: Connection, backend: list[object]) -> Life:
    # Behind a proxy a connection may have another backend than last time.
    known: tuple[list[object], Life] | None = connection.info.get(_LIFE_KEY)
    if known is None or known[0] != backend:
        known = connection.info[_LIFE_KEY] = (backend, _life(connection))
    return known[1]


def _life(connection: Connection) -> Life:
    identifier, timeline, started, processes = ask(connection, _LIFE)
    return Life((identifier, timeline), started, frozenset((processes or "").split()))


def _pauses() -> Iterator[float]:
    pause: Any = 0.005
    while True:
        yield pause
        pause = min(pause * 2, 0.25)
