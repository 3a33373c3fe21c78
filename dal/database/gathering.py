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


class Threads:
    """Helpers that are threads."""

    def __init__(self) -> None:
        self._done = threading.Event()

    def start(self, work: Callable[[], None]) -> None:
        """Run something in a thread."""
        threading.Thread(target=work, name="dal-gather", daemon=True).start()

    def done(self) -> None:
        """Wake the caller."""
        self._done.set()

    def wait(self) -> None:
        """Wait until woken."""
        self._done.wait()


class Tasks:
    """Helpers that are tasks of the running loop."""

    def __init__(self) -> None:
        self._done = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

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
        self._lock = threading.Lock()
        self._deadline = deadlines.current()

    def run(self, session: Session) -> tuple[list[Any], ...]:
        """Run them on the caller's session and, on PostgreSQL, with helpers.

        Args:
            session: In a transaction that has sent nothing yet.

        Returns:
            A list for each statement, in their order.
        """
        connection = session.connection()
        if connection.dialect.name == "postgresql" and self._most > 1:
            snapshot = export(connection)
            for _ in range(self._most - 1):
                self._helpers.start(lambda: self._help(snapshot))
        elif connection.dialect.name == "sqlite":
            ask(connection, "BEGIN")
        self._work(session)
        self._helpers.wait()
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

    def _work(self, session: Session) -> None:
        while self._error is None:
            with self._lock:
                if not self._todo:
                    return
                number, statement = self._todo.popleft()
            try:
                self._results[number] = _all(session, statement)
            except BaseException as error:
                self._error = error
                self._helpers.done()
                return
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
        UsageError: One of them is no `select()`.
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
    return unit.run(lambda session: Gathering(statements, sessions=sessions, helpers=helpers(), most=most).run(session))


def _all(session: Session, statement: Select[Any]) -> list[Any]:
    result = session.execute(statement)
    if len(statement.column_descriptions) != 1:
        return list(result.all())
    scalars = result.scalars()
    return list((scalars.unique() if needs_unique(scalars) else scalars).all())
