"""Several statements at the same time, on as many connections, in one snapshot: what `db.gather(...)` does.

The caller's connection begins a read-only transaction and exports its snapshot; helpers take it over on their connections. All
of them work off one list of statements, the caller too, so that nobody has to wait for a second connection: a helper that gets
none within a quarter of a second stays away. On other databases than PostgreSQL the statements run one after the other.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from sqlalchemy import Engine, Select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from sqlalchemy.util import await_only, greenlet_spawn

from dal import deadlines
from dal._interrupts import interrupt
from dal._running import during
from dal.database.units import Trying, describe
from dal.errors import UsageError
from dal.own_statements import ask
from dal.parallel.snapshot import adopt, begin, export
from dal.repository._internals import needs_unique

__all__ = ["Tasks", "Threads", "gathered"]

_PATIENCE = 0.25


class Helpers(Protocol):
    """Runs helpers beside the caller, and lets the caller wait."""

    def start(self, work: Callable[[], None]) -> None:
        """Run something beside the caller."""
        ...

    def done(self) -> None:
        """Wake the caller."""
        ...

    def wait(self) -> None:
        """Wait until woken."""
        ...

    def interrupt(self, driver: Any) -> None:
        """Let the statement that a driver's connection is at be broken off, and hold up nobody."""
        ...

    def settle(self) -> None:
        """Wait until what is to be broken off is."""
        ...


class Threads:
    """Helpers that are threads."""

    def __init__(self) -> None:
        self._done = threading.Event()
        self._interrupts: list[threading.Thread] = []

    def start(self, work: Callable[[], None]) -> None:
        """Run something in a thread."""
        threading.Thread(target=work, name="dal-gather", daemon=True).start()

    def done(self) -> None:
        """Wake the caller."""
        self._done.set()

    def wait(self) -> None:
        """Wait until woken."""
        self._done.wait()

    def interrupt(self, driver: Any) -> None:
        """Break a statement off, in a thread."""
        thread = threading.Thread(target=interrupt, args=(driver,), name="dal-gather", daemon=True)
        self._interrupts.append(thread)
        thread.start()

    def settle(self) -> None:
        """Wait until what is to be broken off is."""
        for thread in self._interrupts:
            thread.join()


class Tasks:
    """Helpers that are tasks of the running loop."""

    def __init__(self) -> None:
        self._done = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._interrupts: list[asyncio.Task[None]] = []

    def start(self, work: Callable[[], None]) -> None:
        """Run something in a task."""
        task = asyncio.get_running_loop().create_task(greenlet_spawn(work), name="dal-gather")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def done(self) -> None:
        """Wake the caller."""
        self._done.set()

    def wait(self) -> None:
        """Wait until woken."""
        await_only(self._done.wait())

    def interrupt(self, driver: Any) -> None:
        """Break a statement off, in a task."""
        task = interrupt(driver)
        if task is not None:
            self._interrupts.append(task)

    def settle(self) -> None:
        """Wait until what is to be broken off is."""
        if self._interrupts:
            await_only(asyncio.wait(self._interrupts))


