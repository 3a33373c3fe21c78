"""One suite for both doors: a database with pagers, called the same way."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from sqlalchemy import event
from sqlalchemy.engine import URL
from sqlalchemy.orm import Session

from dal import AsyncDatabase, Database, PoolConfig
from dal.prefetch import PrefetchStats

__all__ = ["DOORS", "Town", "open_town"]

DOORS = ("sync", "async")
POOL = PoolConfig(min_pool_size=3, max_pool_size=6, retry_delay="20ms")


@dataclass
class Sent:
    """What was sent: for demands, and ahead of them."""

    statements: list[str] = field(default_factory=list)
    ahead: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        """How many demands had to send."""
        return len(self.statements)


def _in_background(runner: asyncio.Runner | None) -> bool:
    if runner is None:
        return threading.current_thread().name == "dal-prefetch"
    task = asyncio.current_task(runner.get_loop())
    return task is not None and task.get_name() == "dal-prefetch"


class Town:
    """A database through one of the doors; what has to be awaited is awaited here."""

    def __init__(self, db: Any, runner: asyncio.Runner | None) -> None:
        self.db = db
        self._runner = runner

    def __enter__(self) -> Self:
        self.db.pool.warm_up("10s") if self._runner is None else self.do(self._warm)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.do(self.db.close)
        if self._runner is not None:
            self._runner.close()

    def do(self, call: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Call something, in the event loop where there is one."""
        if self._runner is None:
            return call(*args, **options)

        async def run() -> Any:
            found = call(*args, **options)
            return await found if inspect.isawaitable(found) else found

        return self._runner.run(run(), context=contextvars.copy_context())

    @property
    def awaits(self) -> bool:
        """Whether this is the async door."""
        return self._runner is not None

    def pager(self, *args: Any, **options: Any) -> Any:
        return self.do(self.db.pager, *args, **options)

    def page(self, pager: Any, settle: bool = True, **options: Any) -> Any:
        """Ask for a page, and let what it gives rise to come to its end."""
        found = self.do(pager.page, **options)
        if settle:
            self.settle()
        return found

    def get(self, pager: Any, key: Any, **options: Any) -> Any:
        found = self.do(pager.get, key, **options)
        self.settle()
        return found

    def area(self, pager: Any, *args: Any, **options: Any) -> Any:
        found = self.do(pager.area, *args, **options)
        self.settle()
        return found

    def settle(self) -> None:
        assert self.do(self.db.prefetch.wait, 20)

    def write(self, work: Callable[[Session], Any]) -> None:
        """Commit something."""
        if self._runner is None:
            self.db.run(work)
        else:
            self.do(self.db.run, lambda session: session.run_sync(work))

    @contextmanager
    def counted(self) -> Iterator[Sent]:
        """Count statements, those of demands apart from those ahead of any."""
        sent = Sent()

        def note(_c: Any, _cursor: Any, statement: str, _p: Any, _context: Any, _many: bool) -> None:
            (sent.ahead if _in_background(self._runner) else sent.statements).append(statement)

        engine = getattr(self.db.engine, "sync_engine", self.db.engine)
        event.listen(engine, "before_cursor_execute", note)
        try:
            yield sent
        finally:
            event.remove(engine, "before_cursor_execute", note)

    @property
    def stats(self) -> PrefetchStats:
        found: PrefetchStats = self.db.prefetch.stats()
        return found

    def why(self, place: int = -1) -> str:
        """A decision as a line, by default the latest."""
        return str(self.db.prefetch.explain()[place])

    async def _warm(self) -> None:
        from dal.asyncio._bridge import run_sync

        await run_sync(self.db.pool.warm_up, "10s")


def open_town(kind: str, url: URL, **options: Any) -> Town:
    """Open it through one of the doors."""
    given = {"pool": POOL, **options}
    if kind == "sync":
        return Town(Database(url, **given), None)
    return Town(AsyncDatabase(url, **given), asyncio.Runner())
