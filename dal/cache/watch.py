"""Watch the engines of a database: note what each transaction writes, and say so when it is committed.

What was written stays with the pooled connection (`dal.written`) until its transaction ends, so the ORM, Core, text and COPY
are one case. SQLAlchemy has no event after a commit; a function is put around `do_commit` and its like of the dialect. Other
engines of the process that lead to the same database are found when they first connect.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import URL

from dal.cache import _internals
from dal.cache.recording import current
from dal.cache.tables import of_statement
from dal.written import WRITTEN

__all__ = ["Watch", "Writes", "note"]

_EVERYTHING = "*"
_DDL_COMMITS = frozenset({"mysql", "mariadb", "oracle"})
_METHODS = ("do_commit", "do_rollback", "do_prepare_twophase", "do_commit_twophase")


class Writes(Protocol):
    """Who wants to know of writes."""

    def committing(self, connection: Connection, tables: frozenset[str] | None) -> None:
        """Learn what a transaction has written, before its COMMIT; None means any table."""
        ...

    def committed(self, tables: frozenset[str] | None, *, doubtful: bool) -> None:
        """Learn what was written, after its COMMIT; `doubtful` where its reply was lost."""
        ...


def note(connection: Connection, tables: frozenset[str] | None) -> None:
    """Note what a transaction writes; None means any table."""
    connection.info.setdefault(WRITTEN, set()).update({_EVERYTHING} if tables is None else tables)


class Watch:
    """The engines that lead to one database.

    Args:
        engine: Its engine; the sync one behind an async engine.
        writes: Who wants to know.
    """

    def __init__(self, engine: Engine, writes: Writes) -> None:
        self._url = engine.url
        self._writes = writes
        self._watched: list[_Watched] = []
        self.attach(engine)
        event.listen(Engine, "engine_connect", self._met)
        self._listens = True

    def attach(self, engine: Engine) -> None:
        """Watch an engine, too."""
        with _joining:
            watched = _all_watched.get(engine.dialect)
            if watched is None:
                watched = _all_watched[engine.dialect] = _Watched(_internals.root_of(engine))
            if watched not in self._watched:
                self._watched.append(watched)
                watched.writes = (*watched.writes, self._writes)

    def close(self) -> None:
        """Leave the engines alone; again is nothing."""
        if self._listens:
            self._listens = False
            event.remove(Engine, "engine_connect", self._met)
        with _joining:
            for watched in self._watched:
                watched.writes = tuple(each for each in watched.writes if each is not self._writes)
                if not watched.writes:
                    watched.close()
            self._watched.clear()

    def _met(self, connection: Connection) -> None:
        engine = connection.engine
        watched = _all_watched.get(engine.dialect)
        if (watched is None or watched not in self._watched) and _same(engine, self._url):
            self.attach(engine)


class _Watched:
    """One engine, and all who want to know of its writes.

    Args:
        engine: The engine, not one of its variants with options.
    """

    def __init__(self, engine: Engine) -> None:
        self.writes: tuple[Writes, ...] = ()
        self._dialect = weakref.ref(engine.dialect)
        self._prepared: dict[str, set[str]] = {}
        self._undo: list[Callable[[], None]] = []
        listeners: dict[str, Callable[..., None]] = {
            "before_cursor_execute": self._statement,
            "after_cursor_execute": self._done,
            "commit": self._committing,
        }
        for name, listener in listeners.items():
            event.listen(engine, name, listener)
            self._undo.append(partial(event.remove, engine, name, listener))
        makers = (self._after_commit, self._after_rollback, self._after_prepare, self._after_second_phase)
        for name, make in zip(_METHODS, makers, strict=True):
            self._undo.append(_internals.replace_method(engine.dialect, name, partial(make, engine.dialect)))

    def close(self) -> None:
        """Leave the engine as it was."""
        for undo in reversed(self._undo):
            undo()
        dialect = self._dialect()
        if dialect is not None:
            _all_watched.pop(dialect, None)

    def _committed(self, written: set[str], *, doubtful: bool = False) -> None:
        names = _named(written)
        for each in self.writes:
            each.committed(names, doubtful=doubtful)

    def _committing(self, connection: Connection) -> None:
        written = connection.info.get(WRITTEN)
        if written:
            names = _named(written)
            for each in self.writes:
                each.committing(connection, names)

    def _statement(self, connection: Connection, cursor: Any, statement: str, values: Any, context: Any, many: bool) -> None:
        touched = of_statement(context, statement)
        recording = current()
        if recording is not None:
            recording.statement(touched, dirty=bool(connection.info.get(WRITTEN)))
        if touched.writes is None or touched.writes:
            note(connection, touched.writes)

    def _done(self, connection: Connection, cursor: Any, statement: str, values: Any, context: Any, many: bool) -> None:
        written = connection.info.get(WRITTEN)
        if not written:
            return
        autocommit = _in_autocommit(connection.dialect, connection.connection)
        if autocommit:
            self._committing(connection)
        if autocommit or _ends_a_transaction(connection.dialect, statement):
            del connection.info[WRITTEN]
            self._committed(written)

    def _after_commit(self, dialect: Any, commit: Callable[..., Any]) -> Callable[..., Any]:
        def do_commit(connection: Any) -> None:
            written = _info(connection).get(WRITTEN)
            if not written:
                commit(connection)
                return
            info = connection.info
            try:
                commit(connection)
            except BaseException as error:
                self._committed(written, doubtful=_in_doubt(dialect, error, connection))
                raise
            info.pop(WRITTEN, None)
            self._committed(written)

        return do_commit

    def _after_rollback(self, dialect: Any, rollback: Callable[..., Any]) -> Callable[..., Any]:
        def do_rollback(connection: Any) -> None:
            written = _info(connection).pop(WRITTEN, None)
            autocommit = bool(written) and _in_autocommit(dialect, connection)
            rollback(connection)
            if autocommit:
                self._committed(written)

        return do_rollback

    def _after_prepare(self, dialect: Any, prepare: Callable[..., Any]) -> Callable[..., Any]:
        def do_prepare_twophase(connection: Connection, xid: Any) -> None:
            prepare(connection, xid)
            written = connection.info.pop(WRITTEN, None)
            if written:
                self._prepared[str(xid)] = written

        return do_prepare_twophase

    def _after_second_phase(self, dialect: Any, commit: Callable[..., Any]) -> Callable[..., Any]:
        def do_commit_twophase(connection: Connection, xid: Any, is_prepared: bool = True, recover: bool = False) -> None:
            commit(connection, xid, is_prepared, recover)
            # What another process has prepared may have written anything.
            written = self._prepared.pop(str(xid), {_EVERYTHING}) if is_prepared else connection.info.pop(WRITTEN, set())
            if written:
                self._committed(written)

        return do_commit_twophase


_joining = threading.RLock()
_all_watched: weakref.WeakKeyDictionary[Any, _Watched] = weakref.WeakKeyDictionary()


def _named(written: set[str]) -> frozenset[str] | None:
    return None if _EVERYTHING in written else frozenset(written)


def _info(connection: Any) -> Any:
    """Return what is noted at a pooled connection; nothing while it is made or closed."""
    try:
        return connection.info
    except (AttributeError, NotImplementedError):
        return {}


def _in_doubt(dialect: Any, error: BaseException, connection: Any) -> bool:
    """Tell whether a COMMIT that failed may come to pass all the same: not where the server itself said no."""
    return not isinstance(error, dialect.loaded_dbapi.Error) or bool(dialect.is_disconnect(error, connection, None))


def _in_autocommit(dialect: Any, connection: Any) -> bool:
    try:
        return bool(dialect.detect_autocommit_setting(connection.dbapi_connection))
    except NotImplementedError:
        return getattr(connection.dbapi_connection, "autocommit", False) is True


def _ends_a_transaction(dialect: Any, statement: str) -> bool:
    """Tell whether a statement commits what came before it: COMMIT as text, and DDL where that is so."""
    first = statement.lstrip()[:8].casefold()
    if first.startswith(("commit", "end")):
        return True
    return dialect.name in _DDL_COMMITS and first.startswith(("create", "alter", "drop", "truncate", "rename", "lock", "begin"))


def _same(engine: Engine, url: URL) -> bool:
    """Tell whether an engine leads to a database, as far as the URLs say; a database in memory is only its own."""
    own = engine.url
    return (
        own.get_backend_name() == url.get_backend_name()
        and own.database == url.database
        and own.database not in {None, "", ":memory:"}
        and (own.host or own.query.get("host")) == (url.host or url.query.get("host"))
        and (own.port or own.query.get("port")) == (url.port or url.query.get("port"))
    )
