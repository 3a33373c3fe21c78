"""One run of a parallel scan: one snapshot, the parts, the workers, and their results as they come or in order.

The first connection exports the snapshot and cuts the statement; the first worker then goes on with it, so that there are as
many connections as workers. A worker that gets no connection leaves its share to the others. Parts are taken in order; how
many may be begun and not yet consumed is bounded, so a slow consumer slows the scan down and memory stays flat. The first
error stops all of them. On other databases than PostgreSQL the parts are read one after the other, in one transaction.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from functools import partial
from time import monotonic
from typing import Any

from sqlalchemy import Connection, Engine, Select
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.orm import Session

from dal import deadlines
from dal._interrupts import interrupt
from dal._reading import Reading
from dal.errors import DeadlineExceeded, PartFailed, PoolTimeout, UsageError
from dal.own_statements import ask
from dal.parallel.part import Part, Progress
from dal.parallel.readers import Here, InProcess, Worker
from dal.parallel.remote import Compiled
from dal.parallel.runtime import Runtime
from dal.parallel.snapshot import adopt, begin, export
from dal.parallel.split import By, Split, cut

__all__ = ["Scan", "Task"]

_log = logging.getLogger("dal.parallel")

_PATIENCE = 0.25
_AHEAD = 2


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be done.

    Args:
        statement: What is read.
        by: What it is cut by.
        split: How.
        workers: How many at the same time.
        parts: How many parts to aim at.
        processes: Whether each worker has a process.
        ordered: Whether results come in the order of the parts.
        progress: Is told after each part.
        sessions: Makes a session.
        engine: The database's engine.
        runtime: Makes what a run runs on.
        work: Called with the rows of a part.
    """

    statement: Select[Any]
    by: By
    split: Split
    workers: int
    parts: int
    processes: bool
    ordered: bool
    progress: Callable[[Progress], object] | None
    sessions: Callable[[], Session]
    engine: Engine
    runtime: Callable[[], Runtime]
    work: Callable[[list[Any]], Any] = field(default=list)

    def several(self) -> bool:
        """Tell whether parts can be read at the same time."""
        return self.engine.dialect.name == "postgresql"