class Gathering:
    """One try to run some statements.

    Args:
        statements: The statements.
        sessions: Makes a session for each helper.
        helpers: Threads or tasks.
        most: Connections at most.
    """

    def __init__(
        self, statements: Sequence[Select[Any]], *, sessions: Callable[[], Session], helpers: Helpers, most: int
    ) -> None:
        self._todo = deque(enumerate(statements))
        self._results: list[list[Any]] = [[] for _ in statements]
        self._left = len(statements)
        self._sessions, self._helpers = sessions, helpers
        self._most = min(most, len(statements))
        self._error: BaseException | None = None
        self._at_work: list[Any] = []
        self._lock = threading.Lock()
        self._deadline = deadlines.current()

    def run(self, session: Session) -> tuple[list[Any], ...]:
        """Run them on the caller's session and, on PostgreSQL, with helpers.

        Args:
            session: In a transaction that has sent nothing yet.

        Returns:
            A list for each statement, in their order.

        Raises:
            BaseException: What the first that failed raised, or what the caller was interrupted by; the others are broken off.
        """
        connection = session.connection()
        if connection.dialect.name == "postgresql" and self._most > 1:
            snapshot = export(connection)
            for _ in range(self._most - 1):
                self._helpers.start(lambda: self._help(snapshot))
        elif connection.dialect.name == "sqlite":
            ask(connection, "BEGIN")
        self._work(session)
        try:
            self._helpers.wait()
        except BaseException as error:
            self.stop(error)
        if self._error is not None:
            raise self._error
        # Committing expires what is still in the session.
        session.expunge_all()
        return tuple(self._results)

    def _help(self, snapshot: str) -> None:
        try:
            with deadlines.shared(self._deadline), deadlines.limit(_PATIENCE), self._sessions() as session:
                connection = begin(session)
                with deadlines.shared(self._deadline):
                    if self._todo:
                        adopt(connection, snapshot)
                        self._work(session)
        except SQLAlchemyError:
            # A helper that cannot begin leaves its share to the others; what fails in a statement is kept by _work.
            return

    def stop(self, error: BaseException) -> None:
        """Begin no more statements, break off those that run, and let the caller raise an error; from anywhere."""
        with self._lock:
            if self._error is None:
                self._error = error
                for driver in self._at_work:
                    self._helpers.interrupt(driver)
        self._helpers.done()

    def _work(self, session: Session) -> None:
        driver = session.connection().connection.driver_connection
        with self._lock:
            self._at_work.append(driver)
        try:
            self._all_left(session)
        except BaseException as error:
            self.stop(error)
        finally:
            with self._lock:
                self._at_work.remove(driver)
            # The connection goes back to the pool: nothing may be broken off on it any more.
            self._helpers.settle()

    def _all_left(self, session: Session) -> None:
        while self._error is None:
            with self._lock:
                if not self._todo:
                    return
                number, statement = self._todo.popleft()
            self._results[number] = _all(session, statement)
            with self._lock:
                self._left -= 1
                finished = self._left == 0
            if finished:
                self._helpers.done()


def gathered(
    statements: Sequence[Select[Any]],
    *,
    sessions: Callable[[], Session],
    trying: Trying,
    engine: Engine,
    helpers: Callable[[], Helpers],
) -> tuple[list[Any], ...]:
    """Run statements in one snapshot, and all of them again after a transient fault.

    Args:
        statements: The statements.
        sessions: Makes a session.
        trying: How they are run again.
        engine: The database's engine.
        helpers: Makes what runs helpers.

    Returns:
        A list for each statement: of what it selects where that is one thing, else of rows.

    Raises:
        UsageError: One of them is no `select()`, or the database was closed meanwhile.
    """
    for statement in statements:
        if not isinstance(statement, Select):
            raise UsageError(
                f"gather runs select() statements, this is a {type(statement).__name__}", hint="db.gather(select(A), select(B))"
            )
    if not statements:
        return ()
    sqlite = engine.dialect.name == "sqlite"
    unit = describe(
        # A callable of its own, so that it joins no unit around it: what that has not committed is not in the snapshot.
        lambda: sessions(),
        trying,
        engine,
        read_only=sqlite or engine.dialect.name == "postgresql",
        isolation=None if sqlite else "REPEATABLE READ",
        deadline=None,
        retry_on=(),
    )
    most = trying.settings.max_pool_size

    def once(session: Session) -> tuple[list[Any], ...]:
        gathering = Gathering(statements, sessions=sessions, helpers=helpers(), most=most)
        with during(engine, "gather", gathering.stop):
            return gathering.run(session)

    return unit.run(once)


def _all(session: Session, statement: Select[Any]) -> list[Any]:
    result = session.execute(statement)
    if len(statement.column_descriptions) != 1:
        return list(result.all())
    scalars = result.scalars()
    return list((scalars.unique() if needs_unique(scalars) else scalars).all())
