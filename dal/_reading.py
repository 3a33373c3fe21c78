"""An iterator that holds a connection from one item to the next, and lets go of it when its database is closed meanwhile.

Closing ends what is being read: a statement at work is broken off; where nobody asks for the next item just then, the
connection goes back by itself. Either way, who asks next is told.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Generator
from typing import Any, Generic, Self, TypeVar
from weakref import WeakMethod

from sqlalchemy import Engine
from sqlalchemy.util import greenlet_spawn

from dal._running import during
from dal.errors import UsageError

__all__ = ["Reading"]

_log = logging.getLogger("dal")

T = TypeVar("T")

_tasks: set[asyncio.Task[None]] = set()


class Reading(Generic[T]):
    """Items as a generator makes them.

    Args:
        engine: The engine of the database.
        what: What is read, for errors.
        items: Makes the items, and lets go of the connection when it is closed.
        break_off: Ends what the generator is at, called from elsewhere; has to return at once.
    """

    def __init__(
        self, engine: Engine, what: str, items: Generator[T, None, None], *, break_off: Callable[[UsageError], object]
    ) -> None:
        self._engine, self._what, self._break_off = engine, what, break_off
        self._turn = threading.Lock()
        self._closed: UsageError | None = None
        # Weak, because one that is forgotten is to be collected.
        self._items = _noted(engine, what, items, WeakMethod(self._end))

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        if not self._turn.acquire(blocking=False):
            raise self._closed or UsageError(
                f"two at once ask {self._what} for the next item", hint="let one loop over it, and hand its items on"
            )
        found: Any = None
        try:
            if self._closed is None:
                found = next(self._items)
        finally:
            self._turn.release()
        # Not before the turn is given back: whoever closes the database finds it free, or is found here.
        if self._closed is not None:
            self.close()
            raise self._closed
        item: T = found
        return item

    def check(self) -> None:
        """Raise if the database was closed; for who hands on the parts of an item one by one."""
        if self._closed is not None:
            raise self._closed

    def close(self) -> None:
        """Let go of the connection; where another one is at it, that one does."""
        if self._turn.acquire(blocking=False):
            try:
                self._items.close()
            finally:
                self._turn.release()

    def _end(self, closed: UsageError) -> None:
        self._closed = closed
        if not self._turn.acquire(blocking=False):
            self._break_off(closed)
            return
        self._turn.release()
        dialect = self._engine.dialect
        if dialect.is_async:
            task = asyncio.get_running_loop().create_task(greenlet_spawn(self._let_go), name="dal-closing")
            _tasks.add(task)
            task.add_done_callback(_tasks.discard)
        elif dialect.name != "sqlite":
            # SQLite's connections stay with their thread. Elsewhere a function that is at work must not hold up the closing.
            threading.Thread(target=self._let_go, name="dal-closing", daemon=True).start()

    def _let_go(self) -> None:
        try:
            self.close()
        except Exception:
            _log.debug("%s ended with an error when its database was closed", self._what, exc_info=True)


def _noted(
    engine: Engine, what: str, items: Generator[T, None, None], end: Callable[[], Callable[[UsageError], Any] | None]
) -> Generator[T, None, None]:
    def ended(closed: UsageError) -> None:
        known = end()
        if known is not None:
            known(closed)

    with during(engine, what, ended):
        yield from items
