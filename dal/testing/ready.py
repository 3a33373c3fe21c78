"""Test databases kept ready: the next clone of a template is made while the test before it runs.

A clone takes 20 to 80 ms, and so does its end. Here both happen in the background, and a test gets a database at once while
one is ready. A used one is dropped, never reused: whatever a test did to it is gone. The fixture `dal_database` is one
customer; use it yourself where tests do not run under pytest. For a handful of databases `Template.clone` is enough.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Self

from dal.errors import ServerError, UsageError
from dal.pool import ObjectPool

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

    from dal.pool import PoolStats
    from dal.testing.templates import Template

__all__ = ["ReadyDatabases"]

_BACKLOG = 8
_PATIENCE = 120.0


class ReadyDatabases:
    """Clones of a template, made ahead and dropped afterwards in the background; a context manager.

    Nothing is made before the first `lease()`, or before `warm_up()`.

    Args:
        template: What to clone; nobody may be connected to it.
        ready: Clones kept ready beside the one in use.
        expected: How many databases will be asked for, if that is known: no more are made ahead.

    Example:
        >>> from dal.embedded import EmbeddedServer
        >>> from dal.testing import Template
        >>> with EmbeddedServer() as server, Template(server, "shop", fill=lambda url: None) as template:
        ...     with ReadyDatabases(template) as databases, databases.lease() as url:
        ...         url.database.startswith("shop_")
        True
    """

    def __init__(self, template: Template, *, ready: int = 2, expected: int | None = None) -> None:
        self._template = template
        self._left = expected
        self._size = ready + 1
        self._making = self._dropping = 0
        self._alive: set[URL] = set()
        self._failed: list[str] = []
        self._closing = False
        self._changed = threading.Condition()
        self._dropper = ThreadPoolExecutor(1, thread_name_prefix="dal-test-databases")
        self._pool: ObjectPool[URL] = ObjectPool(
            self._make,
            destroy=self._discard,
            min_size=self._ahead(),
            max_size=self._size,
            timeout=_PATIENCE,
            name="test databases",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @contextmanager
    def lease(self) -> Iterator[URL]:
        """Give a database for this block.

        Yields:
            Its URL; it is dropped afterwards, with the connections left to it.

        Raises:
            ServerError: The server does not make a clone.
            PoolTimeout: There was none within two minutes.
        """
        entry = self._pool.take(_PATIENCE)
        with self._changed:
            self._left = None if self._left is None else max(0, self._left - 1)
            ahead = self._ahead()
        try:
            yield entry.thing
        finally:
            if ahead < self._size:
                self._pool.resize(min_size=ahead, max_size=self._size)
            self._pool.drop(entry)

    def warm_up(self) -> bool:
        """Make what is kept ready now, and wait for it.

        Returns:
            Whether it was ready within two minutes.
        """
        return self._pool.warm_up()

    def stats(self) -> PoolStats:
        """Take a snapshot of the pool's numbers."""
        return self._pool.stats()

    def close(self) -> None:
        """Drop all that is left and wait for it.

        Raises:
            ServerError: A database could not be dropped, now or after an earlier lease.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._pool.close(1.0)
        with self._changed:
            # A clone that was being made when the pool closed comes to life later, and what a lease never gave back stays.
            self._changed.wait_for(lambda: not self._making, _PATIENCE)
            left = list(self._alive)
        for url in left:
            self._discard(url)
        self._dropper.shutdown()
        if self._failed:
            raise ServerError(
                f"test databases were not dropped: {'; '.join(self._failed)}",
                hint="a test left something that holds them, such as a prepared transaction or a slot that is read",
            )

    def _ahead(self) -> int:
        return self._size if self._left is None else min(self._size, self._left)

    def _make(self) -> URL:
        with self._changed:
            # Where dropping is the slower of the two, making waits: the disk does not fill with databases to drop.
            self._changed.wait_for(lambda: self._closing or self._dropping < _BACKLOG)
            if self._closing:
                raise UsageError("the ready databases are closed", hint="lease before close()")
            self._making += 1
        try:
            url = self._template.create()
        except BaseException:
            self._made(None)
            raise
        self._made(url)
        return url

    def _made(self, url: URL | None) -> None:
        with self._changed:
            self._making -= 1
            if url is not None:
                self._alive.add(url)
            self._changed.notify_all()

    def _discard(self, url: URL) -> None:
        with self._changed:
            if url not in self._alive:
                return
            self._alive.remove(url)
            self._dropping += 1
        self._dropper.submit(self._drop, url)

    def _drop(self, url: URL) -> None:
        try:
            self._template.drop(url)
        except Exception as error:
            self._failed.append(f"{url.database}: {error}")
        finally:
            with self._changed:
                self._dropping -= 1
                self._changed.notify_all()
