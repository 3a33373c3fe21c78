"""Waiting for jobs to be over: one thread and one connection for all that are waited for, and none where nobody waits.

The connection listens; when it is lost, all are looked at again after the reconnect, so no word is missed.
"""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future
from typing import Any

from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from dal.errors import UsageError
from dal.jobs import store
from dal.jobs.schema import CHANNEL

__all__ = ["Listener"]

_log = logging.getLogger("dal.jobs")

_PATIENCE, _LOOK_AGAIN, _PAUSE = 0.25, 5.0, 0.5


class Listener:
    """Tells when jobs are over.

    Args:
        url: SQLAlchemy's URL of the database, for a connection of its own.
    """

    def __init__(self, url: Any) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._waiting: dict[int, list[Future[None]]] = {}
        self._thread: threading.Thread | None = None
        self._closed = False

    def watch(self, job: int) -> Future[None]:
        """Return a future that is done when a job is over; look at the job after this call, it may be over already."""
        future: Future[None] = Future()
        with self._lock:
            if self._closed:
                raise UsageError("the database is closed", hint="wait for jobs before you close it")
            self._waiting.setdefault(job, []).append(future)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="dal-jobs-listener", daemon=True)
                self._thread.start()
        return future

    def forget(self, job: int, future: Future[None]) -> None:
        """Stop waiting."""
        with self._lock:
            waiting = self._waiting.get(job, [])
            if future in waiting:
                waiting.remove(future)
            if not waiting:
                self._waiting.pop(job, None)

    def close(self) -> None:
        """Stop all waiting, with a `UsageError` for those who still do."""
        with self._lock:
            self._closed = True
            left, self._waiting = self._waiting, {}
            thread = self._thread
        for future in (future for futures in left.values() for future in futures):
            future.set_exception(UsageError("the database was closed before the job was over", hint="wait before you close it"))
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _run(self) -> None:
        # The sync driver whatever the application's own: this is a thread.
        engine = create_engine(self._url.set(drivername="postgresql+psycopg"), poolclass=NullPool)
        while not self._finished():
            try:
                with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                    self._listen(connection, engine)
            except DBAPIError as error:
                _log.warning("waiting for jobs: %s; trying again", error.orig)
                threading.Event().wait(_PAUSE)

    def _listen(self, connection: Connection, engine: Engine) -> None:
        connection.exec_driver_sql(f"LISTEN {CHANNEL}")
        driver: Any = connection.connection.driver_connection
        while not self._finished():
            self._settle(store.over(connection, self._jobs()))
            for _ in range(int(_LOOK_AGAIN / _PATIENCE)):
                try:
                    heard = [int(note.payload) for note in driver.notifies(timeout=_PATIENCE, stop_after=1)]
                except engine.dialect.loaded_dbapi.Error as error:
                    raise DBAPIError("LISTEN", None, error) from error
                self._settle(heard)
                if self._finished():
                    return

    def _jobs(self) -> list[int]:
        with self._lock:
            return list(self._waiting)

    def _settle(self, jobs: list[int]) -> None:
        with self._lock:
            futures = [future for job in jobs for future in self._waiting.pop(job, ())]
        for future in futures:
            future.set_result(None)

    def _finished(self) -> bool:
        """Tell whether nobody waits any more, and if so let the next one start another thread."""
        with self._lock:
            if self._waiting and not self._closed:
                return False
            if self._thread is threading.current_thread():
                self._thread = None
            return True