class Scan:
    """One run.

    Args:
        task: What is to be done.
    """

    def __init__(self, task: Task) -> None:
        self._task, self._runtime = task, task.runtime()
        self._todo: deque[Part] = deque()
        self._lock = threading.Lock()
        self._workers: list[Worker] = []
        self._driver: Any = None
        self._stopped = False
        self._closed: UsageError | None = None
        self._rows = self._done = 0
        self._began = monotonic()

    def results(self) -> Reading[Any]:
        """Run it.

        Returns:
            What the function made of each part, as it comes.

        Raises:
            PartFailed: A part failed; its own error is the cause.
            UsageError: The database was closed meanwhile.
        """
        return Reading(self._task.engine, "a parallel scan", self._read(), break_off=self._end)

    def _read(self) -> Generator[Any, None, None]:
        task = self._task
        with task.sessions() as session:
            connection = self._begun(session)
            parts = cut(connection, task.statement, task.by, task.split, task.parts)
            if not task.several() or (task.workers == 1 and not task.processes) or (len(parts) == 1 and not task.processes):
                yield from self._in_turn(session, parts)
            else:
                yield from self._together(session, connection, parts)

    def _begun(self, session: Session) -> Connection:
        task = self._task
        if task.several():
            connection = begin(session)
        else:
            _log.warning(
                "%s has no snapshots to share: the parts are read one after the other, on one connection",
                task.engine.dialect.name,
            )
            connection = session.connection()
            if task.engine.dialect.name == "sqlite":
                ask(connection, "BEGIN")
        self._driver = connection.connection.driver_connection
        # Locks the tables against being rewritten or emptied, which no snapshot survives; and tells a bad statement early.
        connection.execute(task.statement.limit(0)).close()
        return connection

    def _in_turn(self, session: Session, parts: list[Part]) -> Iterator[Any]:
        worker = Here(session, self._task.statement, self._task.work, self._runtime)
        for part in parts:
            if self._closed is not None:
                raise self._closed
            try:
                result, rows = worker.do(part)
            except Exception as error:
                raise _failed(part, error) from error
            self._tell(rows, len(parts))
            yield result

    def _together(self, session: Session, connection: Connection, parts: list[Part]) -> Iterator[Any]:
        task, runtime = self._task, self._runtime
        self._todo.extend(parts)
        number = min(task.workers, len(parts))
        try:
            for each in self._crew(session, connection, number):
                runtime.start(each, "dal-parallel")
            runtime.allow(number * _AHEAD)
            for result in self._in_order(len(parts)) if task.ordered else self._as_they_come(len(parts)):
                yield result
                runtime.allow()
        finally:
            self._stop(len(parts))

    def _as_they_come(self, parts: int) -> Iterator[Any]:
        while self._done < parts:
            yield self._received(parts)[1]

    def _in_order(self, parts: int) -> Iterator[Any]:
        early: dict[int, Any] = {}
        for turn in range(1, parts + 1):
            while turn not in early:
                number, result = self._received(parts)
                early[number] = result
            yield early.pop(turn)

    def _crew(self, session: Session, connection: Connection, number: int) -> Iterator[Callable[[], None]]:
        task, runtime = self._task, self._runtime
        snapshot = export(connection)
        if task.processes:
            compiled = Compiled(task.statement)
            for _ in range(number):
                self._workers.append(InProcess(connection, snapshot, compiled, task.work, runtime))
            for worker in list(self._workers):
                yield partial(self._work, worker)
            return
        first = Here(session, task.statement, task.work, runtime)
        self._workers.append(first)
        yield partial(self._work, first)
        for _ in range(number - 1):
            yield partial(self._help, snapshot)

    def _help(self, snapshot: str) -> None:
        task, deadline = self._task, deadlines.current()
        while self._todo and not self._stopped:
            try:
                with deadlines.limit(_PATIENCE), task.sessions() as session:
                    connection = begin(session)
                    with deadlines.shared(deadline):
                        adopt(connection, snapshot)
                        worker = Here(session, task.statement, task.work, self._runtime)
                        self._workers.append(worker)
                        self._work(worker)
                return
            except (PoolTimeout, DeadlineExceeded):
                # Nothing came free: look again whether there is something left to do.
                if deadline is not None and deadline.left() <= 0:
                    return
            except SQLAlchemyError as error:
                # One that cannot begin leaves its share to the others; what fails in a part is kept by _work.
                _log.debug("a worker of a parallel scan stays away: %s", error)
                return

    def _work(self, worker: Worker) -> None:
        while self._runtime.may_begin():
            with self._lock:
                if not self._todo:
                    return
                part = self._todo.popleft()
            try:
                result, rows = worker.do(part)
            except BaseException as error:
                self._runtime.put((part, error))
                return
            self._runtime.put((part, result, rows))

    def _received(self, parts: int) -> tuple[int, Any]:
        part, result, *rows = self._runtime.get()
        if self._closed is not None:
            raise self._closed
        if not rows:
            raise _failed(part, result) from result
        self._tell(rows[0], parts)
        return part.number, result

    def _tell(self, rows: int, parts: int) -> None:
        self._done += 1
        self._rows += rows
        if self._task.progress is not None:
            self._task.progress(Progress(self._done, parts, self._rows, monotonic() - self._began))

    def _end(self, closed: UsageError) -> None:
        # Called by who closes the database while somebody waits for a result; that one is woken, and cleans up.
        self._closed, self._stopped = closed, True
        self._todo.clear()
        self._runtime.stop()
        for worker in list(self._workers):
            worker.cancel()
        if not self._workers:
            interrupt(self._driver)
        self._runtime.put((None, closed))

    def _stop(self, parts: int) -> None:
        self._stopped = True
        self._todo.clear()
        self._runtime.stop()
        if self._done < parts:
            for worker in list(self._workers):
                worker.cancel()
        self._runtime.join()
        for worker in self._workers:
            worker.close()


def _failed(part: Part, error: BaseException) -> PartFailed:
    said = str(error).strip().splitlines()
    return PartFailed(
        f"{part} failed, and with it the scan: {type(error).__name__}{': ' + said[0] if said else ''}",
        hint=getattr(error, "hint", "") or _hint(error),
        part=part,
    )


def _hint(error: BaseException) -> str:
    if isinstance(error, DBAPIError):
        return "run the statement in a session, narrowed to this part by where(...); `__cause__` is the server's error"
    return (
        "call the function with the rows of this part, from a session; `__cause__` is its error, with the line that raised it"
    )
